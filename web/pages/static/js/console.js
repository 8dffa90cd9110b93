// The overview's chart: purchases against bank transactions, day by day. Without a script there is the table.

const chart = document.getElementById("days");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(box) {
  const days = JSON.parse(box.dataset.days);
  const [day, purchases, transactions] = JSON.parse(box.dataset.labels);
  const seconds = days.dates.map((date) => Date.parse(`${date}T12:00:00Z`) / 1000);
  const bars = uPlot.paths.bars({ size: [0.7, 40] });
  const place = document.documentElement.lang === "fr" ? "fr-FR" : "en-IE";
  const written = new Intl.DateTimeFormat(place, { day: "numeric", month: "short", timeZone: "UTC" });
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
  const options = {
    width: box.clientWidth,
    height: 240,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    cursor: { drag: { x: false, y: false } },
    scales: { x: { range: (_, least, most) => [least - 43_200, most + 43_200] }, y: { range: (_, __, most) => [0, Math.max(most, 4) * 1.1] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((at) => written.format(new Date(at * 1000))) }, axis],
    series: [
      { label: day, value: (_, at) => (at === null ? "" : new Date(at * 1000).toISOString().slice(0, 10)) },
      { label: purchases, paths: bars, fill: colour("--green"), stroke: colour("--green"), points: { show: false } },
      { label: transactions, stroke: colour("--warn"), width: 2 },
    ],
  };
  box.replaceChildren();
  return new uPlot(options, [seconds, days.purchases, days.bank_transactions], box);
}

if (chart && window.uPlot) {
  let drawn = draw(chart);
  addEventListener("resize", () => drawn.setSize({ width: chart.clientWidth, height: 240 }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawn.destroy();
    drawn = draw(chart);
  });
}
