// The state of the connection, and a warning that the page is outdated while it is lost.

import { duration } from "./clock.js";
import { byId, setClass, setText } from "./dom.js";
import { banner } from "./notice.js";

/** Shorter interruptions are not shown, in milliseconds. */
const UNTOLD = 1500;

const WORDS = { live: "live", connecting: "connecting", waiting: "not connected" };
const KINDS = { live: "good", connecting: "unknown", waiting: "bad" };

/** `retry()`: reconnects at once. */
export function showLink(state, isLoaded, retry) {
  const chip = byId("health-link");
  setText(chip.lastElementChild, WORDS[state.kind]);
  setClass(chip, KINDS[state.kind]);
  const lost = state.kind === "live" ? 0 : performance.now() - state.lost;
  document.body.classList.toggle("stale", lost > UNTOLD);
  if (lost <= UNTOLD) {
    banner("link", null);
    return;
  }
  const old = `Not connected for ${duration(lost / 1000)}${isLoaded ? "; what is shown is as it was then" : ""}.`;
  const next = state.until === undefined ? "Trying…" : `${capital(state.because)}; next try in ${duration(Math.ceil((state.until - performance.now()) / 1000))}.`;
  banner("link", `${old} ${next}`, { title: "Try now", run: retry });
}

const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
