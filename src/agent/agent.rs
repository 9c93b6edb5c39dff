use std::{ffi::OsString, path::PathBuf, sync::Arc};

use crate::{files::Files, interpreter::Contexts, metrics::Meter, process::Processes};

/// What an agent is given by the program that it runs in.
#[derive(Debug, Default)]
pub struct Setup {
    /// The environment that commands start from. Their own variables and those of their user are added.
    pub environment: Vec<(OsString, OsString)>,
    /// The user whom requests without one mean: a name, or `UID[:GID]`; empty: the one whom this program runs as.
    pub user: String,
    /// The directory that commands begin in if their request asks for the container's own; `None`: they begin at home.
    pub directory: Option<PathBuf>,
    /// The soft and hard limit of open files of commands; `None` if they are those of this program.
    pub open_files: Option<(u64, u64)>,
    /// Whether the agent waits for all children of this program, also for orphans that it has inherited. Only a program that
    /// starts no children of its own may set this.
    pub reaps_orphans: bool,
}

/// An agent with everything that it runs. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    setup: Arc<Setup>,
    pub(crate) files: Arc<Files>,
    processes: Arc<Processes>,
    contexts: Arc<Contexts>,
    pub(crate) meter: Arc<Meter>,
}

impl Agent {
    /// Makes an agent that runs nothing yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let processes = Processes::new(setup.reaps_orphans);
        Self {
            setup: Arc::new(setup),
            files: Arc::default(),
            processes,
            contexts: Arc::default(),
            meter: Arc::default(),
        }
    }

    /// Ends everything that runs. Only a program that goes on without the agent needs this.
    pub fn end(&self) {
        self.contexts.end();
        self.processes.kill_all();
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    pub(crate) fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }
}
