"""The page's own text: its head, its style in light and dark, and the script that draws its figures."""

from __future__ import annotations

from typing import Final

HEAD: Final = """<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">"""

STYLE: Final = """
:root, :root.print { --paper: #fbfaf7; --ink: #1d1c1a; --muted: #6a665f; --rule: #e3dfd6; --line: #27507a; --benchmark: #a3874d; --gain: #2f6ea8;
  --loss: #ad4330; --buy: #1d7a5f; --sell: #bd5a17;
  --line-0: #27507a; --line-1: #bd5a17; --line-2: #1d7a5f; --line-3: #8a4f8f; --line-4: #a3874d; --line-5: #6a665f;
  --state-0: #b9533e; --state-1: #c87459; --state-2: #d3957a; --state-3: #dfbda8; --state-4: #ddd8cc; --state-5: #b5c6d3; --state-6: #86a9c5;
  --state-7: #5f90b8; --state-8: #3f7aaa;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --display: "Iowan Old Style", Charter, "Palatino Linotype", Palatino, Georgia, serif; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #151517; --ink: #e9e6e0; --muted: #a09b92; --rule: #303034; --line: #86b3de; --benchmark: #c4a765; --gain: #5b9bd5; --loss: #e2826c;
  --buy: #5cbd9b; --sell: #e7a066;
  --line-0: #86b3de; --line-1: #e7a066; --line-2: #5cbd9b; --line-3: #c792cc; --line-4: #c4a765; --line-5: #a09b92;
  --state-0: #cf6a52; --state-1: #b0604c; --state-2: #8f5747; --state-3: #6b4d44; --state-4: #4a4a4c; --state-5: #46596a; --state-6: #48708f;
  --state-7: #5089b4; --state-8: #62a3d8; } }
:root.print { --paper: #ffffff; }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body { margin: 0; font: 16px/1.55 var(--text); font-variant-numeric: tabular-nums; }
main { max-width: 1060px; margin: 0 auto; padding: 72px 40px 96px; }
h1 { font: 400 44px/1.12 var(--display); letter-spacing: -0.01em; margin: 6px 0 18px; text-wrap: balance; overflow-wrap: anywhere; }
h2 { font: 400 25px/1.2 var(--display); margin: 0 0 14px; }
h3 { font: 600 14px/1.4 var(--text); margin: 26px 0 8px; }
p, li { max-width: 72ch; text-wrap: pretty; }
p { margin: 0 0 10px; }
.over { font-size: 13px; letter-spacing: 0.09em; text-transform: uppercase; color: var(--muted); margin: 0; }
.lede { color: var(--muted); margin: 0 0 4px; max-width: 84ch; overflow-wrap: anywhere; }
.lede b { color: var(--ink); font-weight: 600; }
.note { color: var(--muted); font-size: 14px; margin: 10px 0 0; }
.warning { border-left: 3px solid var(--loss); padding: 6px 0 6px 14px; margin: 20px 0 0; }
section { margin-top: 64px; }
.cards { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 34px 40px; margin: 48px 0 0; padding: 34px 0;
  border: solid var(--rule); border-width: 1px 0; }
.cards dt { color: var(--muted); font-size: 14px; }
.cards dd { margin: 0; font: 400 36px/1.25 var(--display); font-variant-numeric: lining-nums tabular-nums; white-space: nowrap; }
.cards small { display: block; font: 13px/1.45 var(--text); color: var(--muted); margin-top: 4px; white-space: normal; }
.cards .than { display: block; font: 14px/1.45 var(--text); color: var(--ink); white-space: normal; }
.since { margin-top: 18px; max-width: none; }
.chart { width: 100%; }
.tall { height: 380px; }
.low { height: 220px; }
.ribbon { height: 190px; }
.above { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 20px; margin: 0 0 6px; font-size: 14px; color: var(--muted); }
.key { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 0; font-size: 14px; color: var(--muted); }
.key:empty { display: none; }
.key span { display: inline-flex; align-items: center; }
.key i { width: 12px; height: 12px; border-radius: 3px; margin-right: 7px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th { font-weight: 400; font-size: 13px; color: var(--muted); }
th, td { padding: 9px 18px 9px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; }
th.n, td.n { text-align: right; padding-right: 0; padding-left: 18px; }
td.n { white-space: nowrap; }
.metrics th.g { font: 600 14px/1.4 var(--text); color: var(--ink); padding-top: 26px; }
.metrics td.w { width: 27%; }
.metrics td.n, .metrics th.n { width: 11%; padding-left: 8px; }
.metrics th.c { padding-left: 28px; }
.metrics td.c { color: var(--muted); font-size: 13px; line-height: 1.45; padding: 9px 0 9px 28px; }
.metrics td.c b { font-weight: 500; color: var(--ink); }
.months table { font-size: 14px; table-layout: fixed; min-width: 820px; }
.months th.w { width: 46px; }
.months th.h { width: 86px; }
.months .zero { color: var(--muted); }
.months th, .months td { padding: 6px 7px; border: 1px solid var(--paper); }
.months .w { position: sticky; left: 0; background: var(--paper); padding-left: 0; }
.months .n { padding: 6px 7px; text-align: right; }
.months .up { background: color-mix(in srgb, var(--gain) var(--a), transparent); }
.months .down { background: color-mix(in srgb, var(--loss) var(--a), transparent); }
.months .y { font-weight: 600; }
ul { margin: 0; padding-left: 1.1em; }
li { margin: 0 0 7px; overflow-wrap: anywhere; }
label { font-size: 14px; color: var(--muted); }
label.switch { margin-left: auto; }
label input { margin: 0 6px 0 0; vertical-align: -1px; accent-color: var(--line); }
select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--rule); border-radius: 4px;
  padding: 5px 8px; margin-left: 6px; max-width: 60vw; }
footer { margin-top: 72px; padding-top: 22px; border-top: 1px solid var(--rule); }
footer dl { margin: 0; }
footer div { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--muted); }
footer dt { width: 130px; }
footer dd { margin: 0; font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; min-width: 0; }
@media screen and (max-width: 720px) {
  main { padding: 36px 20px 64px; }
  h1 { font-size: 32px; }
  section { margin-top: 48px; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 26px 20px; margin-top: 32px; padding: 26px 0; }
  .cards dd { font-size: 26px; }
  .tall { height: 280px; }
  .low { height: 170px; }
  table { font-size: 14px; }
  th, td { padding-right: 12px; }
  th.n, td.n { padding-left: 12px; }
  .metrics tr { display: grid; grid-template-columns: 1fr auto 5.4em; column-gap: 14px; border-bottom: 1px solid var(--rule); padding: 8px 0; }
  .metrics td, .metrics th { border: 0; padding: 0; }
  .metrics td.w, .metrics td.n, .metrics th.n { width: auto; padding: 0; }
  .metrics td.c { grid-column: 1 / -1; padding: 2px 0 0; }
  .metrics th.c { display: none; }
  .metrics th.g { grid-column: 1 / -1; padding-top: 16px; }
}
@media print {
  @page { margin: 14mm; }
  :root { --paper: #ffffff; }
  html { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 12px; }
  main { padding: 0; max-width: none; }
  h1 { font-size: 32px; }
  h2 { font-size: 19px; }
  h2, h3, .above { break-after: avoid; }
  section { margin-top: 30px; }
  section p, .note, .above, .key, .over { font-size: 11px; }
  tr, li, [data-chart], .cards > div, .wide:has(tr:nth-last-child(-n + 12):first-child) { break-inside: avoid; }
  .cards { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 18px 26px; margin-top: 24px; padding: 18px 0; }
  .cards dd { font-size: 24px; }
  .cards small, .cards .than { font-size: 11px; }
  .tall { height: 290px; }
  .low { height: 170px; }
  .wide { overflow: visible; }
  table { font-size: 11px; }
  th { font-size: 10px; }
  th, td { padding: 4px 8px 4px 0; }
  th.n, td.n { padding-left: 8px; }
  .months table { font-size: 10px; min-width: 0; }
  .months th, .months td, .months .n { padding: 3px 2px; }
  .months th.w { width: 30px; }
  .months th.h { width: 60px; }
  .metrics td.c { font-size: 10px; padding: 4px 0 4px 14px; }
  label.switch, noscript { display: none; }
  select { appearance: none; border: 0; padding: 0; }
}
"""

