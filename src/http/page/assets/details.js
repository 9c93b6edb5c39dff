// All details of one sandbox, kept up to date while they are open.

import { call, problem } from "./api.js";
import { ago, dateAndTime, now } from "./clock.js";
import { byId, el, setAttribute } from "./dom.js";
import { Inside } from "./inside.js";
import { plain } from "./words.js";
import { drawWhy, facts, ticking } from "./why.js";

/** Minimum delay between two requests, in milliseconds. */
const PACE = 1000;

export class Details {
  id = null;
  #store;
  #act;
  #dialog = byId("details");
  #parts;
  #inside = new Inside();
  #asked = 0;
  #timer = null;

  /** `act(action, id)`. */
  constructor(store, act) {
    [this.#store, this.#act] = [store, act];
    this.#dialog.addEventListener("close", () => this.#closed());
    // A click outside closes it.
    this.#dialog.addEventListener("click", ({ target }) => target === this.#dialog && this.#dialog.close());
  }

  open(id) {
    this.id = id;
    const button = (action, title, kind) =>
      el("button", { type: "button", class: kind, "data-action": action, onclick: () => this.#act(action, id) }, title);
    this.#parts = {
      status: el("span", { class: "line" }),
      why: el("div", { class: "why" }, el("p", { class: "quiet" }, "…")),
      facts: el("div", { class: "facts" }),
      keep: button("keep", "Keep alive", "primary"),
      pause: button("pause", "Pause"),
      resume: button("resume", "Resume"),
      end: button("end", "Terminate…", "danger"),
    };
    const { status, why, facts, keep, pause, resume, end } = this.#parts;
    const close = el("button", { type: "button", class: "plain close", "aria-label": "Close", onclick: () => this.#dialog.close() }, "✕");
    this.#dialog.replaceChildren(
      el("header", {}, el("h2", { id: "details-title", tabindex: "-1", autofocus: true }, id), status, close),
      el("div", { class: "body" }, why, facts, this.#inside.element),
      el("footer", { class: "buttons" }, keep, pause, resume, end),
    );
    this.#draw();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#look();
  }

  /** Called when sandboxes have changed. */
  update(changed) {
    if (this.id === null || !changed.has(this.id)) return;
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#asked + PACE - performance.now()));
  }

  /** Called every second. */
  tick() {
    if (this.id !== null) for (const node of this.#dialog.querySelectorAll("[data-ticks]")) node.tick();
  }

  async #look() {
    this.#asked = performance.now();
    const { id } = this;
    if (id === null) return;
    const answer = await call("GET", `/v1/sandboxes/${encodeURIComponent(id)}/why`);
    if (this.id !== id) return;
    const drawn = answer.status === 200 ? drawWhy(answer.body) : [el("p", { class: "because" }, `${problem(answer)}.`)];
    this.#parts.why.replaceChildren(...drawn.filter(Boolean));
  }

  #draw() {
    const { status, facts: place, keep, pause, resume, end } = this.#parts;
    const entry = this.#store.entries.get(this.id);
    const up = entry && ["running", "paused"].includes(entry.group);
    keep.hidden = !up;
    pause.hidden = entry?.group !== "running";
    resume.hidden = entry?.group !== "paused";
    end.hidden = !entry || entry.group === "ended" || entry.group === "ending";
    // Nothing runs in others.
    this.#inside.show(up ? this.id : null);
    if (!entry) {
      status.replaceChildren("not remembered any more");
      return;
    }
    const { sandbox } = entry;
    status.replaceChildren(el("span", { class: `dot ${sandbox.status}` }), sandbox.status, up && sandbox.expires_at <= now() ? " · inactive" : "");
    place.replaceChildren(el("h3", {}, "Facts"), facts(factsOf(sandbox)));
    setAttribute(this.#dialog, "data-id", this.id);
  }

  #closed() {
    this.id = null;
    this.#inside.show(null);
    clearTimeout(this.#timer);
    this.#dialog.replaceChildren();
  }
}

function factsOf(sandbox) {
  const at = (time) => el("span", {}, dateAndTime(time), ticking(() => ` · ${ago(time)}`, { class: "quiet" }));
  const text = (value) => value !== null && value !== undefined && value !== "" && el("code", {}, plain(value));
  const named = (pairs) => Object.entries(pairs ?? {}).map(([key, value]) => el("div", {}, el("code", {}, key), " ", el("code", {}, plain(value))));
  const list = (pairs) => Object.keys(pairs ?? {}).length > 0 && el("div", { class: "pairs" }, ...named(pairs));
  return [
    ["Error", sandbox.error_message && el("span", { class: "bad" }, sandbox.error_message)],
    ["Last output", sandbox.last_output && el("pre", {}, sandbox.last_output)],
    ["Template", text(sandbox.template)],
    ["Image", text(sandbox.image)],
    ["Address", address(sandbox.base_url)],
    ["Ports", list(sandbox.ports)],
    ["Metadata", list(sandbox.metadata)],
    ["Owner", text([sandbox.user_name, sandbox.user_id].filter((part) => part !== null && part !== undefined).map(plain).join(" · "))],
    ["Container", text(sandbox.container_id?.slice(0, 12))],
    ["Name", text(sandbox.container_name)],
    ["Created", at(sandbox.created_at)],
    ["Started", sandbox.started_at !== null && at(sandbox.started_at)],
    ["Last used", at(sandbox.last_activity_at)],
    ["On timeout", text(sandbox.on_timeout)],
  ].filter(([, value]) => value);
}

/** An address, as a link if it is one of HTTP. */
const address = (url) =>
  url && (/^https?:\/\//.test(url) ? el("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, url) : el("code", {}, url));
