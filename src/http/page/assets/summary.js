// A sentence about all sandboxes, and the totals, which are also the filter by status.

import { left } from "./clock.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { glass } from "./glass.js";
import { count, GROUPS } from "./words.js";

export class Summary {
  #store;
  #buttons = new Map();
  #next = null;

  /** `show(group)`: called when a total is clicked. */
  constructor(store, show) {
    this.#store = store;
    for (const [group, title] of GROUPS) {
      const number = el("b", {}, "0");
      const button = el("button", { type: "button", "data-group": group, onclick: () => show(group) }, `${title} `, number);
      this.#buttons.set(group, { button, number });
      byId("groups").append(button);
    }
  }

  showGroup(shown) {
    for (const [group, { button }] of this.#buttons) setAttribute(button, "aria-pressed", String(group === shown));
  }

  /** Called when sandboxes have changed. */
  update() {
    const { totals, entries } = this.#store;
    for (const [group, { button, number }] of this.#buttons) {
      setText(number, totals[group].toLocaleString());
      button.classList.toggle("none", totals[group] === 0);
    }
    setText(byId("sentence"), this.#store.loaded ? sentence(totals) : "Connecting…");
    document.title = this.#store.loaded ? `${totals.living} · Sandglass` : "Sandglass";
    this.#next = soonest(entries);
    this.tick();
  }

  /** Called every second. */
  tick() {
    const next = this.#next;
    setText(byId("next"), next ? `Next: ${next.entry.id} ${WILL[next.rule]} in ${left(next.at)}${UNLESS[next.rule]}.` : "");
  }
}

const WILL = { idle: "ends", expiry: "ends", pause: "is paused", heartbeat: "ends" };
const UNLESS = {
  idle: ", unless somebody uses it",
  expiry: ", unless it is kept alive",
  pause: ", unless it is kept alive",
  heartbeat: ", unless it gives a sign of life",
};

function sentence({ living, running, paused, pending, ending }) {
  if (living === 0) return "No sandbox is here.";
  const parts = [
    [running, running === 1 ? "runs" : "run"],
    [paused, paused === 1 ? "is paused" : "are paused"],
    [pending, pending === 1 ? "starts" : "start"],
    [ending, ending === 1 ? "is on its way out" : "are on their way out"],
  ].filter(([number]) => number > 0);
  const said = parts.map(([number, words], index) => (index === 0 ? `${count(number, "sandbox", "sandboxes")} ${words}` : `${number.toLocaleString()} ${words}`));
  return `${said.length > 1 ? `${said.slice(0, -1).join(", ")} and ${said.at(-1)}` : said[0]}.`;
}

function soonest(entries) {
  let next = null;
  for (const entry of entries.values()) {
    const at = entry.sandbox.terminates_at;
    if (at === null || at === undefined || (next && at >= next.at)) continue;
    const found = glass(entry);
    if (found) next = { ...found, entry };
  }
  return next;
}
