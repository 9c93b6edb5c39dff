// Calls of the interface, with this tab's key.

import { ask, forget, key } from "./key.js";

/** A proxy may serve everything below a path, so addresses are relative to the folder of this file. */
const HOME = new URL("../", import.meta.url);
/** Seconds after which a call counts as failed. */
const BOUND = 30;
/** Milliseconds before a retry. */
const AGAIN_AFTER = 250;

/** The whole address of a path of the interface, which begins with '/'. */
export const addressOf = (path) => new URL(`.${path}`, HOME);

/** Returns `{status, body}`, where the body is JSON or a text, with status 0 if nothing answered. Asks for the key if it is missing or wrong. */
export async function call(method, path, body, bound = BOUND) {
  for (;;) {
    const used = key();
    const answer = await send(method, path, body, used, bound);
    if (answer.status !== 401) return answer;
    // Another call may have got the right key in the meantime.
    if (key() === used) forget();
    if (key() === null) await ask(refusalOf);
  }
}

/** Checks a key. Returns null if it is right, else the reason why not. */
async function refusalOf(candidate) {
  const { status } = await send("GET", "/v1/sandboxes?limit=1", undefined, candidate, BOUND);
  if (status === 401) return "That is not the key.";
  return status === 0 ? "Sandglass does not answer just now. Try again." : null;
}

/** Sends it, and once more when nothing came back: a browser drops requests when its host's network changes, which the
 *  containers there see to. What was asked for may then be done already; `repeated` says that it was asked for twice. */
async function send(...request) {
  const first = await sendOnce(...request);
  // Except for an end, since the id may belong to another sandbox by then.
  if (first.status !== 0 || request[0] === "DELETE") return first;
  await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
  return { ...(await sendOnce(...request)), repeated: true };
}

async function sendOnce(method, path, body, candidate, bound) {
  const headers = {};
  if (candidate !== null) headers.authorization = `Bearer ${candidate}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const response = await fetch(addressOf(path), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(bound * 1000),
    });
    const isText = response.headers.get("content-type")?.startsWith("text/plain");
    return { status: response.status, body: await (isText ? response.text() : response.json()).catch(() => null) };
  } catch {
    return { status: 0, body: null };
  }
}

/** The error in an answer. */
export const problem = ({ status, body }) =>
  body?.error?.message ?? (status === 0 ? "Sandglass does not answer" : `Sandglass answered ${status}`);
