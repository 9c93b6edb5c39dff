// All sandboxes, from the snapshot and the events of the stream. Listeners are called at most once per frame, whatever the rate
// of events.

import { now } from "./clock.js";
import { activeTimeout } from "./glass.js";
import { metadata } from "./words.js";

/** For how many seconds ends are kept, which is what the chart shows. */
export const HISTORY = 3600;

export class Store {
  /** By id: `{id, sandbox, group, active, progress, stuck, text}`. */
  entries = new Map();
  /** All ends within the last hour, including those of reused ids, in the order of arrival. */
  ends = new Map();
  totals = { living: 0, running: 0, paused: 0, pending: 0, ending: 0, ended: 0 };
  loaded = false;
  #listeners = [];
  #arriving = null;
  #changed = new Set();
  #order = false;
  #framed = false;

  /** `listener({changed: Set of ids, order: whether rows came, went or moved between groups})`. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** Takes a page of a snapshot. The old sandboxes stay visible until the last page is here. */
  snapshot({ first, last, sandboxes }) {
    if (first || this.#arriving === null) this.#arriving = new Map();
    for (const sandbox of sandboxes) {
      const before = this.entries.get(sandbox.sandbox_id);
      this.#arriving.set(sandbox.sandbox_id, entryOf(sandbox, sameLife(before, sandbox) ? before : undefined));
    }
    if (!last) return;
    for (const id of this.entries.keys()) this.#changed.add(id);
    this.entries = this.#arriving;
    this.#arriving = null;
    this.loaded = true;
    for (const group of Object.keys(this.totals)) this.totals[group] = 0;
    for (const entry of this.entries.values()) {
      this.#count(entry, 1);
      this.#noteEnd(entry);
      this.#changed.add(entry.id);
    }
    this.#order = true;
    this.#tell();
  }

  /** Takes an event. Returns the sandbox's entry if it ended by this. */
  event(event) {
    const { change, sandbox } = event;
    const id = sandbox.sandbox_id;
    const before = this.entries.get(id);
    this.#changed.add(id);
    this.#tell();
    if (change === "forgotten") {
      if (before) this.#count(before, -1);
      this.entries.delete(id);
      this.#order = true;
      return null;
    }
    const entry = entryOf(sandbox, sameLife(before, sandbox) ? before : undefined, event);
    if (before) this.#count(before, -1);
    this.#count(entry, 1);
    this.entries.set(id, entry);
    if (!before || before.group !== entry.group || before.text !== entry.text) this.#order = true;
    const isNew = this.#noteEnd(entry);
    return isNew ? entry : null;
  }

  #count(entry, by) {
    this.totals[entry.group] += by;
    if (entry.group !== "ended") this.totals.living += by;
  }

  #noteEnd(entry) {
    if (entry.group !== "ended") return false;
    const key = `${entry.id} ${entry.sandbox.created_at}`;
    const isNew = !this.ends.has(key);
    this.ends.set(key, entry.sandbox);
    if (isNew) this.#forgetOldEnds();
    return isNew;
  }

  #forgetOldEnds() {
    const oldest = now() - HISTORY;
    for (const [key, sandbox] of this.ends) {
      if (sandbox.ended_at >= oldest) break;
      this.ends.delete(key);
    }
  }

  #tell() {
    if (this.#framed) return;
    this.#framed = true;
    requestAnimationFrame(() => {
      const changes = { changed: this.#changed, order: this.#order };
      [this.#framed, this.#order, this.#changed] = [false, false, new Set()];
      for (const listener of this.#listeners) listener(changes);
    });
  }
}

/** An id can be reused for another sandbox. */
const sameLife = (before, sandbox) => before?.sandbox.created_at === sandbox.created_at;

function entryOf(sandbox, before, event = {}) {
  const { change, progress, time } = event;
  const stuck = change === "removal_failed" || (change !== "removed" && before?.stuck === true);
  return {
    id: sandbox.sandbox_id,
    sandbox,
    group: groupOf(sandbox, stuck),
    stuck,
    active: activeTimeout(sandbox, before, time),
    progress: progress ?? (sandbox.status === "pending" ? before?.progress : undefined),
    text: textOf(sandbox),
  };
}

function groupOf(sandbox, stuck) {
  switch (sandbox.status) {
    case "pending":
    case "running":
    case "paused":
      return sandbox.status;
    case "terminating":
      return "ending";
    default:
      return stuck ? "ending" : "ended";
  }
}

/** The text that the filter searches. */
function textOf(sandbox) {
  const { sandbox_id, template, image, status, reason, base_url, user_name, user_id, container_id, holds } = sandbox;
  const parts = [sandbox_id, template, image, status, reason, base_url, user_name, user_id, container_id, metadata(sandbox.metadata)];
  for (const hold of holds ?? []) parts.push(hold.name, hold.reason);
  return parts.filter((part) => part !== null && part !== undefined).join("\n").toLowerCase();
}
