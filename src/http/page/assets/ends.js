// The log of recent ends with their reasons, and their announcement to screen readers.

import { dateAndTime, now, timeOfDay } from "./clock.js";
import { byId, el, setText } from "./dom.js";
import { HISTORY } from "./store.js";
import { count, endedBadly, reason } from "./words.js";

/** How many are listed; the filter by status shows all. */
const LISTED = 50;
/** Ends within this time are announced together, in milliseconds. */
const TOGETHER = 1500;

export class Ends {
  #store;
  #open;
  #shown = "";
  #fresh = [];

  constructor(store, open) {
    [this.#store, this.#open] = [store, open];
  }

  update() {
    const oldest = now() - HISTORY;
    const all = [...this.#store.ends.values()].filter(({ ended_at }) => ended_at >= oldest).sort((a, b) => b.ended_at - a.ended_at);
    const latest = all.slice(0, LISTED);
    const shown = latest.map((sandbox) => `${sandbox.sandbox_id} ${sandbox.created_at} ${sandbox.reason}`).join("\n") + all.length;
    if (shown === this.#shown) return;
    this.#shown = shown;
    setText(byId("ends-total"), all.length === 0 ? "Nothing has ended in the last hour." : byReason(all));
    byId("ends").replaceChildren(...latest.map((sandbox) => this.#line(sandbox)));
    if (all.length > LISTED) byId("ends").append(el("li", { class: "quiet" }, `and ${(all.length - LISTED).toLocaleString()} before`));
  }

  #line(sandbox) {
    const { sandbox_id: id, ended_at } = sandbox;
    return el(
      "li",
      { "data-id": id, class: endedBadly(sandbox) ? "bad" : null },
      el("time", { datetime: new Date(ended_at * 1000).toISOString(), title: dateAndTime(ended_at) }, timeOfDay(ended_at)),
      el("button", { type: "button", class: "name", onclick: () => this.#open(id), "aria-label": `Details of ${id}` }, id),
      el("span", { class: "reason", title: sandbox.error_message }, reason(sandbox)),
    );
  }

  /** Announces an end. */
  announce(entry) {
    this.#fresh.push(entry);
    if (this.#fresh.length > 1) return;
    setTimeout(() => {
      const [first] = this.#fresh;
      const text =
        this.#fresh.length === 1
          ? `${first.id} has ended: ${reason(first.sandbox)}`
          : `${count(this.#fresh.length, "sandbox has", "sandboxes have")} ended`;
      this.#fresh = [];
      byId("announcer").replaceChildren(el("p", {}, text));
    }, TOGETHER);
  }
}

function byReason(all) {
  const numbers = new Map();
  for (const { reason } of all) numbers.set(reason, (numbers.get(reason) ?? 0) + 1);
  const parts = [...numbers].sort(([, a], [, b]) => b - a).map(([word, number]) => `${word.replaceAll("_", " ")} ${number.toLocaleString()}`);
  return parts.join(" · ");
}
