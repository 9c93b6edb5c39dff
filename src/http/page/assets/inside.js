// The load of a sandbox and the last lines of its output, asked for while its details are open. These are reads, and no use.

import { call, problem } from "./api.js";
import { el, setText } from "./dom.js";
import { count } from "./words.js";

/** Milliseconds between an answer and the next request. */
const PACE = 3000;
/** How many lines of output are shown. */
const LINES = 20;
/** The engine has no such thing, so asking again is of no use. */
const NOT_IMPLEMENTED = 501;

export class Inside {
  element = el("div", { class: "inside" });
  #id = null;
  /** Which run of requests is the present one: answers to others are dropped. */
  #run = 0;
  #timer = null;

  /** Goes on with the sandbox `id`; null stops. */
  show(id) {
    if (id === this.#id) return;
    this.#id = id;
    this.#run += 1;
    clearTimeout(this.#timer);
    this.element.replaceChildren();
    if (id === null) return;
    const part = (title, node) => {
      const whole = el("section", { hidden: true }, el("h3", {}, title), node);
      this.element.append(whole);
      return (text, quiet) => {
        whole.hidden = text === null;
        node.classList.toggle("quiet", quiet);
        if (text !== null) setText(node, text);
      };
    };
    const load = part("Load", el("p", { class: "load" }));
    const output = part("Last lines of its output", el("pre", { class: "output", tabindex: "0" }));
    const path = `/v1/sandboxes/${encodeURIComponent(id)}`;
    this.#look([
      { path: `${path}/stats`, write: (body) => load(loadOf(body), false), fail: (words) => load(words, true) },
      // What is wrong is said once.
      { path: `${path}/logs?tail=${LINES}`, write: (body) => output(linesOf(body), false), fail: () => output(null, true) },
    ]);
  }

  async #look(questions) {
    const run = this.#run;
    const again = await Promise.all(questions.map((question) => this.#ask(question, run)));
    const left = questions.filter((_, index) => again[index]);
    if (run === this.#run && left.length > 0) this.#timer = setTimeout(() => this.#look(left), PACE);
  }

  /** Returns whether it may be asked again. */
  async #ask({ path, write, fail }, run) {
    const answer = await call("GET", path);
    if (run !== this.#run) return false;
    if (answer.status === 200) write(answer.body);
    // What was seen last stays while Sandglass does not answer; the page says that elsewhere.
    else if (answer.status !== 0) fail(`${problem(answer)}.`);
    return answer.status !== NOT_IMPLEMENTED;
  }
}

function loadOf({ cpus, cpus_available, memory_bytes, memory_limit_bytes, pids }) {
  const memory = `${bytes(memory_bytes)} of ${bytes(memory_limit_bytes)}`;
  return `${cpus.toFixed(2)} of ${count(cpus_available, "core")} · ${memory} · ${count(pids, "process", "processes")}`;
}

/** The output without the control characters that colour it in a terminal; null if there is none. */
function linesOf(text) {
  const plain = text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "").trimEnd();
  return plain === "" ? null : plain;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function bytes(number) {
  let step = 0;
  while (step < UNITS.length - 1 && number >= 1024 ** (step + 1)) step += 1;
  return `${(number / 1024 ** step).toFixed(step > 0 ? 1 : 0)} ${UNITS[step]}`;
}
