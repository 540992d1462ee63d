"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const COLUMNS = [ // key, title, whether a larger value comes first
  ["wer", "WER, %"], ["cer", "CER, %"], ["interval", "95% interval"], ["delta", "Δ " + data.baseline], ["oov", "OOV recall", true],
  ["rtf", "RTF"], ["training", "training"], ["mb", "peak MB"], ["seeds", "seeds", true], ["name", "system"],
];
const TICKS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const KEYS = { interval: "low" }; // what a column is sorted by
let order = { key: "wer", falling: false };

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function options(select, names, first) {
  if (first) select.append(element("option", first, { value: "" }));
  for (const name of names) select.append(element("option", name, { value: name }));
}

function chosen() {
  const corpus = find("corpus").value, recipe = find("recipe").value, words = find("setting").value.toLowerCase().split(/\s+/);
  return data.rows.filter((row) => {
    const text = [row.name, row.decoding, row.what, ...row.settings].join(" ").toLowerCase();
    return (find("decodings").checked || row.last) && (!corpus || row.corpus === corpus) && (!recipe || row.recipe === recipe)
      && words.every((word) => text.includes(word));
  });
}

function compare(a, b) {
  const key = KEYS[order.key] || order.key, [x, y] = [a[key], b[key]];
  if (x === null || y === null) return (x === null) - (y === null); // what is absent comes last
  return (order.falling ? -1 : 1) * (typeof x === "string" ? x.localeCompare(y) : x - y);
}

function drawTable(rows) {
  const columns = COLUMNS.filter(([key]) => !(key in data.rows[0].shown) || rows.some((row) => row.shown[key] !== "–"));
  const head = document.createElement("tr");
  for (const [key, title, falling] of columns) {
    const th = element("th", "", { class: key === "name" ? "" : "n" });
    if (order.key === key) th.setAttribute("aria-sort", order.falling ? "descending" : "ascending");
    const button = element("button", title, { type: "button" });
    button.onclick = () => sortBy(key, order.key === key ? !order.falling : Boolean(falling));
    th.append(button);
    head.append(th);
  }
  find("systems").tHead.replaceChildren(head);
  const several = new Set(rows.map((row) => row.corpus)).size > 1;
  find("systems").tBodies[0].replaceChildren(...[...rows].sort(compare).map((row) => {
    const tr = document.createElement("tr");
    for (const [key, title] of columns) {
      if (key !== "name") tr.append(element("td", row.shown[key] || row[key], { class: "n", "data-label": title }));
    }
    const name = element("td", "", { class: "name" }), more = document.createElement("details");
    more.append(element("summary", row.name + (several ? ", " + row.corpus : "") + (find("decodings").checked ? ", " + row.decoding : "")));
    const stages = row.stages.map(([stage, seconds, mb]) => `${stage} ${seconds}, ${mb} MB`).join("; ");
    const links = row.links.map(([link, factor]) => `${link} ${factor}`).join("; ");
    const settings = row.settings.length ? " Settings: " + row.settings.join(" ") + "." : "";
    more.append(element("div", (row.what || "default settings") + ". Decoding: " + row.decoding + "." + settings, { class: "settings" }));
    more.append(element("div", `Wall time and peak memory of the stages: ${stages}. Real-time factor of the links: ${links || "–"}.`,
      { class: "settings" }));
    name.append(more);
    tr.append(name);
    return tr;
  }));
  find("count").textContent = `${rows.length} of ${data.rows.length} results. Open a system for its settings. RTF: processing seconds per `
    + "second of audio on one core (≥: the front end was not timed); OOV recall in percent; peak MB of recognising.";
}

function overlaps(a, b) { return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]; }

// Where the name of each point goes: the first position that covers no other name and no named point.
function positions(points, all, width, height) {
  const xs = all.map((row) => Math.log10(row.rtf)), ys = all.map((row) => row.rate);
  const [x0, x1, y1] = [Math.min(...xs) - 0.1, Math.max(...xs) + 0.1, 1.08 * Math.max(...ys)];
  const place = (row) => [(Math.log10(row.rtf) - x0) / (x1 - x0) * width, (1 - row.rate / y1) * height];
  const boxes = points.map(place).map(([x, y]) => [x - 8, y - 8, x + 8, y + 8]);
  return points.map((row) => {
    const [x, y] = place(row), long = 7.2 * row.name.length;
    const sides = { right: [x + 9, x + 9 + long], left: [x - 9 - long, x - 9], center: [x - long / 2, x + long / 2] };
    const tops = { middle: [y - 9, y + 9], top: [y - 27, y - 9], bottom: [y + 9, y + 27] };
    for (const position of ["middle right", "middle left", "top right", "bottom right", "top left", "bottom left", "top center", "bottom center"]) {
      const [top, side] = position.split(" "), box = [sides[side][0], tops[top][0], sides[side][1], tops[top][1]];
      if (box[0] > 0 && box[2] < width && box[1] > 0 && !boxes.some((other) => overlaps(box, other))) {
        boxes.push(box);
        return position;
      }
    }
    return ""; // no room: the name is shown on hover
  });
}

