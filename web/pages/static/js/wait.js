// Go on as soon as the balance is another one: the money is here.

const wait = document.getElementById("wait");

async function look() {
  try {
    const answer = await fetch(wait.dataset.ask, { headers: { Accept: "application/json" } });
    if (answer.ok && (await answer.json()).balance !== wait.dataset.balance) return location.assign(wait.dataset.next);
  } catch {
    // No network for a moment: ask again.
  }
  setTimeout(look, 2000);
}

setTimeout(look, 1000);
