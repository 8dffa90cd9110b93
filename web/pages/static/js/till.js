// The till's screen: ask until the checkout is paid or over, then show the page as it is by then.

const till = document.getElementById("till");

async function look() {
  try {
    const answer = await fetch(`/merchant/till/${till.dataset.checkout}/state`, { headers: { Accept: "application/json" } });
    // Led elsewhere: somebody must sign in again, and the page leads there.
    if (answer.redirected) return location.reload();
    if (answer.ok && (await answer.json()).state !== till.dataset.state) return location.reload();
  } catch {
    // No network for a moment: ask again.
  }
  setTimeout(look, 400);
}

look();
