// The connection to the status stream. It reconnects indefinitely, and resumes where it was.

import { addressOf, call, problem } from "./api.js";
import { reset, told } from "./clock.js";
import { protocols } from "./key.js";

/** Delays between attempts, in milliseconds: doubled from the first to the last, and shortened by up to half at random. */
const [FIRST_WAIT, LAST_WAIT] = [400, 15_000];
/** Silence after which the other side is asked for a sign of life, and how long that may take. A browser does not tell a
 *  page of the websocket's own pings. */
const [SILENCE, PATIENCE] = [20_000, 8_000];
const OPEN_BOUND = 10_000;

export class Stream {
  /** `{kind: "connecting" | "live" | "waiting", lost, until, because}`; times by `performance.now()`. */
  state = { kind: "connecting", lost: performance.now() };
  #handlers;
  #socket = null;
  #position = null;
  #failures = 0;
  #timer = null;
  #probe = null;

  /** `handlers`: `hello(message)`, `snapshot(message)`, `event(message)`, `state(state)`. */
  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", () => this.nudge());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.nudge());
  }

  /** Begins. Checks first whether a key is needed, since a refused websocket does not say why. */
  async open() {
    clearTimeout(this.#timer);
    this.#say({ kind: "connecting" });
    const answer = await call("GET", "/v1/sandboxes?limit=1", undefined, 10);
    if (answer.status === 200) this.#connect();
    else this.#wait(problem(answer));
  }

  /** Reconnects or checks the connection now instead of later. */
  nudge() {
    if (this.state.kind === "waiting") this.open();
    else if (this.state.kind === "live") this.#askForLife();
  }

  #connect() {
    const since = this.#position === null ? "" : `&since=${encodeURIComponent(this.#position.epoch)}:${this.#position.seq}`;
    const address = addressOf(`/v1/stream?status=all${since}`);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, protocols());
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), OPEN_BOUND);
    let opened = false;
    socket.onmessage = ({ data }) => {
      if (this.#socket !== socket) return;
      this.#heard();
      const message = JSON.parse(data);
      if (message.type === "hello") {
        opened = true;
        clearTimeout(this.#timer);
        this.#failures = 0;
      }
      this.#take(message);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      clearTimeout(this.#timer);
      clearTimeout(this.#probe);
      this.#wait(opened ? (code === 1001 ? "Sandglass has stopped" : "the connection broke") : "the status stream was refused");
    };
  }

  #take(message) {
    if (message.change === "changed") reset(message.time);
    else if (message.time !== undefined) told(message.time);
    switch (message.type) {
      case "hello":
        reset(message.time);
        if (!message.resumed) this.#position = null;
        this.#handlers.hello(message);
        this.#say({ kind: "live" });
        break;
      case "snapshot":
        if (message.last) this.#position = { epoch: message.epoch, seq: message.seq };
        this.#handlers.snapshot(message);
        break;
      case "event":
        this.#passed(message.seq);
        this.#handlers.event(message);
        break;
      case "position":
        this.#passed(message.seq);
        break;
      default:
        // `lagged` is followed by a snapshot, and unknown messages of later versions are ignored.
        break;
    }
  }

  #passed(seq) {
    if (this.#position !== null) this.#position.seq = seq;
  }

  #heard() {
    clearTimeout(this.#probe);
    this.#probe = setTimeout(() => this.#askForLife(), SILENCE);
  }

  /** A ping without ids, which is answered. */
  #askForLife() {
    const socket = this.#socket;
    if (socket === null || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ type: "ping", ids: [] }));
    clearTimeout(this.#probe);
    this.#probe = setTimeout(() => this.#giveUp(socket), PATIENCE);
  }

  /** Abandons the connection, since closing it without an answer would take long. */
  #giveUp(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.close();
    this.#wait("Sandglass has gone silent");
  }

  #wait(because) {
    const wait = Math.min(LAST_WAIT, FIRST_WAIT * 2 ** this.#failures) * (1 - Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), wait);
    this.#say({ kind: "waiting", until: performance.now() + wait, because });
  }

  #say(state) {
    const lost = this.state.kind === "live" ? performance.now() : this.state.lost;
    this.state = state.kind === "live" ? state : { ...state, lost };
    this.#handlers.state(this.state);
  }
}
