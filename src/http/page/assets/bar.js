// The bar that drains: the share of the glass that is left.

import { el } from "./dom.js";

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
/** Seconds between two updates: the bar moves to where it will be at the next one. */
export const TICK = 1;

export function createBar() {
  const fill = el("span", { class: "fill" });
  const element = el("span", { class: "bar", "aria-hidden": "true" }, fill);
  let shown = null;
  return {
    element,
    /** `at`: when it is empty, null for a bar that stands still; `whole`: its length in seconds. */
    show(time, at, whole, low) {
      element.classList.toggle("still", at === null);
      element.classList.toggle("low", low);
      if (at === null) {
        shown = null;
        return;
      }
      const share = (moment) => Math.min(1, Math.max(0, (at - moment) / whole));
      const here = share(time);
      // It was refilled: jump there at once and flash.
      const refilled = shown !== null && here > shown + 0.004;
      const target = STILL.matches || refilled ? here : share(time + TICK);
      fill.style.transition = STILL.matches || shown === null || refilled ? "none" : `transform ${TICK}s linear`;
      fill.style.transform = `scaleX(${target.toFixed(4)})`;
      if (refilled && !STILL.matches) turn(element);
      shown = here;
    },
    /** Forgets the sandbox that it showed. */
    forget() {
      shown = null;
    },
    /** The share that is shown, for tests. */
    share: () => shown,
  };
}

function turn(element) {
  element.animate([{ filter: "brightness(1.7)" }, { filter: "none" }], { duration: 600, easing: "ease-out" });
}
