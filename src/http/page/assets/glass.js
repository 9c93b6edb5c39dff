// The next deadline of a sandbox, and how much of its time is left.

/** The rule that acts next, or null if nothing ends it by itself. */
export function glass(entry) {
  const { sandbox } = entry;
  const at = sandbox.terminates_at;
  if (at === null || at === undefined || sandbox.ended_at !== undefined) return null;
  const acts = sandbox.on_timeout !== "deactivate";
  const idle = sandbox.idle_deadline;
  if (idle !== null && idle <= at && (!acts || idle <= sandbox.expires_at)) {
    // While it is paused, the paused timeout may count instead of the idle timeout.
    const whole = sandbox.status === "paused" ? idle - sandbox.last_activity_at : sandbox.idle_timeout;
    return { rule: "idle", at, whole: Math.max(whole ?? 0, 1) };
  }
  if (acts && sandbox.expires_at <= at) {
    return { rule: sandbox.on_timeout === "pause" ? "pause" : "expiry", at, whole: Math.max(entry.active ?? 0, 1) };
  }
  return { rule: "heartbeat", at, whole: Math.max(at - sandbox.last_activity_at, 1) };
}

/** The length of its active timeout, derived from its events: a keep-alive sets it from the time of the event. */
export function activeTimeout(sandbox, before, time) {
  if (before && before.sandbox.expires_at === sandbox.expires_at) return before.active;
  if (before && time !== undefined) return sandbox.expires_at - time;
  return sandbox.expires_at - (sandbox.started_at ?? sandbox.created_at);
}

const MEANING = {
  idle: "unless it is used",
  expiry: "unless kept alive",
  pause: "until paused",
  heartbeat: "without a heartbeat",
};

export const meaning = (rule) => MEANING[rule];

/** Whether little time is left, in seconds or as a share. */
export const isLow = (glass, now) => glass.at - now < Math.min(60, glass.whole * 0.25);
