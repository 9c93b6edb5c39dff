// The supervisor's clock, which all countdowns use, and durations for people.

let base = Date.now() / 1000;
let at = performance.now();

/** Now on the supervisor's wall clock, in epoch seconds. */
export const now = () => base + (performance.now() - at) / 1000;

/** Notes the supervisor's time from a message. Messages arrive late, so the latest time is the best one. */
export function told(time) {
  if (time > now()) reset(time);
}

/** Sets the time after a new connection, or after the supervisor's clock was set. */
export function reset(time) {
  base = time;
  at = performance.now();
}

/** `1 h 52 m`, `4 m 12 s`, `42 s`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return hours > 0 ? `${days} d ${hours} h` : `${days} d`;
  if (hours > 0) return minutes > 0 ? `${hours} h ${minutes} m` : `${hours} h`;
  if (minutes > 0) return `${minutes} m ${String(whole % 60).padStart(2, "0")} s`;
  return `${whole} s`;
}

/** The time left, rounded up, so that 0 means now. */
export const left = (until) => duration(Math.ceil(until - now()));

/** A timeout: a short one with its fraction, others without zero seconds. */
export const timeout = (seconds) => (seconds < 10 && seconds % 1 ? `${seconds.toFixed(1)} s` : duration(seconds).replace(" 00 s", ""));

export function ago(since) {
  const seconds = now() - since;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const timeOfDay = (seconds) => TIME.format(seconds * 1000);
export const dateAndTime = (seconds) => DATE.format(seconds * 1000);
