// Who last used the sandboxes in sight, where the stream has not told yet: events name the source, a snapshot does not.

import { call } from "./api.js";

const [EVERY, AT_ONCE] = [700, 4];

export function askForKeepers(store, visible, isLive) {
  const asked = new Map();
  let underWay = 0;
  setInterval(async () => {
    if (!isLive() || underWay > 0 || document.visibilityState === "hidden") return;
    const unknown = visible().filter((entry) => isUnknown(entry) && asked.get(entry.id) !== entry.sandbox.last_activity_at);
    underWay = Math.min(unknown.length, AT_ONCE);
    for (const { id, sandbox } of unknown.slice(0, AT_ONCE)) {
      asked.set(id, sandbox.last_activity_at);
      call("GET", `/v1/sandboxes/${encodeURIComponent(id)}/why`).then(({ status, body }) => {
        underWay -= 1;
        // Nothing has used it since Sandglass was started.
        if (status === 200 && isUnknown(store.entries.get(id))) store.learnSource(id, body.activity[0]?.source ?? null);
      });
    }
    if (asked.size > 10_000) asked.clear();
  }, EVERY);
}

const isUnknown = (entry) => entry !== undefined && entry.source === undefined && ["running", "paused"].includes(entry.group);
