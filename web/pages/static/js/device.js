// The key of this browser: Ed25519, not extractable, kept in IndexedDB; and the payment orders it signs.

const encoded = (value) => {
  const raw = typeof value === "string" ? new TextEncoder().encode(value) : new Uint8Array(value);
  return btoa(String.fromCharCode(...raw)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
};

function store(mode, work) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("obole", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const request = work(opening.result.transaction("keys", mode).objectStore("keys"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    };
  });
}

/** Whether this browser can keep such a key. */
export async function able() {
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    return true;
  } catch {
    return false;
  }
}

/** The public key (JWK) of a new key for this purse; its private half never leaves this browser. */
export async function create(purse) {
  const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const { kty, crv, x } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  await store("readwrite", (keys) => keys.put({ key: pair.privateKey, x }, purse));
  return { kty, crv, x };
}

/** The key this browser has for the purse, with the device's id among those the wallet knows; or undefined. */
export async function known(purse, devices) {
  const kept = await store("readonly", (keys) => keys.get(purse)).catch(() => undefined);
  const device = kept && devices.find(({ x }) => x === kept.x);
  return device && { key: kept.key, id: device.id };
}

/** A payment order (compact JWS), signed by the key. */
export async function sign({ key, id }, claims) {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: "EdDSA", typ: "order+jwt", kid: id };
  const said = `${encoded(JSON.stringify(header))}.${encoded(JSON.stringify({ ...claims, iat: now, exp: now + 300 }))}`;
  return `${said}.${encoded(await crypto.subtle.sign("Ed25519", key, new TextEncoder().encode(said)))}`;
}
