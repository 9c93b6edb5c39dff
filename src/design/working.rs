//! How people work in sandboxes: a chapter of the design.

chapter! {
    /// How people run commands and move files in a sandbox, and what that does to its life.
    ///
    work {
        /// # Work is use
        ///
        /// People keep sandboxes to run commands and move files. Through Sandglass this is use by itself: nobody has to
        /// ping. A call that is accepted counts before it is answered; one that is refused does not. Bytes of a file that
        /// move count again every second. Reads of what Sandglass knows anyway (lists, logs, load) are no use.
        ///
        use_by_itself;

        /// # The agent
        ///
        /// A static program does the work inside. It is carried in Sandglass's own file, put into a read-only volume per
        /// version that all sandboxes of an engine share, and mounted at `/.sandglass`, so that a sandbox needs nothing of
        /// its image: no shell, no C library, no writable root. A sandbox without the mount gets the agent by an upload at
        /// first use. An agent of another version goes on being spoken to: the protocol only grows. Its volume is removed at
        /// the first create after a start, unless a container uses it. A supervisor that still needs it fills it again.
        ///
        /// It runs as root, so that it can work as any user; who does not ask for one works as the image's. An image whose
        /// user is not root is an exception where the template forbids `privilege_escalation`: root would have no
        /// capabilities there, so the agent runs as the image's user, and refuses to work as another.
        ///
        agent;

        /// # The way in
        ///
        /// The agent is reached through the engine alone: an exec of `agent dial`, whose standard input and output carry
        /// HTTP/2. The first dial starts the agent. So nothing is published, neighbours and users of the host find no port,
        /// and a sandbox without a network, an engine on another machine and an engine without root work alike. One exec is
        /// kept per sandbox in use, and closed a minute after the last use; a sandbox that nobody works in costs nothing.
        /// The agent serves only who comes with its own user id from its own process namespace. An agent that says nothing
        /// is asked for a word, and a connection without an answer is closed within a minute, since an engine on another
        /// machine can vanish silently. Time in which the sandbox is paused does not count.
        ///
        way_in;

        /// # Command holds
        ///
        /// A command holds its sandbox from before it begins until its end is known, at most for `lifecycle.longest_hold`.
        /// The hold is in the record before the command runs, so that a crash forgets none; after a restart, Sandglass asks
        /// the agent for the end of each command that holds. A command that the agent does not know any more is lost, and
        /// holds no longer. Its release is use: the idle clock begins again then.
        ///
        command_holds;

        /// # What survives
        ///
        /// What runs inside goes on when its client hangs up, when Sandglass is restarted, and when it is killed. The end of
        /// its output is kept (a mebibyte of each stream), and who reads on is told how much was dropped. An exit code is
        /// never invented: a command that ended with its sandbox or its agent is `lost`.
        ///
        survival;

        /// # Refusals
        ///
        /// Work is refused in a sandbox that is `inactive` (its active timeout has passed) or `paused`; the latter is
        /// resumed first where its create or its template says `wake`. A sandbox that is on its way out drops all connections at once.
        ///
        refusals;
    }
}
