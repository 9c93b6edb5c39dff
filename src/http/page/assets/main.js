// Puts the dashboard together.

import { act } from "./actions.js";
import { drawBlank } from "./blank.js";
import { TICK } from "./bar.js";
import { drawChart } from "./chart.js";
import { Details } from "./details.js";
import { byId, el, setText } from "./dom.js";
import { Ends } from "./ends.js";
import { Health } from "./health.js";
import { forget, key } from "./key.js";
import { showLink } from "./link.js";
import { banner } from "./notice.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { Summary } from "./summary.js";
import { Table } from "./table.js";
import { ORDERS, View } from "./view.js";

/** Minimum delay between two drawings of the chart, in milliseconds. */
const CHART = 1000;

const store = new Store();
const view = new View(store);
const details = new Details(store, act);
const open = (id) => details.open(id);
const summary = new Summary(store, show);
const ends = new Ends(store, open);
const parts = { scroller: byId("scroller"), table: byId("table"), head: byId("head"), body: byId("rows") };
const table = new Table(parts, view, { open, act, sort });
const nothing = { changed: new Set(), order: false };

function redraw(changes = nothing) {
  view.refresh(changes);
  drawBlank(store, view, clear);
  table.render();
}

function show(group) {
  view.show(group);
  summary.showGroup(group);
  table.showGroup(group);
  parts.scroller.scrollTop = 0;
  redraw();
}

function sort(order, reverse = view.order === order && !view.reverse) {
  view.sort(order, reverse);
  byId("order").value = order;
  table.showOrder(order, reverse);
  redraw();
}

function clear() {
  byId("search").value = "";
  view.search("");
  show("living");
}

let chartAt = -CHART;
let chartTimer = null;

function redrawChart() {
  clearTimeout(chartTimer);
  const wait = chartAt + CHART - performance.now();
  if (wait > 0) {
    chartTimer = setTimeout(redrawChart, wait);
    return;
  }
  chartAt = performance.now();
  drawChart(byId("chart"), store);
  ends.update();
}

store.listen((changes) => {
  redraw(changes);
  summary.update();
  details.update(changes.changed);
  if (changes.order) redrawChart();
});

let version = null;

const isLive = () => stream.state.kind === "live";
const health = new Health(isLive);
const stream = new Stream({
  hello(message) {
    version ??= message.version;
    setText(byId("instance"), `${message.instance} · ${message.version}`);
    byId("forget-key").hidden = key() === null;
    if (message.version !== version) banner("version", `Sandglass is now ${message.version}; this page is older.`, { title: "Reload", run: () => location.reload() });
  },
  snapshot: (message) => store.snapshot(message),
  event(message) {
    const ended = store.event(message);
    if (ended) ends.announce(ended);
  },
  state(state) {
    showLink(state, store.loaded, () => stream.nudge());
    health.look();
  },
});

for (const [name, { words }] of Object.entries(ORDERS)) byId("order").append(el("option", { value: name }, words));
byId("order").addEventListener("change", ({ target }) => sort(target.value, false));
byId("search").addEventListener("input", ({ target }) => {
  view.search(target.value);
  parts.scroller.scrollTop = 0;
  redraw();
});
byId("forget-key").addEventListener("click", () => {
  forget();
  location.reload();
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  byId("search").focus();
});

setInterval(() => {
  if (view.isOwed) redraw();
  table.tick();
  summary.tick();
  details.tick();
  showLink(stream.state, store.loaded, () => stream.nudge());
}, TICK * 1000);
setInterval(redrawChart, 15_000);
summary.showGroup("living");
sort("created", false);
stream.open();
