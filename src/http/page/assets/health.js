// The health of Sandglass, its store and its container engine, from `GET /readyz`.

import { call } from "./api.js";
import { duration, now } from "./clock.js";
import { byId, setAttribute, setClass, setText } from "./dom.js";
import { banner } from "./notice.js";

const EVERY = 5000;

const MEANING = {
  store: "Pings and deadlines go on; creates are refused, and what is due to end waits until it is back.",
  runtime: "Pings go on; creates are refused, and what is due to end waits until it is back.",
};
const NAMES = { store: "The store", runtime: "Docker" };

export class Health {
  #isLive;

  /** `isLive()`: whether the stream is connected. */
  constructor(isLive) {
    this.#isLive = isLive;
    setInterval(() => this.look(), EVERY);
    document.addEventListener("visibilitychange", () => this.look());
  }

  async look() {
    if (!this.#isLive()) {
      this.#show(null);
      return;
    }
    if (document.visibilityState === "hidden") return;
    const { body } = await call("GET", "/readyz", undefined, EVERY / 1000);
    this.#show(body);
  }

  #show(readiness) {
    for (const part of ["store", "runtime"]) {
      const wrong = readiness?.reasons?.find((reason) => reason.part === part);
      const chip = byId(`health-${part}`);
      const name = part === "store" ? "store" : "Docker";
      const word = readiness === null ? `${name}: unknown` : wrong ? `${name} down` : `${name} ok`;
      setText(chip.lastElementChild, word);
      setClass(chip, readiness === null ? "unknown" : wrong ? "bad" : "good");
      setAttribute(chip, "title", wrong?.error);
      banner(part, wrong && `${NAMES[part]} ${silent(wrong)}: ${wrong.error}. ${MEANING[part]}`);
    }
  }
}

const silent = ({ since }) => (since === null ? "does not answer" : `has not answered for ${duration(now() - since)}`);
