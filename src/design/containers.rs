//! How containers are handled: a chapter of the design.

chapter! {
    /// How containers are handled.
    ///
    engine {
        /// # Labels
        ///
        /// A container's labels name its prefix, its sandbox, the container itself, the store that made it, its template,
        /// timeouts and readiness: enough to rebuild a record. Containers are named `sandglass-{id}` under the default
        /// prefix and `sandglass.{prefix}.{id}` under others, so that two prefixes can have the same id.
        ///
        labels;

        /// # Ours only
        ///
        /// Before a container is stopped, paused or removed, exactly that container is inspected. Labels alone prove nothing,
        /// since `docker commit` copies them into an image and every container of that image carries them. A container is
        /// ours if a record names its id, or, without a record, if its labels name its own name. Containers that were
        /// taken over carry the reference system's `owner=executor_manager` and the matching `task_id`. A foreign container
        /// with our name or labels is left alone and logged once.
        ///
        ours_only;

        /// # Hardening
        ///
        /// Containers get no new privileges, few capabilities, limits for processes, memory and CPU, an init process, rotated
        /// logs, ports on loopback only, and no mounts beyond `docker.allowed_mounts`. A request can tighten this and can
        /// loosen it only as far as the configuration allows.
        ///
        hardening;

        /// # Termination
        ///
        /// A container is stopped with a grace time, killed, and removed with its volumes. One that is gone already counts as
        /// removed. Any other failure is retried indefinitely, with exponential backoff and jitter. Meanwhile the sandbox
        /// is `terminating`, and `why` shows the last error and the number of attempts.
        ///
        termination;

        /// # Bounded calls
        ///
        /// Every call to the engine has a timeout and holds one of `docker.concurrency` permits. Removals and pulls have lanes
        /// of their own, so that 1,000 expiries in one second neither starve a create nor flood the engine.
        ///
        bounded_calls;

        /// # Events
        ///
        /// The engine's events reach the actors: exits, kills for memory, removals, pauses and restarts by hand. A broken
        /// event stream is resumed from the last event's time, and a comparison closes the gap.
        ///
        events;

        /// # Restart of the engine
        ///
        /// A container counts as exited only if the engine was up when it ended and stayed up. If that cannot be shown, for
        /// example after a restart of Docker or of the host, the sandbox goes on: its container is started again with its
        /// files, paused again if it was paused, and its ports are read anew. The idle clock stands still meanwhile, and the
        /// stream says `restarted`. A sandbox fails only after ten refused starts over some minutes.
        ///
        engine_restart;

        /// # Comparison
        ///
        /// At the start, after each reconnect and every `docker.reconcile_interval`, the engine's list is compared with the
        /// sandboxes. A container of ours without a sandbox, older than `docker.orphan_grace`, is adopted if its labels
        /// say that it should live, else removed (`orphaned`). A sandbox without its container ends as `vanished`. A
        /// container under a tombstone is removed. A list that fails proves nothing, and before anything ends, exactly that
        /// container is inspected again.
        ///
        comparison;

        /// # Snapshots
        ///
        /// A snapshot is an image of a container's files, taken by a commit. The engine keeps it, and the store knows nothing of
        /// it. Its labels name its prefix, its store and the sandbox; as these are inherited, too, it is ours only if its own
        /// reference is the one in its labels. It is no sandbox, and a container that somebody runs of it is none either. The
        /// container stands still while its files are copied, which neither pauses the sandbox nor moves a clock: work waits,
        /// and an end comes when it is due. What runs in the sandbox and its memory are not part of it. Sandboxes outlive the
        /// snapshot that they were made from; its bytes are removed after the last of them.
        ///
        snapshots;

        /// # Engine outage
        ///
        /// While the engine is down, pings work, creates fail with 503 `runtime_unavailable`, ends wait and are retried, and
        /// `/readyz` says so.
        ///
        outage;
    }
}
