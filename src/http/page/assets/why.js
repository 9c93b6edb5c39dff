// Draws the answer of `GET /v1/sandboxes/{id}/why`: why a sandbox is alive and until when, or why it ended.

import { ago, dateAndTime, left, now, timeout } from "./clock.js";
import { el } from "./dom.js";
import { count, isCommand, source } from "./words.js";

const RULES = {
  idle: "Idle timeout",
  active_timeout: "Active timeout",
  heartbeat: "Heartbeat",
  restart_grace: "Restart grace",
  retry: "Retry",
};

/** A text that depends on the time; `tick` updates it. */
export const ticking = (write, attributes = {}) => {
  const node = el("span", attributes, write());
  node.tick = () => {
    const text = write();
    if (node.textContent !== text) node.textContent = text;
  };
  node.dataset.ticks = "";
  return node;
};

export const drawWhy = (why) => [
  el("p", { class: "because" }, sentence(why.because)),
  why.rules.length > 0 && el("h3", {}, "What it lives by"),
  why.rules.length > 0 && el("ul", { class: "rules" }, ...why.rules.map(rule)),
  ...commands(why.holds.filter(isCommand)),
  ...holds(why.holds.filter((hold) => !isCommand(hold))),
  why.activity.length > 0 && el("h3", {}, "What has kept it alive"),
  why.activity.length > 0 && table(["By", "How often", "Last"], why.activity.map(used)),
  why.end && el("h3", {}, "Its end"),
  why.end && facts(end(why.end)),
  why.removal && el("h3", {}, "Its removal"),
  why.removal && facts(removal(why.removal)),
];

function rule({ rule, timeout: seconds, at, acts_next, sentence: words }) {
  return el(
    "li",
    { class: acts_next ? "next" : null },
    el("span", { class: "head" }, el("b", {}, RULES[rule] ?? rule), seconds !== null && el("span", { class: "quiet" }, ` ${timeout(seconds)}`), acts_next && el("span", { class: "tag" }, "acts next")),
    at !== null && ticking(() => (at > now() ? left(at) : "passed"), { class: "count", title: dateAndTime(at) }),
    el("span", { class: "quiet words" }, sentence(words)),
  );
}

const commands = (running) =>
  running.length > 0 ? [el("h3", {}, "Commands that run"), table(["Command", "Began"], running.map(command), "commands")] : [];

const command = ({ name, reason, since }) => [
  el("code", { title: name.slice("command:".length) }, reason ?? name),
  ticking(() => ago(since), { title: dateAndTime(since) }),
];

const holds = (others) =>
  others.length > 0 ? [el("h3", {}, "Who holds it"), table(["Name", "For", "Since", "Left"], others.map(hold), "holds")] : [];

const hold = ({ name, reason, since, until }) => [
  el("code", {}, name),
  reason ?? "",
  ticking(() => ago(since), { title: dateAndTime(since) }),
  ticking(() => left(until), { title: dateAndTime(until) }),
];

const used = ({ source: name, count: times, last_at }) => [
  source(name),
  times === 1 ? "once" : `${times.toLocaleString()} times`,
  ticking(() => ago(last_at), { title: dateAndTime(last_at) }),
];

const end = ({ reason, exit_code, ended_at, deadline_at, lateness }) => [
  ["Reason", reason],
  exit_code !== null && ["Exit code", String(exit_code)],
  ["Decided", dateAndTime(ended_at)],
  deadline_at !== null && ["Deadline", dateAndTime(deadline_at)],
  lateness !== null && ["Lateness", lateness < 1 ? `${(lateness * 1000).toFixed(1)} ms` : timeout(lateness)],
];

const removal = ({ failed_attempts, last_error, next_attempt_at }) => [
  ["Failed", count(failed_attempts, "try", "tries")],
  last_error !== null && ["Last error", last_error],
  next_attempt_at !== null && ["Next try", ticking(() => `in ${left(next_attempt_at)}`)],
];

/** Pairs of a name and a text or an element. */
export const facts = (pairs) =>
  el("dl", {}, ...pairs.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

const table = (head, rows, kind) =>
  el(
    "table",
    { class: kind },
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))),
  );

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
