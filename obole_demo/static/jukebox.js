// Says what is playing, and plays it where the browser lets a page do that unasked.
const title = document.querySelector("#now");
const next = document.querySelector("#next");
const sound = document.querySelector("#sound");
let shown = sound.getAttribute("src");

async function look() {
  const answer = await fetch("/now.json");
  if (!answer.ok) return;
  const { playing, following } = await answer.json();
  title.textContent = playing ? playing.title : title.dataset.silence;
  next.textContent = following.join(", ") || "—";
  const source = playing && `/songs/${playing.song}.wav`;
  if (source === shown) return;
  shown = source;
  if (!source) return;
  sound.src = source;
  sound.play().catch(() => {}); // the visitor has the button
  document.querySelector(".notice")?.remove();
}

if (shown) sound.play().catch(() => {});
setInterval(() => look().catch(() => {}), 1500);
