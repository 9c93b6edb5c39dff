//! What clients and operators can rely on: chapters of the design.

chapter! {
    /// What clients may rely on. The calls themselves are described by `/openapi.json`, which is made from the handlers.
    ///
    interface {
        /// # Answers
        ///
        /// JSON in snake case; times are epoch seconds and durations seconds. All errors have the shape
        /// `{"error": {"code", "message", "details"?}}`. An id that was never seen, or whose retention is over, answers 404
        /// `not_found`; one that ended answers 410 `gone` with its reason; a wrong state answers 409. `/openapi.json`
        /// describes exactly what is sent, and a fuzzer that reads it finds no answer that breaks it.
        ///
        answers;

        /// # Requests
        ///
        /// Unknown fields are refused by name, and bodies are limited in size. Ids match `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`;
        /// the ones that Sandglass makes are `i` and 19 lower-case letters and digits. Text that is not Unicode, and numbers
        /// that are not finite, are refused at any depth, because one client must not break the lists of all others.
        ///
        requests;

        /// # Create
        ///
        /// A create with an `id` is idempotent: if that sandbox is alive it is used and returned, with its active timeout
        /// extended. Without an `id`, a client that hangs up before the answer cannot know its sandbox, so the sandbox ends
        /// when its start is done, unless somebody has used it.
        ///
        create;

        /// # Why
        ///
        /// `GET /v1/sandboxes/{id}/why` says why a sandbox is alive and until when, or why it ended: its rules with their
        /// deadlines, who reset the idle clock, how often and when, and how its removal goes.
        ///
        why;

        /// # Configuration
        ///
        /// Four layers, later ones overriding earlier ones: `config/default.toml`, a file, the environment
        /// (`SANDGLASS_SECTION__KEY`), flags. All errors are reported at once, each with its source, key, value and rule. A
        /// variable `SANDGLASS_X` without a double underscore is ignored with a warning, since orchestrators inject such
        /// names. Some names of the reference system and of Docker work, too: `SANDBOX_INACTIVE_TIMEOUT`,
        /// `SANDBOX_LEGACY_TTL`, `REDIS_URL`, `DOCKER_HOST`.
        ///
        configuration;
    }
}

chapter! {
    /// E2B's protocol: a second surface over the same sandboxes, for programs that were written against E2B's SDKs. It is a
    /// translation, with routes, keys and a shape of errors of its own, and without timers or state.
    ///
    e2b {
        /// # Timeouts of E2B
        ///
        /// The `timeout` of E2B is the active timeout. Its end pauses a sandbox that was made with `autoPause`, and
        /// terminates any other; while a sandbox is paused, it stands still (`terminate_unless_paused`). There is no idle
        /// rule unless the template itself sets one. Setting a timeout may shorten it; connecting and refreshing only
        /// extend, also when a connect resumes. A timeout is acknowledged only to a sandbox that runs: a call that meets a
        /// pause under way waits for its outcome.
        ///
        timeouts;

        /// # Tokens
        ///
        /// The access tokens of a sandbox are derived from the API key, its id and the time of its create (HMAC-SHA256), and
        /// stored nowhere. So they survive restarts and lost records, sandboxes of the native interface have them, too, and
        /// another API key revokes all of them. Without an API key they protect nothing.
        ///
        tokens;

        /// # Repetitions
        ///
        /// E2B's SDKs repeat every call that is answered with 429, 502, 503 or 504. So a create is answered with one of these
        /// only while no container was started for it, and a call for one sandbox only while Sandglass starts, stops, is on
        /// standby or cannot write. A create with an `Idempotency-Key` has an id that is derived from the key, and so makes
        /// one sandbox however often it is repeated, also across restarts.
        ///
        repetitions;

        /// # Refusals of E2B
        ///
        /// What Sandglass does not have, such as rules for outgoing traffic or pauses without the memory, is refused (400)
        /// and never taken without a word. Fields that are unknown are ignored, since newer SDKs send more of them. A
        /// sandbox that is ending or has ended is not found (404).
        ///
        refusals;
    }
}

