//! How sandboxes are remembered: chapters of the design.

chapter! {
    /// How sandboxes are remembered.
    ///
    persistence {
        /// # Journal
        ///
        /// Transitions are written through: a caller is answered once the store has them. Activity is written behind: only
        /// the latest time per sandbox, once per `store.flush_interval`. Both go through one writer, so that an older record
        /// never overwrites a newer one, and writes that wait at the same moment share one round trip. The store's work
        /// grows with the number of sandboxes that are pinged per interval, not with the number of pings.
        ///
        journal;

        /// # Slack
        ///
        /// A ping is acknowledged before it is stored only if the stored activity is at most one flush interval older. A ping
        /// after a longer silence waits for its write, together with all others that wait. Each record carries the
        /// interval it was written with (`flush_interval`), and after an unclean stop the next start adds it to the idle
        /// deadline. So an unclean stop makes an end late by at most that interval, and never early. Until somebody uses
        /// the sandbox, its record carries what was added (`idle_slack`) over further stops, of which a clean one adds
        /// nothing; it does not add up. A clean stop writes the records that lack it.
        ///
        slack;

        /// # Redis layout
        ///
        /// Under the prefix `P`, the hash `P-session:{id}` has the record in its field `__sandbox__`; other fields belong to
        /// others. `P:active` is a sorted set of the living ids by last activity. All other keys begin with `P:`. The
        /// hash of a living sandbox does not expire; a tombstone leaves `P:active` and expires after
        /// `lifecycle.retention`. With `P = wegent-sandbox` this is the reference system's own layout.
        ///
        redis_layout;

        /// # Record
        ///
        /// A record is JSON with the reference system's field names and Sandglass' own beside them. Times are epoch seconds.
        /// Unknown fields survive a rewrite byte for byte. A record that does not parse, or has a value of a wrong type, is
        /// put into quarantine with its bytes and the reason, and its container lives on by its labels.
        ///
        record;

        /// # Embedded store
        ///
        /// Without a setting, records are in one crash-safe file, with no server to run. All stores pass one suite of
        /// contract tests.
        ///
        embedded_store;

        /// # Lease
        ///
        /// One process at a time supervises a prefix. It holds a lease in the store, renews it at a third of its time to
        /// live, and every write is fenced by it. A process that loses the lease stops writing, starting and ending at once. A
        /// second process says who holds it and exits with code 3, or waits (`--standby`) and takes over when the holder
        /// stops or dies.
        ///
        lease;

        /// # One supervisor per engine
        ///
        /// Two supervisors with different stores must not see each other's containers as left over. On one host they exclude
        /// each other by an abstract Unix socket that is named after the engine's id and the prefix, and depends on no
        /// directory. It reaches as far as a network namespace. Beyond it, a container's labels say which store made it, and
        /// within which reach:
        ///
        /// | a container without a record, made | becomes |
        /// |---|---|
        /// | with this store, or by a version that wrote no such label | adopted, or removed if it is past its time |
        /// | with another store, within this socket's reach | the same: nobody else is in charge here, so that store is lost |
        /// | with another store, elsewhere | left alone, logged once, counted in `sandglass_foreign_containers` |
        ///
        /// The reach is the machine's id, the host's name and the network namespace. It survives a reboot, unless a new kernel
        /// numbers namespaces differently. Each start of Sandglass in a container has another one. That matters only
        /// if the store is lost as well, so such a Sandglass should keep its store on a volume or in Redis.
        ///
        one_per_engine;

        /// # Store outage
        ///
        /// While the store is down, pings and deadlines go on in memory, and reads work. A create is refused with 503
        /// `store_unavailable`, since nothing is started that cannot be recorded. A sandbox that is due waits, because its
        /// intent is stored before its container is removed: it ends late, never early, and never twice. The journal keeps
        /// the latest state of each sandbox and retries with backoff. A crash during an outage is the only event that can
        /// lose acknowledged pings.
        ///
        outage;

        /// # Lost data
        ///
        /// Data that the store has lost is noticed and written again from memory: all of it, or one evicted record (found
        /// within `docker.reconcile_interval`). A Redis whose `maxmemory-policy` can evict keys is reported in the log and in
        /// `/readyz`. When a server answers that it is read-only, Sandglass connects anew, which reaches the new primary after
        /// a fail-over behind one address.
        ///
        lost_data;
    }
}

chapter! {
    /// What a start does with what it finds.
    ///
    restart {
        /// # Reading everything back
        ///
        /// A start pages through the active set, reads the records in pipelines and starts one actor each. A failed read is
        /// retried and never taken for an empty set or a missing record. Requests are served when everything is back.
        ///
        reading;

        /// # Grace
        ///
        /// No client could ping while Sandglass was away, so nothing ends before `lifecycle.restart_grace` has passed; after
        /// a clean stop, the time that Sandglass was away is enough if that is shorter. Each run notes in the store
        /// how much of the grace it has used up, so a process that is killed again and again keeps nothing alive for
        /// ever.
        ///
        grace;

        /// # Records
        ///
        /// | found | outcome |
        /// |---|---|
        /// | a complete record | an actor with the time that remains |
        /// | **legacy**: no `idle_timeout`, and no `expires_at` or no `last_activity_at` | its activity is the set's score, else `started_at`, else `created_at`; its idle timeout is `lifecycle.legacy_ttl`; the record is completed and saved. It is neither skipped nor immortal |
        /// | no `status` | `running` if it has a `base_url`, else `pending` |
        /// | `pending` with `metadata.paused` | `paused`: the reference system's spelling |
        /// | `pending` | a container that runs is adopted; otherwise it is removed and the sandbox has failed |
        /// | `terminating` | its end goes on |
        /// | a record that cannot be understood | quarantine; its container is adopted by its labels, with at least the legacy timeout |
        /// | a member of the set without a record | its container is adopted by its labels; the member is removed only after the engine answered that there is no container |
        ///
        records;
    }
}
