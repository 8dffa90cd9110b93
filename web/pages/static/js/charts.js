// Charts with uPlot. What they show stands in a table below them, so they are for eyes only.

// Dates as everywhere on the pages: day, then month.
const place = document.documentElement.lang === "fr" ? "fr-FR" : "en-IE";
const DAY = 86400;
const COLOURS = ["--green", "--warn"];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(box) {
  const values = JSON.parse(box.dataset.values);
  const labels = JSON.parse(box.dataset.labels);
  const day = new Intl.DateTimeFormat(place, { day: "numeric", month: "short", timeZone: "UTC" });
  const money = new Intl.NumberFormat(place, { style: "currency", currency: values.currency });
  const short = new Intl.NumberFormat(place, { style: "currency", currency: values.currency, maximumSignificantDigits: 3 });
  const isBars = box.dataset.chart === "bars";
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const series = labels.map((label, number) => ({
    label,
    stroke: colour(COLOURS[number === 0 && labels.length > 1 ? 1 : 0]),
    fill: isBars ? colour(COLOURS[0]) : undefined,
    width: isBars ? 0 : 2,
    paths: isBars ? uPlot.paths.bars({ size: [0.7, 24] }) : undefined,
    points: { show: !isBars },
    value: (_, value) => (value === null ? "–" : money.format(value)),
  }));
  box.replaceChildren();
  new uPlot(
    {
      width: box.clientWidth,
      height: 240,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      legend: { live: false, show: labels.length > 1 },
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { range: (_, first, last) => [first - 0.6 * DAY, last + 0.6 * DAY] },
        y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, space: 60, incrs: [1, 2, 3, 7, 14, 30, 91, 365].map((days) => days * DAY), values: (_, at) => at.map((seconds) => day.format(seconds * 1000)) },
        { ...axis, size: 70, values: (_, at) => at.map((value) => short.format(value)) },
      ],
      series: [{ label: "" }, ...series],
    },
    [values.x, ...values.series.map((each) => each.map(Number))],
    box,
  );
}

function drawAll() {
  for (const box of document.querySelectorAll("[data-chart]")) draw(box);
}

drawAll();
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