chapter! {
    /// The status stream, over a websocket (`/v1/stream`) and as server-sent events (`/v1/events`).
    ///
    stream {
        /// # Order
        ///
        /// A connection gets `hello`, a `snapshot` in pages, and then `event`s, which carry the whole sandbox as it now is.
        /// Events are numbered without gaps within an epoch. `?since=EPOCH:SEQ` resumes with exactly the missed events, or
        /// with a new snapshot, and says which. A feed that nobody has read for five minutes sleeps and wakes in another
        /// epoch. A filtered stream gets `position` messages, so that it can resume, too.
        ///
        order;

        /// # Pace
        ///
        /// A deadline that pings have moved is announced at most once per second and sandbox. Everything else is announced at
        /// once.
        ///
        pace;

        /// # Warning
        ///
        /// `expiring` is sent `lifecycle.warn_before` ahead of an end that use can prevent, or halfway through a shorter
        /// timeout.
        ///
        warning;

        /// # Upstream
        ///
        /// Over the websocket a client can ping (`{"type": "ping", "id": …}` or `"ids": […]`) and change its filter
        /// (`{"type": "subscribe", …}`). Each ping is answered, in turn with what is being announced.
        ///
        upstream;

        /// # Slow readers
        ///
        /// All readers share one bounded history, and a reader is a position in it. A reader that falls out of it gets
        /// `lagged` and a new snapshot. It slows neither the supervisor nor other readers. Dead peers are found by websocket
        /// pings. A stop closes with 1001 after the last event.
        ///
        slow_readers;
    }
}

chapter! {
    /// Who may do what, and what bounds them.
    ///
    security {
        /// # Access
        ///
        /// Sandglass listens on loopback by default, and an address beyond it without an API key is refused at the start,
        /// since every client that reaches it can run containers. Keys are compared in constant time and never logged. Browsers may change
        /// things only from pages of the same origin or of `http.allowed_origins`. The pages have a strict content policy
        /// and no inline script.
        ///
        access;

        /// # Limits
        ///
        /// Bodies, sandboxes, creates in flight, streams and open files are bounded. The soft limit of open files is raised to
        /// the hard one, and streams and requests for the inside of sandboxes are refused (429) while the rest is needed for
        /// pings, the engine and the store.
        ///
        limits;

        /// # Logs
        ///
        /// A log that nobody reads, or whose disk is full, loses lines and delays nothing.
        ///
        logs;

        /// # Background tasks
        ///
        /// No background task dies silently: one that panics is logged, counted (`sandglass_task_deaths_total`), started again
        /// and reported by `/readyz`.
        ///
        tasks;
    }
}

chapter! {
    /// Goals that `make bench` measures, each beside its peer and alternately with it, on two cores that the load
    /// generator shares. What counts is the ratio: the median over the rounds of one run.
    ///
    /// | what | goal |
    /// |---|---|
    /// | pings over HTTP with 100,000 live sandboxes, against a bare handler that returns the same bytes | ≥ 0.80 |
    /// | the same with 100,000 sandboxes against 100 | ≥ 0.95 |
    /// | pings spread over all 100,000, against the bare handler: no store, embedded, Redis | ≥ 0.80 each |
    /// | lateness of 100,000 deadlines within 10 s: p99, maximum; none early | ≤ 10 ms, ≤ 50 ms |
    /// | memory per live sandbox beside its own texts; of 1,000,000 sandboxes | ≤ 1.5 KiB; ≤ 2 GiB |
    /// | 100,000 records restored from Redis, against only reading them with the same client | ≤ 1.5 |
    /// | records written per flush for 50,000 pings/s on 1,000 sandboxes | ≤ 1,000 |
    /// | 100 real containers due in the same second, against removing them through the engine's API | ≤ 1.15 |
    /// | from start to ready, empty store | ≤ 100 ms |
    ///
    figures {}
}
