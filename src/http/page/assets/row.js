// One row of the table. Rows are reused for other sandboxes, and only changes are written.

import { createBar } from "./bar.js";
import { ago, dateAndTime, duration, left, now } from "./clock.js";
import { el, icon, setAttribute, setClass, setIcon, setText } from "./dom.js";
import { glass, isLow, meaning } from "./glass.js";
import * as words from "./words.js";

const ENDLESS = { ending: "on its way out", pending: "not yet running" };
const DONE = new Set(["ending", "ended"]);

export function createRow({ open, act }) {
  let entry = null;
  const name = el("button", { type: "button", class: "name", onclick: () => open(entry.id) });
  const origin = el("span", { class: "sub" });
  const dot = el("span", { class: "dot" });
  const status = el("span", { class: "word" });
  const state = el("span", { class: "sub" });
  const metadata = el("span", { class: "metadata" });
  const time = el("span", { class: "time" });
  const rule = el("span", { class: "sub" });
  const bar = createBar();
  const keeper = el("span", { class: "keeper" });
  const used = el("span", { class: "sub" });
  const button = (action, symbol) => {
    const onclick = ({ currentTarget }) => currentTarget.ariaDisabled !== "true" && act(meant(action, entry), entry.id);
    return el("button", { type: "button", class: `act ${action}`, onclick }, icon(symbol));
  };
  const [keep, pause, end] = [button("keep", "turn"), button("pause", "pause"), button("end", "end")];
  const cell = (kind, ...children) => el("td", { role: "gridcell", class: kind }, ...children);
  const element = el(
    "tr",
    { role: "row" },
    cell("id", name, origin),
    cell("status", el("span", { class: "line" }, dot, status), state),
    cell("meta", metadata),
    cell("left", el("span", { class: "line" }, time, rule), bar.element),
    cell("used", keeper, used),
    cell("acts", keep, pause, end),
  );
  const controls = [name, keep, pause, end];
  for (const control of controls) control.tabIndex = -1;

  const untimed = (words, why) => {
    setText(time, words);
    setText(rule, why);
    setClass(time, "time none");
    setAttribute(time, "title", null);
    bar.show(0, null);
  };

  return {
    element,
    controls,
    bar,
    get entry() {
      return entry;
    },

    update(next, index, height) {
      const other = entry?.id !== next.id;
      if (other) bar.forget();
      const same = entry === next;
      entry = next;
      element.style.transform = `translateY(${index * height}px)`;
      setAttribute(element, "aria-rowindex", index + 2);
      if (!same) this.write();
    },

    write() {
      const { id, sandbox, group, progress } = entry;
      element.dataset.id = id;
      element.dataset.group = group;
      setText(name, id);
      setAttribute(name, "aria-label", `Details of ${id}`);
      setText(origin, [sandbox.template ?? sandbox.image, sandbox.user_name].filter(Boolean).join(" · "));
      setClass(dot, `dot ${sandbox.status}`);
      setText(status, sandbox.status);
      const line = words.metadata(sandbox.metadata);
      setText(metadata, line);
      setAttribute(metadata, "title", line || null);
      const over = DONE.has(group);
      setText(keeper, over ? words.reason(sandbox) : keeperOf(entry));
      keeper.classList.toggle("bad", over && words.endedBadly(sandbox));
      setAttribute(keeper, "title", sandbox.error_message ?? progress?.detail ?? (over ? words.reason(sandbox) : reasonsOf(sandbox)));
      const paused = group === "paused";
      setIcon(pause, paused ? "resume" : "pause");
      label(keep, `Keep ${id} alive`, over || group === "pending");
      label(pause, paused ? `Resume ${id}` : `Pause ${id}`, group !== "running" && !paused);
      label(end, `Terminate ${id}`, over);
      this.tick(now());
    },

    tick(moment) {
      const { sandbox, group } = entry;
      setText(state, stateOf(entry, moment));
      if (group === "ended") {
        setText(used, "");
        untimed(`ended ${ago(sandbox.ended_at)}`, "");
        return;
      }
      setText(used, usedOf(entry));
      const next = glass(entry);
      if (next === null) {
        untimed(ENDLESS[group] ?? "no end", group === "paused" ? "its clock stands still" : "");
        return;
      }
      setText(time, left(next.at));
      setClass(time, "time");
      setText(rule, meaning(next.rule));
      setAttribute(time, "title", dateAndTime(next.at));
      bar.show(moment, next.at, next.whole, isLow(next, moment));
    },
  };
}

/** The same button pauses and resumes. */
const meant = (action, entry) => (action === "pause" && entry.group === "paused" ? "resume" : action);

function label(button, text, disabled) {
  setAttribute(button, "aria-label", text);
  setAttribute(button, "title", text);
  // Not `disabled`, so that a focused button keeps the focus.
  setAttribute(button, "aria-disabled", disabled ? "true" : null);
}

function stateOf({ sandbox, group, stuck }, moment) {
  if (stuck) return "removal failed, tried again";
  // There is no event for the end of the active timeout.
  if (group === "running" && sandbox.expires_at <= moment) return "inactive";
  return "";
}

function keeperOf({ group, sandbox, progress }) {
  if (group === "pending") return progress ? words.phase(progress.phase) : "starting";
  if (sandbox.holds) return words.holders(sandbox.holds);
  // Nothing has used it since Sandglass was started.
  return sandbox.last_activity_by ? words.source(sandbox.last_activity_by) : "used";
}

/** What the holds on it are for. */
const reasonsOf = ({ holds }) => holds?.map(reasonOf).join("\n");

function reasonOf(hold) {
  const { name, reason } = hold;
  if (words.isCommand(hold)) return reason ?? name;
  return reason ? `${name}: ${reason}` : name;
}

function usedOf({ sandbox, group, progress }) {
  if (group === "pending") return progress?.detail ?? "";
  if (group === "ending") return sandbox.error_message ?? "";
  // A command holds it until it ends, so what matters is how long it has run.
  if (sandbox.holds?.every(words.isCommand)) return `for ${duration(now() - Math.min(...sandbox.holds.map(({ since }) => since)))}`;
  if (sandbox.holds) return `for another ${left(Math.max(...sandbox.holds.map(({ until }) => until)))}`;
  return ago(sandbox.last_activity_at);
}
