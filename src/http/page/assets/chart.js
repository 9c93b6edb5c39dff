// The last hour: how many sandboxes lived, and how many ended in each minute. Ended ones are remembered for an hour, so when
// each was created and when it ended is the whole history.

import { now } from "./clock.js";
import { el, svg } from "./dom.js";
import { HISTORY } from "./store.js";
import { count, endedBadly } from "./words.js";

const [WIDTH, HEIGHT, MINUTES] = [300, 64, 60];
const [GAP, FLOOR] = [8, 22];

/** Draws the chart into `place`. */
export function drawChart(place, store) {
  const until = now();
  const { steps, most } = livingOver(store, until);
  const ends = endsPerMinute(store, until);
  const total = ends.reduce((sum, { all }) => sum + all, 0);
  const living = store.totals.living;
  const summary = `${count(living, "sandbox", "sandboxes")} now, at most ${most.toLocaleString()}; ${count(total, "end")}`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + GAP + FLOOR}`, preserveAspectRatio: "none", role: "img", "aria-label": `The last hour: ${summary}` });
  const y = (number) => HEIGHT - (number / Math.max(most, 1)) * (HEIGHT - 2);
  const x = (time) => (1 - (until - time) / HISTORY) * WIDTH;
  let line = "";
  for (const [time, number] of steps) line += `${line ? `H${x(time).toFixed(1)}V` : `M${x(time).toFixed(1)} `}${y(number).toFixed(1)}`;
  line += `H${WIDTH}`;
  drawing.append(
    svg("path", { class: "area", d: `${line}V${HEIGHT}H0Z` }),
    svg("path", { class: "line", d: line }),
    svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}M0 ${HEIGHT + GAP + FLOOR - 0.5}H${WIDTH}` }),
  );
  const highest = Math.max(1, ...ends.map(({ all }) => all));
  ends.forEach(({ all, bad }, minute) => {
    const column = (from, number, kind) => {
      if (number === 0) return;
      const height = (number / highest) * FLOOR;
      const place = { x: ((minute + 0.12) * WIDTH) / MINUTES, width: (0.76 * WIDTH) / MINUTES };
      drawing.append(svg("rect", { class: kind, ...place, y: HEIGHT + GAP + FLOOR - from * (FLOOR / highest) - height, height }));
    };
    column(0, all - bad, "end");
    column(all - bad, bad, "end bad");
  });
  place.replaceChildren(
    el("p", { class: "legend" }, el("span", {}, el("b", {}, living.toLocaleString()), ` living, at most ${most.toLocaleString()}`), el("span", {}, el("b", {}, total.toLocaleString()), " ended")),
    drawing,
    el("p", { class: "scale quiet" }, el("span", {}, "60 min ago"), el("span", {}, "30"), el("span", {}, "now")),
  );
}

/** Returns `[time, number]` at each change, and the highest number. */
function livingOver(store, until) {
  const from = until - HISTORY;
  let number = 0;
  const changes = [];
  const note = (time, by) => (time <= from ? (number += by) : changes.push([time, by]));
  for (const { sandbox, group } of store.entries.values()) if (group !== "ended") note(sandbox.created_at, 1);
  for (const sandbox of store.ends.values()) {
    if (sandbox.ended_at <= from) continue;
    note(sandbox.created_at, 1);
    note(sandbox.ended_at, -1);
  }
  changes.sort(([a], [b]) => a - b);
  const steps = [[from, number]];
  let most = number;
  for (const [time, by] of changes) {
    number += by;
    most = Math.max(most, number);
    // Thousands of points would be drawn over each other.
    const last = steps.at(-1);
    if (time - last[0] < HISTORY / WIDTH / 2) last[1] = number;
    else steps.push([time, number]);
  }
  return { steps, most };
}

function endsPerMinute(store, until) {
  const minutes = Array.from({ length: MINUTES }, () => ({ all: 0, bad: 0 }));
  for (const sandbox of store.ends.values()) {
    const minute = MINUTES - 1 - Math.floor((until - sandbox.ended_at) / (HISTORY / MINUTES));
    const at = minutes[Math.min(minute, MINUTES - 1)];
    if (!at) continue;
    at.all += 1;
    if (endedBadly(sandbox)) at.bad += 1;
  }
  return minutes;
}
