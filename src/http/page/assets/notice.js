// Notices: results of actions, and banners that stay while there is a problem.

import { byId, el, setText } from "./dom.js";

const place = byId("notices");
const [BRIEF, LONG, MOST] = [4000, 12_000, 4];

/** A line that disappears by itself. */
export function notice(text, bad = false) {
  const line = el("p", { class: bad ? "notice bad" : "notice" }, text);
  // Must be above an open dialog.
  const top = [...document.querySelectorAll("dialog[open]")].at(-1);
  (top ?? document.body).append(place);
  top?.addEventListener("close", () => document.body.append(place), { once: true });
  place.append(line);
  while (place.children.length > MOST) place.firstElementChild.remove();
  setTimeout(() => line.remove(), bad ? LONG : BRIEF);
}

/** Shows a banner by its name; without a text, removes it. */
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
    // Announced once, since its text may count seconds.
    byId("announcer").replaceChildren(el("p", {}, text));
  }
  setText(line.firstElementChild, text);
}
