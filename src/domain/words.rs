//! The public words for what a sandbox is, why it ended, and what resets its clock
//! ([design: lifecycle](crate::design::lifecycle)). Each is spelled the same in records, answers, metrics and logs.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have one fixed spelling everywhere.
/// A word is a `tt`: as a `literal` it would be hidden from the derives, which then take the variant's name.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $rule:literal { $($(#[$doc:meta])* $variant:ident = $word:tt,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// What error messages say about the values that are taken.
            pub const RULE: &'static str = $rule;

            /// The word for this value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value that `word` stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Where a sandbox is in its life: the seven persisted and public names.
    Status, "one of pending, running, paused, failed, succeeded, terminating, terminated" {
        /// Recorded, its container is being made.
        Pending = "pending",
        /// Its container runs.
        Running = "running",
        /// Its container is frozen, and its idle clock stands still.
        Paused = "paused",
        /// It did not start, or its container ended badly.
        Failed = "failed",
        /// Its container ended by itself with exit code 0.
        Succeeded = "succeeded",
        /// On its way out: the intent is recorded, the removal is tried until it is done.
        Terminating = "terminating",
        /// Gone.
        Terminated = "terminated",
    }
}

words! {
    /// Why a sandbox ended: recorded, logged, counted, and kept on the tombstone.
    EndReason, "one of idle, expired, requested, exited, oom_killed, start_failed, vanished, unresponsive, orphaned" {
        /// Nobody used it for its idle timeout.
        Idle = "idle",
        /// Its active timeout passed, and its rule is `terminate`.
        Expired = "expired",
        /// Somebody asked for it.
        Requested = "requested",
        /// Its container ended by itself; the exit code says how.
        Exited = "exited",
        /// The kernel killed it for memory.
        OomKilled = "oom_killed",
        /// Its container could not be started or did not become ready.
        StartFailed = "start_failed",
        /// Its container is gone, and Sandglass did not remove it.
        Vanished = "vanished",
        /// It owed a heartbeat and did not send it in time.
        Unresponsive = "unresponsive",
        /// A container of ours without a sandbox.
        Orphaned = "orphaned",
    }
}

words! {
    /// What happens when the active timeout passes.
    OnTimeout, "one of deactivate, terminate, pause" {
        /// It stays up and reports itself inactive; only the idle rule removes it.
        Deactivate = "deactivate",
        /// It is terminated.
        Terminate = "terminate",
        /// It is paused.
        Pause = "pause",
    }
}

words! {
    /// What counts as use and resets the idle clock.
    ActivitySource, "one of create, ping, batch, keep_alive, reuse, resume, stream, hold" {
        /// It was created or became ready.
        Create = "create",
        /// A ping over HTTP.
        Ping = "ping",
        /// A ping among many in one request.
        Batch = "batch",
        /// The active timeout was moved.
        KeepAlive = "keep_alive",
        /// A create found it alive.
        Reuse = "reuse",
        /// It was resumed.
        Resume = "resume",
        /// A ping over the status stream.
        Stream = "stream",
        /// A hold was taken, renewed or released.
        Hold = "hold",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for status in Status::ALL {
            assert_eq!(Status::from_word(status.as_str()), Some(*status));
            assert_eq!(serde_json::to_string(status).unwrap(), format!("\"{status}\""));
        }
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_word(reason.as_str()), Some(*reason));
            assert!(EndReason::RULE.contains(reason.as_str()));
        }
        for source in ActivitySource::ALL {
            assert!(ActivitySource::RULE.contains(source.as_str()));
        }
    }
}
