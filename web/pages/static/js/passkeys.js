// Passkeys: between the JSON of the wallet and the bytes of the browser (WebAuthn level 3, section 5.1).

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

export const supported = () => "PublicKeyCredential" in window && window.isSecureContext;

export async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json",
      "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
    },
    body: JSON.stringify(body ?? {}),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.title);
  return said;
}

/** Ask a passkey to sign what the wallet at `path` wants signed; answers what goes back to it. */
export async function ask(path) {
  const options = await post(path);
  const found = await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: (options.allowCredentials ?? []).map((each) => ({ ...each, id: bytes(each.id) })),
    },
  });
  const { response } = found;
  return {
    id: found.id,
    rawId: text(found.rawId),
    type: found.type,
    response: {
      clientDataJSON: text(response.clientDataJSON),
      authenticatorData: text(response.authenticatorData),
      signature: text(response.signature),
      userHandle: response.userHandle ? text(response.userHandle) : null,
    },
    clientExtensionResults: {},
  };
}

/** Make a passkey as the wallet at `path` wants it; answers what goes back to it. */
export async function make(path) {
  const options = await post(path);
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: (options.excludeCredentials ?? []).map((each) => ({ ...each, id: bytes(each.id) })),
    },
  });
  return {
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    response: {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
      transports: made.response.getTransports?.() ?? [],
    },
    clientExtensionResults: {},
  };
}

/** Show `message` above `form`, where a screen reader says it. */
export function complain(form, message) {
  let box = form.parentElement.querySelector(".refused");
  if (!box) {
    box = document.createElement("div");
    box.className = "refused";
    box.setAttribute("role", "alert");
    form.before(box);
  }
  box.textContent = message;
}

/** Let `form` do `work` instead of being sent, one at a time. */
export function instead(form, work) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      // Closing the browser's own dialogue is no mistake to complain about.
      if (error.name !== "NotAllowedError") complain(form, error.message);
      button.disabled = false;
    }
  });
}
