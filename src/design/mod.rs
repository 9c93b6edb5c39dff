//! The design: what Sandglass promises and the rules that follow from it.
//!
//! There is one chapter per subject and one empty module per rule, so that comments can link to a rule and `cargo doc` checks
//! the link: `[design: lazy timer](crate::design::time::lazy_timer)`. The map of the code is the [front page](crate), and
//! the manual of the settings is `config/default.toml`.
//!
//! # Two promises
//!
//! Everything else serves these two, and every test argues about one of them:
//!
//! - **Never early.** An acknowledged ping keeps its sandbox alive for the whole idle timeout: across races, a crash of the
//!   supervisor, a restart of Redis or Docker, a wall clock that is set, and a host that sleeps.
//! - **Never forgotten.** Every container that Sandglass started either runs because its sandbox is alive, or is being
//!   removed. A removal that fails is retried until it succeeds.
//!
//! # The reference system
//!
//! Comments mention a *reference system*. It is the executor manager of Wegent, whose Redis records and containers Sandglass
//! takes over in place. Where a name or a layout seems arbitrary (`P-session:{id}`, `__sandbox__`, `shell_type`), it is
//! that system's.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | sandbox | one container with an id, a lifecycle and deadlines; what a user creates, pings and ends |
//! | activity | what proves use and resets the idle clock; a *ping* is activity sent by a client |
//! | idle deadline | `last_activity_at + idle_timeout` |
//! | active timeout | an absolute deadline, `expires_at`, which only a keep-alive or a resume moves |
//! | template | a named preset in the configuration: image, command, ports, limits, readiness, timeouts |
//! | agent | the program inside a sandbox that runs commands and moves files for Sandglass |
//! | engine | the container engine: Docker, or one in memory for tests |
//! | store | where records are kept: Redis, an embedded file, or memory for tests |
//! | journal | the only writer to the store |
//! | feed | the ordered history of changes, which the status stream reads |
//! | lease | proof that one process alone supervises a prefix |
//! | tombstone | what stays readable of a sandbox after its end, for `lifecycle.retention` |
//! | restore, adopt | bring a sandbox back from its record, or from its container's labels |
//! | lateness | when a deadline's action began, minus the deadline |

/// Declares a chapter: a module whose page has the text of all its rules, with an empty module for each rule to link to.
macro_rules! chapter {
    ($(#[$introduction:meta])* $chapter:ident { $($(#[$text:meta])* $rule:ident;)* }) => {
        $(#[$introduction])*
        $($(#[$text])*)*
        pub mod $chapter {
            $($(#[$text])* pub mod $rule {})*
        }
    };
}

mod clients;
mod containers;
mod life;
mod reach;
mod storage;
mod working;

pub use clients::{e2b, figures, interface, security, stream};
pub use containers::engine;
pub use life::{lifecycle, time};
pub use reach::walls;
pub use storage::{persistence, restart};
pub use working::work;
