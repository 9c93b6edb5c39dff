// The supervisor's time, by which everything here counts down, and durations for people.

let base = Date.now() / 1000;
let at = performance.now();

/** Now on the supervisor's wall clock, in epoch seconds. */
export const now = () => base + (performance.now() - at) / 1000;

/** The supervisor has said its time. A message only ever arrives late, so a later time is a better one; a much earlier one
 *  means that a clock was set or this machine has slept. */
export function told(time) {
  const ahead = time - now();
  if (ahead > 0 || ahead < -5) {
    base = time;
    at = performance.now();
  }
}

/** A new connection: whatever was known of the clock is replaced. */
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

/** What is left: rounded up, so that 0 means now. */
export const left = (until) => duration(Math.ceil(until - now()));

/** A timeout: with its fraction when it is short, and without what is nothing. */
export const timeout = (seconds) => (seconds < 10 && seconds % 1 ? `${seconds.toFixed(1)} s` : duration(seconds).replace(" 00 s", ""));

export function ago(since) {
  const seconds = now() - since;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const timeOfDay = (seconds) => TIME.format(seconds * 1000);
export const dateAndTime = (seconds) => DATE.format(seconds * 1000);
