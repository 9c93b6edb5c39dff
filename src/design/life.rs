//! How sandboxes live: chapters of the design.

chapter! {
    /// How a sandbox lives and ends.
    ///
    lifecycle {
        /// # One machine
        ///
        /// A sandbox is a pure state machine: an event and a time go in, a new state and effects come out. It knows no
        /// clock, engine, store or actor, so all of it is tested without them. An actor performs the effects and feeds
        /// their outcomes back as events.
        ///
        machine;

        /// # Statuses
        ///
        /// There are seven statuses, with the same names in records, answers, metrics and logs.
        ///
        /// ```text
        /// pending → running ⇄ paused
        /// pending, running, paused → terminating → terminated
        /// pending → failed                                      its start failed
        /// running, paused → failed | succeeded                  its container exited; succeeded: with code 0
        /// ```
        ///
        /// A sandbox that failed or succeeded keeps that status while its container is removed, and on its tombstone.
        ///
        statuses;

        /// # Reasons
        ///
        /// Why a sandbox ended is recorded, streamed, counted and kept on its tombstone.
        ///
        /// | reason | the sandbox |
        /// |---|---|
        /// | `idle` | was not used for its idle timeout |
        /// | `expired` | reached its active timeout with `on_timeout = "terminate"` or `"terminate_unless_paused"` |
        /// | `requested` | was ended by a client |
        /// | `exited` | had a container that ended by itself; the exit code is kept |
        /// | `oom_killed` | had a container whose main process the kernel killed for memory: exit code 137, and the engine says so |
        /// | `start_failed` | did not start, or was not ready in time |
        /// | `vanished` | had a container that somebody else removed |
        /// | `unresponsive` | missed a heartbeat |
        /// | `orphaned` | was a container of ours without a record, past its time by its labels |
        ///
        reasons;

        /// # Order of an end
        ///
        /// An end has three steps in a fixed order: store the intent, remove the container, replace the record by a
        /// tombstone. A step begins only when the one before it is confirmed. After a crash between two steps, the record
        /// says where to continue. A start that is under way when the end is decided is undone first, since its container
        /// may still appear.
        ///
        order_of_an_end;
    }
}

chapter! {
    /// What resets a clock, and what happens when one runs out.
    ///
    time {
        /// # Activity
        ///
        /// These count as activity: a ping (single, batch, or over the stream), a keep-alive, a create that finds the sandbox
        /// alive, a hold that is taken, renewed or released, and a resume. These do not: reads, lists, streams, health checks, a heartbeat from inside (which proves
        /// life, not use), and a pause or unpause by hand or for a `docker commit`.
        ///
        activity;

        /// # Idle timeout
        ///
        /// A sandbox ends as `idle` when it has not been used for its idle timeout. The clock begins when the container is
        /// ready. Templates and requests can set their own timeout. 0 is refused. No timeout at all is spelled `null` in
        /// JSON and `"none"` in the configuration, and a request can have it only where
        /// `lifecycle.allow_no_idle_timeout` says so.
        ///
        idle_timeout;

        /// # Active timeout
        ///
        /// `expires_at` is set by a create and moved by a keep-alive or a resume. What happens then is the sandbox's
        /// `on_timeout`. With `deactivate`, the default, it stays up, reports `"active": false`, still takes pings and
        /// keep-alives, and ends by the idle rule only. With `terminate` it ends as `expired`, and with `pause` it is
        /// paused. `terminate_unless_paused` is `terminate` with a clock that stands still while the sandbox is paused.
        ///
        active_timeout;

        /// # Deadlines in answers
        ///
        /// `expires_at` and `time_remaining` are about the active timeout, `idle_deadline` and `idle_remaining` about the idle
        /// rule. `terminates_at` is when Sandglass will act by itself, which is the earliest deadline that applies, or
        /// null.
        ///
        deadlines_in_answers;

        /// # Holds
        ///
        /// A hold says that a sandbox is in use until it is released, or until its own end (`ttl`), so that a client that
        /// crashes pins nothing. While a sandbox is held, its idle clock and that of its `paused_timeout` stand still; they
        /// start again when the last hold is over. Taking, renewing and releasing a hold is activity. Holds are written
        /// through and survive a restart. Absolute deadlines act all the same. A sandbox has at most 16 holds.
        ///
        holds;

        /// # Paused
        ///
        /// The idle clock of a paused sandbox stands still. With a `paused_timeout` it ends after being paused for so long.
        /// It owes no heartbeats.
        ///
        paused;

        /// # Heartbeats
        ///
        /// A template may ask for heartbeats from inside the container. A running sandbox that misses one for
        /// `heartbeat_timeout` ends as `unresponsive`. An engine that was away is no reason to miss one.
        ///
        heartbeats;

        /// # Lazy timer
        ///
        /// A ping stores a time and does not touch the timer. The one timer of a sandbox fires at or before its deadline,
        /// looks at the deadline again, and is armed for the rest. Only a deadline that moves closer re-arms it at once.
        /// So a ping costs neither an allocation in the timer nor, usually, a write to the store.
        ///
        lazy_timer;

        /// # One step
        ///
        /// The decision to end a sandbox is one step of its actor. A ping is handled wholly before it, and the sandbox
        /// lives, or wholly after it, and the ping is refused (409 `terminating`, or 410 `gone`). No ping is acknowledged
        /// and then lost, even if its client hangs up.
        ///
        one_step;

        /// # Clocks
        ///
        /// Deadlines in memory are on the monotonic clock. Wall-clock times are for people and for the store. A wall clock
        /// that is set, or a host that sleeps, ends no sandbox. An activity in the future is read as now. One file reads
        /// clocks; everywhere else, time is an argument.
        ///
        clocks;

        /// # Backstop
        ///
        /// A slow sweep compares every actor with its deadline. It drives on what is overdue, brings back an actor that
        /// died, counts both (`sandglass_sweep_rescues_total`, `sandglass_actor_losses_total`) and logs them as errors. In a
        /// healthy build both counters stay 0: what only the sweep notices is a bug.
        ///
        backstop;
    }
}
