import { able, create, known, sign } from "./device.js";
import { ask, instead, post, supported } from "./passkeys.js";

const page = document.getElementById("checkout");
const { checkout, origin, purse, currency } = page.dataset;

const signIn = document.getElementById("passkey-sign-in");
if (signIn && supported())
  instead(signIn, async () => {
    const next = encodeURIComponent(signIn.dataset.next);
    location.assign((await post(`/sign-in/passkey?next=${next}`, await ask("/sign-in/passkey/options"))).next);
  });

const byPasskey = document.getElementById("passkey-form");
if (byPasskey && supported())
  instead(byPasskey, async () => {
    byPasskey.elements.passkey.value = JSON.stringify(await ask(`/checkout/${checkout}/passkey`));
    byPasskey.submit();
  });

const byPin = document.getElementById("pin-form");
const byDevice = document.getElementById("device-form");

async function offerDevice() {
  const order = JSON.parse(page.dataset.order);
  const device = await known(purse, JSON.parse(page.dataset.devices));
  if (device) {
    instead(byDevice, async () => {
      byDevice.elements.order.value = await sign(device, {
        iss: purse,
        aud: origin,
        jti: order.key,
        merchant: order.merchant,
        amount: order.amount,
        currency,
        resource: order.resource,
        ...(order.hold ? { hold: order.hold } : {}),
      });
      byDevice.submit();
    });
    byPin.querySelector("button").classList.add("secondary");
  } else if (page.dataset.mayRemember === "true" && (await able())) {
    document.getElementById("remember").hidden = false;
  }
}

if (byPin) {
  offerDevice();
  const box = document.querySelector("#remember input");
  byPin.addEventListener("submit", async (event) => {
    const button = byPin.querySelector("button");
    if (button.disabled) return event.preventDefault(); // a double click
    button.disabled = true;
    if (!box.checked) return;
    event.preventDefault();
    byPin.elements.device_key.value = JSON.stringify(await create(purse));
    byPin.submit();
  });
}

// The money of a top-up is here, or the checkout ended elsewhere: show it.
const waiting = document.getElementById("waiting");
if (waiting) {
  const look = async () => {
    const answer = await fetch(`/checkout/${checkout}/state`, { headers: { Accept: "application/json" } });
    const { state, is_short: isShort } = await answer.json();
    if (state !== "open" || !isShort) location.assign(`/checkout/${checkout}`);
    else setTimeout(look, 1000);
  };
  setTimeout(look, 1000);
}
