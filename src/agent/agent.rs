use std::{ffi::OsString, sync::Arc};

use crate::files::Files;

/// What an agent is given by the program that it runs in.
#[derive(Debug, Default)]
pub struct Setup {
    /// The environment that commands start from. Their own variables and those of their user are added.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the agent waits for all children of this program, also for orphans that it has inherited. Only a program that
    /// starts no children of its own may set this.
    pub reaps_orphans: bool,
}

/// An agent with everything that it runs. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    #[expect(dead_code, reason = "processes read it")]
    setup: Arc<Setup>,
    pub(crate) files: Arc<Files>,
}

impl Agent {
    /// Makes an agent that runs nothing yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup: Arc::new(setup), files: Arc::default() }
    }
}