SCRIPT: Final = r"""
(() => {
  const drawn = JSON.parse(document.getElementById("drawn").textContent);
  if (!drawn.charts) return;
  const charts = [...document.querySelectorAll(".chart")];
  const picker = document.getElementById("instrument");
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };
  const full = drawn.span.map(at => new Date(at).toISOString());
  let range = full, paper = 0;

  // "@line" and "@line/0.16" are colours of the style, which knows light and dark.
  const colour = name => {
    const [base, share] = name.slice(1).split("/");
    const solid = getComputedStyle(document.documentElement).getPropertyValue("--" + base).trim();
    return share ? solid + Math.round(share * 255).toString(16).padStart(2, "0") : solid;
  };
  const painted = (value, key = "") => {
    if (["x", "y", "z", "text"].includes(key)) return value;
    if (typeof value === "string") return /color/.test(key) && value[0] === "@" ? colour(value) : value;
    if (Array.isArray(value)) return value.map(one => painted(one, key));
    return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, k)])) : value;
  };
  const instrument = () => drawn.instruments[picker ? Number(picker.value) : 0];
  const logOf = chart => document.querySelector(`[data-log="${chart.id}"]`);
  const figure = chart => chart.id === "price" || chart.id === "regime" ? instrument()[chart.id] : drawn.charts[chart.id];
  const moment = at => new Date(typeof at !== "string" || at.length <= 10 || at.endsWith("Z") ? at : at.replace(" ", "T") + "Z").getTime();

  // What one can see between the ends of the range, with some air around it.
  const height = chart => {
    if (figure(chart).fixed) return {};
    const [from, to] = range.map(moment), logged = chart.layout.yaxis.type === "log";
    let low = Infinity, high = -Infinity;
    for (const trace of chart.data)
      trace.y.forEach((y, k) => { if (y !== null && trace.x[k] >= from && trace.x[k] <= to) { low = Math.min(low, y); high = Math.max(high, y); } });
    if (range === full || !(low < high)) return { "yaxis.autorange": true };
    if (logged) [low, high] = [Math.log10(low), Math.log10(high)];
    const air = 0.05 * (high - low);
    return { "yaxis.range": [low - air, high + air] };
  };

  const draw = chart => {
    const shown = figure(chart);
    chart.closest("[data-chart]").hidden = !shown;
    if (!shown) return;
    const axis = { gridcolor: colour("@rule"), linecolor: colour("@rule"), zeroline: false, tickfont: { size: 12, color: colour("@muted") } };
    const { yaxis, yaxis2, ...rest } = painted(shown.layout);
    const log = logOf(chart);
    if (log) log.parentNode.hidden = !shown.log;
    const scale = log && log.checked && shown.log ? shown.log : {};
    const layout = {
      paper_bgcolor: colour("@paper"), plot_bgcolor: colour("@paper"), showlegend: false,
      margin: { l: innerWidth < 720 ? 46 : 58, r: 4, t: 8, b: 30 }, ...(paper ? { width: paper, autosize: false } : { autosize: true }),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("@ink") },
      hovermode: "closest", dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: colour("@paper"), bordercolor: colour("@rule"), font: { color: colour("@ink"), size: 13 }, align: "left" },
      xaxis: { ...axis, type: "date", showgrid: false, ticks: "outside", ticklen: 5, tickcolor: colour("@rule"), nticks: innerWidth < 720 ? 5 : 10,
        range: range.slice(), autorange: false, automargin: true, hoverformat: drawn.when,
        spikethickness: 1, spikedash: "solid", spikecolor: colour("@muted") },
      yaxis: { ...axis, nticks: 7, fixedrange: true, automargin: true, ...yaxis, ...scale }, ...(yaxis2 ? { yaxis2 } : {}), ...rest,
    };
    const key = document.querySelector(`[data-key="${chart.id}"]`);
    // The names in a key are escaped where they are made.
    key.innerHTML = (shown.key || []).map(([name]) => `<span><i></i>${name}</span>`).join("");
    [...key.querySelectorAll("i")].forEach((swatch, k) => { swatch.style.background = colour(shown.key[k][1]); });
    return Plotly.react(chart, painted(shown.data), layout, config).then(() => { if (range !== full) Plotly.relayout(chart, height(chart)); });
  };
  const drawAnew = some => {
    for (const chart of some) if (logOf(chart)) logOf(chart).checked = figure(chart).log_first;
    return drawAll(some);
  };
  const drawAll = some => Promise.all(some.map(draw)).then(() => {
    document.getElementById("fills").textContent = instrument().note;
    some.forEach(follow);
  });

  // A zoom in one chart is a zoom in all, and a double click shows everything again.
  const zoom = to => {
    range = to;
    for (const chart of charts) if (chart.layout) Plotly.relayout(chart, { "xaxis.range": range.slice(), ...height(chart) });
  };
  const follow = chart => {
    if (!chart.on || chart.dataset.followed) return;
    chart.dataset.followed = "yes";
    chart.on("plotly_relayout", ({ "xaxis.range[0]": from, "xaxis.range[1]": to }) => { if (from !== undefined) zoom([from, to]); });
    chart.on("plotly_doubleclick", () => zoom(full));
  };

  // Paper is light, and as wide as it is.
  const print = wide => {
    paper = wide;
    document.documentElement.classList.toggle("print", wide > 0);
    return drawAll(charts);
  };
  addEventListener("beforeprint", () => print(680));
  addEventListener("afterprint", () => print(0));

  for (const chart of charts) if (logOf(chart)) logOf(chart).addEventListener("change", () => drawAll([chart]));
  if (picker) picker.addEventListener("change", () => drawAnew(charts.filter(chart => chart.id === "price" || chart.id === "regime")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(charts));
  drawAnew(charts).then(() => { document.documentElement.dataset.drawn = "yes"; });
})();
"""
