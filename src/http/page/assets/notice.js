// What has to be said: how an action went, and banners that stay while something is wrong.

import { byId, el, setText } from "./dom.js";

const place = byId("notices");
const [BRIEF, LONG, MOST] = [4000, 12_000, 4];

/** A line that goes by itself. */
export function notice(text, bad = false) {
  const line = el("p", { class: bad ? "notice bad" : "notice" }, text);
  // Above an open dialog, which is above everything else.
  const top = [...document.querySelectorAll("dialog[open]")].at(-1);
  (top ?? document.body).append(place);
  top?.addEventListener("close", () => document.body.append(place), { once: true });
  place.append(line);
  while (place.children.length > MOST) place.firstElementChild.remove();
  setTimeout(() => line.remove(), bad ? LONG : BRIEF);
}

/** A banner by its name; without a text it goes. */
export function banner(name, text, action) {
  const id = `banner-${name}`;
  let line = byId(id);
  if (!text) {
    line?.remove();
    return;
  }
  if (!line) {
    line = el("div", { id, class: "banner" }, el("span", {}));
    if (action) line.append(el("button", { type: "button", onclick: action.run }, action.title));
    byId("banners").append(line);
    // Once: its text may count seconds.
    byId("announcer").replaceChildren(el("p", {}, text));
  }
  setText(line.firstElementChild, text);
}
