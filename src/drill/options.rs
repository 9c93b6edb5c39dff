//! What drills run on, and for how long.

use std::path::PathBuf;

/// What drills run on, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program to start, with `serve`.
    pub program: PathBuf,
    /// The image of the containers, which needs `sleep` and `sh`.
    pub image: String,
    /// Docker's address, as `docker.host` has it.
    pub docker_host: String,
    /// The Redis to write to, under prefixes of the drills' own. Without one, records go to a file, and the drills of Redis
    /// are left out.
    pub redis_url: Option<String>,
    /// How many rounds, and how long outages take.
    pub pace: Pace,
}

/// How many rounds a drill does, and how long outages take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All rounds, with outages of a minute.
    Full,
    /// A tenth of both.
    Quick,
}

/// What a drill needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Docker,
    /// Docker and Redis.
    Redis,
    /// Nothing outside this process.
    Nothing,
}
