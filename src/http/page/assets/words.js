// The words of the interface, for people.

/** The choices of the filter. */
export const GROUPS = [
  ["living", "All"],
  ["running", "Running"],
  ["paused", "Paused"],
  ["pending", "Starting"],
  ["ending", "Ending"],
  ["ended", "Ended"],
];

const REASONS = {
  idle: "nobody used it",
  expired: "its active timeout passed",
  requested: "somebody ended it",
  exited: "its container exited",
  oom_killed: "it ran out of memory",
  start_failed: "it did not start",
  vanished: "its container vanished",
  unresponsive: "it gave no sign of life",
  orphaned: "its container had no sandbox",
};

export function reason(sandbox) {
  const words = REASONS[sandbox.reason] ?? sandbox.reason ?? "unknown";
  return sandbox.reason === "exited" && sandbox.exit_code !== undefined && sandbox.exit_code !== null
    ? `${words} with code ${sandbox.exit_code}`
    : words;
}

/** Whether it ended by a failure. */
export const endedBadly = (sandbox) => sandbox.status === "failed" || sandbox.reason === "oom_killed";

const SOURCES = {
  create: "its creation",
  ping: "a ping",
  batch: "a batch ping",
  keep_alive: "a keep-alive",
  reuse: "a create that reused it",
  resume: "its resumption",
  stream: "a ping by stream",
  hold: "a hold",
  command: "a command",
  file: "a transfer of files",
  traffic: "a request to one of its ports",
  snapshot: "a snapshot of its files",
};

export const source = (name) => SOURCES[name] ?? name;

/** Whether a hold is that of a command that runs; such a hold has the command's line as its reason. */
export const isCommand = ({ name }) => name.startsWith("command:");

/** What holds it, of one hold. */
const holder = (hold) => (isCommand(hold) ? `command ${hold.reason ?? hold.name.slice("command:".length)}` : hold.name);

/** Who holds it; `holds` are sorted by name. */
export function holders(holds) {
  const [first, ...others] = holds;
  return others.length > 0 ? `held by ${holder(first)} and ${count(others.length, "other")}` : `held by ${holder(first)}`;
}

const PHASES = { pulling: "pulling its image", creating: "creating", starting: "starting", waiting: "waiting until ready" };

export const phase = (name) => PHASES[name] ?? name;

export const count = (number, word, words = `${word}s`) => `${number.toLocaleString()} ${number === 1 ? word : words}`;

/** Metadata on one line. */
export function metadata(values) {
  return Object.entries(values ?? {}).map(([key, value]) => `${key}=${plain(value)}`).join("  ");
}

export const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
