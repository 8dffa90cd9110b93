// A break over several purses: what is left of it while its parts are typed. Without a script the answer says it.

const parts = document.querySelector("fieldset.parts");
const left = document.querySelector("p.left");
const MICROS = 1_000_000n;

// 1 234,50 and 1234.5 are amounts; what is not clearly one is refused by the wallet, not here.
function micros(text) {
  const found = /^(\d*)(?:[.,](\d{0,6}))?$/.exec(text.replace(/[\s€$£]/g, ""));
  return found ? BigInt(found[1] || "0") * MICROS + BigInt((found[2] || "").padEnd(6, "0")) : 0n;
}

function written(amount) {
  const decimals = (amount % MICROS).toString().padStart(6, "0").replace(/0{1,4}$/, "");
  return `${amount / MICROS}.${decimals} ${left.dataset.currency}`;
}

function count() {
  let rest = BigInt(parts.dataset.micros);
  for (const input of parts.querySelectorAll("input.amount")) rest -= micros(input.value);
  const said = rest < 0n ? left.dataset.over : left.dataset.left;
  left.textContent = said.replace("#", written(rest < 0n ? -rest : rest));
  left.hidden = false;
}

if (parts && left) {
  parts.addEventListener("input", count);
  count();
}
