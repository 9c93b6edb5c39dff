// Which sandboxes are shown, and in which order.

/** Minimum delay between two sorts, in milliseconds, since sorting many sandboxes takes a while. */
const RESORT = 500;

/** With more sandboxes than this, a change of status is not sorted in at once. */
const MANY = 10_000;

const text = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const NEVER = Number.MAX_VALUE;

/** Ended sandboxes are sorted by their ends, the latest first. */
function leftOf({ group, sandbox }) {
  return group === "ended" ? -sandbox.ended_at : sandbox.terminates_at ?? NEVER;
}

/** The orders: their names, and the values that they compare. `moves`: whether use changes the value. */
export const ORDERS = {
  created: { words: "newest first", by: (entry) => -entry.sandbox.created_at },
  left: { words: "ends soonest", by: leftOf, moves: true },
  used: { words: "last used first", by: (entry) => -entry.sandbox.last_activity_at, moves: true },
  id: { words: "id", by: (entry) => entry.id },
  template: { words: "template", by: (entry) => entry.sandbox.template ?? entry.sandbox.image ?? "" },
  status: { words: "status", by: (entry) => entry.group },
  metadata: { words: "metadata", by: (entry) => JSON.stringify(entry.sandbox.metadata) },
};

export class View {
  rows = [];
  words = [];
  group = "living";
  order = "created";
  reverse = false;
  /** Rows do not move while the pointer is over one. */
  held = false;
  /** Whether a sort by moving times is pending. */
  isOwed = false;
  #store;
  #sortedAt = 0;
  #stale = true;

  constructor(store) {
    this.#store = store;
  }

  search(value) {
    this.words = value.toLowerCase().split(/\s+/).filter(Boolean);
    this.#stale = true;
  }

  show(group) {
    this.group = group;
    this.#stale = true;
  }

  sort(order, reverse = false) {
    [this.order, this.reverse, this.#stale] = [order, reverse, true];
  }

  get isFiltered() {
    return this.words.length > 0 || this.group !== "living";
  }

  clear() {
    this.search("");
    this.show("living");
  }

  /** Updates the rows with as little work as `changes` allow. */
  refresh({ changed, order }, time = performance.now()) {
    this.isOwed ||= order || (Boolean(ORDERS[this.order].moves) && changed.size > 0);
    const pace = order && this.#store.entries.size <= MANY ? 0 : RESORT;
    if (this.#stale || (this.isOwed && time - this.#sortedAt >= pace)) this.#arrange(time);
    else this.rows = this.rows.map((entry) => (changed.has(entry.id) ? this.#store.entries.get(entry.id) ?? entry : entry));
  }

  #arrange(time) {
    const rows = [];
    for (const entry of this.#store.entries.values()) if (this.#isShown(entry)) rows.push(entry);
    if (this.held && ORDERS[this.order].moves && !this.#stale) this.#keepPlaces(rows);
    else this.#sort(rows);
    [this.rows, this.#sortedAt, this.#stale, this.isOwed] = [rows, time, false, false];
  }

  #sort(rows) {
    const { by } = ORDERS[this.order];
    const direction = this.reverse ? -1 : 1;
    const keyed = rows.map((entry) => [by(entry), entry]);
    keyed.sort(([a, left], [b, right]) => direction * text(a, b) || text(left.id, right.id));
    keyed.forEach(([, entry], index) => (rows[index] = entry));
  }

  #keepPlaces(rows) {
    const places = new Map(this.rows.map((entry, index) => [entry.id, index]));
    rows.sort((a, b) => (places.get(a.id) ?? NEVER) - (places.get(b.id) ?? NEVER));
  }

  #isShown(entry) {
    const inGroup = this.group === "living" ? entry.group !== "ended" : entry.group === this.group;
    return inGroup && this.words.every((word) => entry.text.includes(word));
  }
}
