import { ask, instead, make, post, supported } from "./passkeys.js";

const next = (form) => `next=${encodeURIComponent(form.dataset.next)}`;

if (supported()) {
  const signIn = document.getElementById("passkey-sign-in");
  if (signIn)
    instead(signIn, async () => {
      location.assign((await post(`/sign-in/passkey?${next(signIn)}`, await ask("/sign-in/passkey/options"))).next);
    });

  const prove = document.getElementById("passkey-prove");
  if (prove)
    instead(prove, async () => {
      location.assign((await post(`/prove/passkey?${next(prove)}`, await ask("/prove/passkey/options"))).next);
    });

  const add = document.getElementById("passkey-add");
  if (add)
    instead(add, async () => {
      const label = encodeURIComponent(add.querySelector("[name=label]")?.value || add.dataset.label);
      location.assign((await post(`/passkeys?${next(add)}&label=${label}`, await make("/passkeys/options"))).next);
    });
}