function drawPlot(rows) {
  if (!window.Plotly) return;
  const timed = rows.filter((row) => row.rtf), corpora = [...new Set(timed.map((row) => row.corpus))];
  const css = getComputedStyle(document.documentElement), ink = css.getPropertyValue("--ink"), rule = css.getPropertyValue("--rule");
  const narrow = window.innerWidth < 800, width = find("plot").clientWidth - 80, height = (narrow ? 480 : 430) - 110;
  const named = corpora.length === 1 ? timed.filter((row) => row.last && data.named.includes(row.name)).slice(0, 8) : [];
  const hover = (row) => `<b>${row.name}</b>, ${row.decoding}<br>${row.measure} ${row.shown[row.measure.toLowerCase()]} ${row.shown.interval}<br>RTF ${row.shown.rtf}`
    + `<br>${row.what || "default settings"}`.replace(/(.{50}\S*) /g, "$1<br>");
  const trace = (list, more) => ({
    x: list.map((row) => row.rtf), y: list.map((row) => row.rate), hovertext: list.map(hover), hoverinfo: "text", mode: "markers", ...more,
  });
  const groups = named.length ? [["other systems", timed.filter((row) => !named.includes(row))]]
    : corpora.map((corpus) => [corpus, timed.filter((row) => row.corpus === corpus)]);
  const traces = groups.filter(([, list]) => list.length).map(([name, list], n) => trace(list, {
    name, marker: { size: 8, color: named.length ? "#98a2b0" : data.colours[n % data.colours.length], opacity: named.length ? 0.55 : 0.8 },
  }));
  const where = positions(named, timed, width, height);
  named.forEach((row, n) => traces.push(trace([row], {
    name: row.name, mode: narrow || !where[n] ? "markers" : "markers+text", text: [row.name], textposition: where[n] || "top center",
    textfont: { size: 12, color: ink }, cliponaxis: false, marker: { size: 13, color: data.colours[n % data.colours.length] },
    error_y: { type: "data", symmetric: false, array: [row.high - row.rate], arrayminus: [row.rate - row.low], thickness: 1, width: 0 },
  })));
  Plotly.react("plot", traces, {
    title: { text: corpora.join(", "), font: { size: 15 } }, margin: { l: 50, r: 16, t: 40, b: 46 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink },
    hovermode: "closest", hoverlabel: { align: "left" }, showlegend: narrow || !named.length,
    legend: { orientation: "h", y: -0.2, font: { size: 11 } },
    xaxis: { type: "log", title: { text: "real-time factor on one core" }, gridcolor: rule, automargin: true,
      tickvals: TICKS, ticktext: TICKS.map(String) },
    yaxis: { title: { text: [...new Set(timed.map((row) => row.measure))].sort().reverse().join(" or ") + ", %" }, rangemode: "tozero", gridcolor: rule, zeroline: false },
  }, { responsive: true, displayModeBar: false });
}

function draw() {
  const rows = chosen();
  drawTable(rows);
  drawPlot(rows);
}

function sortBy(key, falling) {
  order = { key, falling };
  find("sort").value = key;
  drawTable(chosen());
}

const counts = {};
for (const row of data.rows) counts[row.corpus] = (counts[row.corpus] || 0) + (row.last ? 1 : 0);
const names = Object.keys(counts).sort();
options(find("corpus"), names, names.length > 1 ? "all" : "");
options(find("recipe"), [...new Set(data.rows.map((row) => row.recipe))].sort(), "all");
const measured = (key) => key !== "cer" || data.rows.some((row) => row.cer !== null); // of languages without spaces alone
for (const [key, title] of COLUMNS.filter(([key]) => measured(key))) find("sort").append(element("option", title, { value: key }));
find("corpus").value = [...names].sort((a, b) => counts[b] - counts[a])[0];
for (const id of ["corpus", "recipe", "setting", "decodings"]) find(id).addEventListener("input", draw);
find("sort").addEventListener("input", () => sortBy(find("sort").value, Boolean(COLUMNS.find(([key]) => key === find("sort").value)[2])));
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("resize", () => drawPlot(chosen()));
draw();
