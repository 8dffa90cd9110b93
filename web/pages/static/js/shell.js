// The wallet as an app: keep its offline page, and remember the last balance seen for it.

if ("serviceWorker" in navigator) navigator.serviceWorker.register("/service-worker.js");

const balance = document.getElementById("balance");
if (balance)
  localStorage.setItem(
    "last-balance",
    JSON.stringify({ balance: balance.querySelector("dd").textContent.trim(), at: balance.dataset.at }),
  );

// A member of a family purse does not see the balance, not even the last one.
else if (document.querySelector(".balance")) localStorage.removeItem("last-balance");

// Whoever signs out leaves nothing behind for the next one.
document.getElementById("sign-out")?.addEventListener("submit", () => localStorage.removeItem("last-balance"));
