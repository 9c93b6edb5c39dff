//! What drills are done with, and how much of everything.

use std::path::PathBuf;

/// What the drills run on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program to start, with `serve`.
    pub program: PathBuf,
    /// The image of the containers; it has to have `sleep` and `sh`.
    pub image: String,
    /// Docker's address, as `docker.host` has it.
    pub docker_host: String,
    /// The Redis whose keys under a prefix of the drills' own may be written; `None`: an embedded file, and what is about
    /// Redis is left out.
    pub redis_url: Option<String>,
    /// How much of everything.
    pub pace: Pace,
}

/// How much of everything a drill does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many rounds as the promise is tested with, outages of a minute.
    Full,
    /// A tenth of both.
    Quick,
}

/// What a drill cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Docker, and one store or the other.
    Docker,
    /// A Redis too.
    Redis,
    /// Nothing outside of the program.
    Nothing,
}
