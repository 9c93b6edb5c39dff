//! How a process has ended.

use nix::sys::signal::Signal;
use rustix::process::WaitStatus;
use serde::Serialize;

/// How a process has ended, as the stream tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct End {
    /// -1 if it did not exit by itself.
    exit_code: i32,
    exited: bool,
    /// In the words of E2B's clients: `exit status 1`, `signal: killed`.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The signal that ended it. Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    /// Whether its time was up. Our addition.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timed_out: bool,
}

impl End {
    /// `None` if the status is not known.
    pub(super) fn of(status: Option<WaitStatus>, timed_out: bool) -> Self {
        let told = |exit_code, exited, status: String, signal| {
            let error = (exit_code != 0).then(|| status.clone());
            Self { exit_code, exited, status, error, signal, timed_out }
        };
        let (code, signal) = status.map_or((None, None), |status| (status.exit_status(), status.terminating_signal()));
        if let Some(code) = code {
            told(code, true, format!("exit status {code}"), None)
        } else if let Some(signal) = signal {
            let dumped = if status.is_some_and(dumped) { " (core dumped)" } else { "" };
            told(-1, false, format!("signal: {}{dumped}", words(signal)), Some(signal))
        } else {
            let unknown = "the exit status is not known: somebody else has waited for the process";
            told(-1, false, unknown.to_owned(), None)
        }
    }
}

/// Whether its memory was written to a file: `WCOREDUMP` of wait(2).
fn dumped(status: WaitStatus) -> bool {
    status.as_raw() & 0x80 != 0
}

/// What a signal is called in Go, whose words E2B's clients know.
fn words(number: i32) -> String {
    // Real-time signals have no name.
    let Ok(signal) = Signal::try_from(number) else { return format!("signal {number}") };
    let words = match signal {
        Signal::SIGHUP => "hangup",
        Signal::SIGINT => "interrupt",
        Signal::SIGQUIT => "quit",
        Signal::SIGILL => "illegal instruction",
        Signal::SIGTRAP => "trace/breakpoint trap",
        Signal::SIGABRT => "aborted",
        Signal::SIGBUS => "bus error",
        Signal::SIGFPE => "floating point exception",
        Signal::SIGKILL => "killed",
        Signal::SIGUSR1 => "user defined signal 1",
        Signal::SIGSEGV => "segmentation fault",
        Signal::SIGUSR2 => "user defined signal 2",
        Signal::SIGPIPE => "broken pipe",
        Signal::SIGALRM => "alarm clock",
        Signal::SIGTERM => "terminated",
        _ => return format!("signal {number}"),
    };
    words.to_owned()
}
