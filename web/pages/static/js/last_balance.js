// Without a network: the last balance this browser saw, and when that was.

const seen = JSON.parse(localStorage.getItem("last-balance") ?? "null");
const shown = document.getElementById("last-balance");
if (seen) {
  for (const part of shown.querySelectorAll("[data-said]")) part.textContent = seen[part.dataset.said];
  shown.hidden = false;
}
