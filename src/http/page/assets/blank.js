// Shown in place of an empty table: how to create the first sandbox, or how to see the others.

import { addressOf } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { key } from "./key.js";

/** `clear()`: shows everything again. */
export function drawBlank(store, view, clear) {
  const place = byId("blank");
  const isEmpty = view.rows.length === 0 && store.loaded;
  byId("scroller").hidden = view.rows.length === 0;
  place.hidden = !isEmpty;
  const kind = !isEmpty ? "" : view.isFiltered ? "filtered" : "first";
  if (place.dataset.kind === kind) return;
  place.dataset.kind = kind;
  place.replaceChildren(...(kind === "first" ? first() : kind === "filtered" ? filtered(clear) : []));
}

const filtered = (clear) => [
  el("p", {}, "No sandbox is like that."),
  el("p", {}, el("button", { type: "button", onclick: clear }, "Show all")),
];

function first() {
  const line = command();
  const copy = el("button", { type: "button", class: "plain", "aria-label": "Copy the command", onclick: () => navigator.clipboard.writeText(line) }, icon("copy"));
  return [
    el("p", { class: "lead" }, "Nothing runs here yet."),
    el("p", { class: "quiet" }, "Create the first sandbox, which lives for two minutes if nobody uses it:"),
    // Only if the browser allows the page to copy.
    el("div", { class: "command" }, el("pre", { tabindex: "0" }, el("code", {}, line)), navigator.clipboard && copy),
    el("p", { class: "quiet" }, "It shows up here by itself. All the calls are on the ", el("a", { href: "docs" }, "page of the interface"), "."),
  ];
}

function command() {
  const header = key() === null ? "" : ' -H "Authorization: Bearer $KEY"';
  return `curl${header} ${addressOf("/v1/sandboxes")} -d '{"id": "hello", "idle_timeout": 120}'`;
}
