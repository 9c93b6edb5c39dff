// The actions on a sandbox.

import { call, problem } from "./api.js";
import { duration, now } from "./clock.js";
import { byId, setText } from "./dom.js";
import { notice } from "./notice.js";

const path = (id, rest = "") => `/v1/sandboxes/${encodeURIComponent(id)}${rest}`;

const ACTIONS = {
  keep: { send: (id) => call("POST", path(id, "/keep-alive")), done: kept, failed: "keep alive" },
  pause: { send: (id) => call("POST", path(id, "/pause")), done: (id) => `${id} is paused`, failed: "pause", was: "paused" },
  resume: { send: (id) => call("POST", path(id, "/resume")), done: (id) => `${id} runs`, failed: "resume", was: "running" },
  end: { ask: confirmEnd, send: (id) => call("DELETE", path(id)), done: (id) => `${id} is on its way out`, failed: "terminate" },
};

/** Performs an action and reports its result. The stream updates the sandbox. */
export async function act(name, id) {
  const action = ACTIONS[name];
  if (action.ask && !(await action.ask(id))) return;
  const answer = await action.send(id);
  if ((answer.status >= 200 && answer.status < 300) || wasDone(action, answer)) notice(action.done(id, answer.body));
  else notice(`Failed to ${action.failed} ${id}: ${problem(answer)}`, true);
}

/** A request that was sent twice may have succeeded the first time. */
const wasDone = ({ was }, { repeated, body }) => repeated && was !== undefined && body?.error?.details?.status === was;

function kept(id, { terminates_at }) {
  return terminates_at === null ? `${id} is kept alive` : `${id} is kept alive: ${duration(Math.round(terminates_at - now()))} from now`;
}

function confirmEnd(id) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), `Terminate ${id}?`);
  setText(byId("confirm-text"), "Its container is stopped and removed, with everything in it that is not kept elsewhere.");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
