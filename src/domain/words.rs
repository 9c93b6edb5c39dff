//! The public words for a sandbox's status, the reason of its end, and its activity (see
//! [design: lifecycle](crate::design::lifecycle)). Each has the same spelling in records, answers, metrics and logs.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants each have one spelling. A word is a `tt`, since derives cannot see into a `literal`.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $rule:literal { $($(#[$doc:meta])* $variant:ident = $word:tt,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The accepted words, for error messages.
            pub const RULE: &'static str = $rule;

            /// The word for this value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of `word`.
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
    /// The status of a sandbox.
    Status, "one of pending, running, paused, failed, succeeded, terminating, terminated" {
        /// It is recorded, and its container is being started.
        Pending = "pending",
        /// Its container runs.
        Running = "running",
        /// Its container is frozen, and its idle clock stands still.
        Paused = "paused",
        /// It did not start, or its container exited with another code than 0.
        Failed = "failed",
        /// Its container exited with code 0.
        Succeeded = "succeeded",
        /// Its end is recorded, and its container is being removed.
        Terminating = "terminating",
        /// Its container is removed.
        Terminated = "terminated",
    }
}

words! {
    /// Why a sandbox ended.
    EndReason, "one of idle, expired, requested, exited, oom_killed, start_failed, vanished, unresponsive, orphaned" {
        /// It was not used for its idle timeout.
        Idle = "idle",
        /// It reached its active timeout, with [`OnTimeout::Terminate`] or
        /// [`OnTimeout::TerminateUnlessPaused`].
        Expired = "expired",
        /// A client ended it.
        Requested = "requested",
        /// Its container ended by itself; the exit code says how.
        Exited = "exited",
        /// The kernel killed its main process for memory.
        OomKilled = "oom_killed",
        /// Its container could not be started or did not become ready.
        StartFailed = "start_failed",
        /// Somebody else removed its container.
        Vanished = "vanished",
        /// It missed a heartbeat.
        Unresponsive = "unresponsive",
        /// Its container had no record.
        Orphaned = "orphaned",
    }
}

words! {
    /// What happens when the active timeout passes.
    OnTimeout, "one of deactivate, terminate, terminate_unless_paused, pause" {
        /// It stays up and reports itself inactive; only the idle timeout ends it.
        Deactivate = "deactivate",
        /// It is terminated.
        Terminate = "terminate",
        /// It is terminated. While it is paused, its active timeout stands still.
        TerminateUnlessPaused = "terminate_unless_paused",
        /// It is paused.
        Pause = "pause",
    }
}

words! {
    /// What counts as activity and resets the idle clock.
    ActivitySource, "one of create, ping, batch, keep_alive, reuse, resume, stream, hold, command, file, traffic, snapshot" {
        /// It was created or became ready.
        Create = "create",
        /// A ping over HTTP.
        Ping = "ping",
        /// A ping among many in one request.
        Batch = "batch",
        /// A keep-alive moved the active timeout.
        KeepAlive = "keep_alive",
        /// A create found it alive.
        Reuse = "reuse",
        /// It was resumed.
        Resume = "resume",
        /// A ping over the status stream.
        Stream = "stream",
        /// A hold was taken, renewed or released.
        Hold = "hold",
        /// A command was run in it or read from, or ended.
        Command = "command",
        /// Files were read or written in it.
        File = "file",
        /// A request to one of its ports, or bytes that move there.
        Traffic = "traffic",
        /// A snapshot of its files was taken.
        Snapshot = "snapshot",
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
