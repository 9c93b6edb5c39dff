//! Writes logs to the standard error stream, filtered by level, as text for people or JSON for machines.
//!
//! A failing log loses lines and delays nothing (see [design: logs](crate::design::security::logs)). A separate thread
//! writes the lines, so a stuck reader blocks no other thread, and lines that cannot be written are dropped.

use std::{
    fmt,
    io::{self, IsTerminal, Write, stderr},
    panic::PanicHookInfo,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, util::TryInitError};

use crate::config::{Level, LogFormat, LogSettings};

/// How many lines may wait for the standard error stream; more are dropped.
const QUEUE: usize = 8192;

/// How often [`flush`] looks for room in a full queue.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level breaks [`Level::RULE`].
    #[error("failed to set up the logs: the level {rule}: {0}", rule = Level::RULE)]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Logs are set up already; the first setup stays.
    #[error("failed to set up the logs: {0}")]
    AlreadySet(#[from] TryInitError),
}

/// Sends the logs of this process to the standard error stream.
///
/// # Errors
/// [`LoggingError`]; the process can continue without logs, or with the earlier setup.
pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(directives(&settings.level))?)
        .with_writer(|| Lines)
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    match settings.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// Logs panics like anything else from here on.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let payload = panic.payload();
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map(ToString::to_string);
        let thread = thread::current().name().map(str::to_owned);
        tracing::error!(panic = words, place, thread, "a bug in Sandglass: something panicked");
    }));
}

/// Prints to the standard error stream beside the logs. Like them, it is dropped if it cannot be written.
pub fn say(words: fmt::Arguments<'_>) {
    OUTLET.send(format!("{words}\n").into_bytes());
}

/// Waits until all lines so far are written, but at most `within`, so that a stuck reader cannot block the process's end.
pub fn flush(within: Duration) {
    let (done, written) = sync_channel(1);
    let mut message = Message::Flush(done);
    let mut left = within;
    while let Err(TrySendError::Full(back)) = OUTLET.queue.try_send(message) {
        if left.is_zero() {
            return;
        }
        thread::sleep(ASK_EVERY);
        left = left.saturating_sub(ASK_EVERY);
        message = back;
    }
    let _ = written.recv_timeout(left);
}

/// A level alone applies to Sandglass; libraries log only warnings then.
fn directives(level: &str) -> String {
    let alone = level.bytes().all(|byte| byte.is_ascii_alphabetic());
    if alone && !level.eq_ignore_ascii_case("off") { format!("warn,sandglass={level}") } else { level.to_owned() }
}

enum Message {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Sends lines to the writing thread.
struct Outlet {
    queue: SyncSender<Message>,
    dropped: AtomicU64,
}

static OUTLET: LazyLock<Outlet> = LazyLock::new(|| {
    let (queue, lines) = sync_channel(QUEUE);
    // Without the thread there is no receiver, and everything is dropped.
    let _ = thread::Builder::new().name("sandglass-log".to_owned()).spawn(move || write_lines(&lines));
    Outlet { queue, dropped: AtomicU64::new(0) }
});

impl Outlet {
    fn send(&self, line: Vec<u8>) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<Message>) {
    for message in lines {
        match message {
            Message::Line(line) => {
                let dropped = OUTLET.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    let _ = writeln!(
                        stderr(),
                        "sandglass: {dropped} lines of the log were dropped, since nobody read them"
                    );
                }
                let _ = stderr().write_all(&line);
            }
            Message::Flush(done) => _ = done.send(()),
        }
    }
}

/// The logs' destination: each write is a whole line, and none fails.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        OUTLET.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_setup_is_an_error_and_not_a_panic() {
        let settings = LogSettings { level: "info".into(), format: LogFormat::Json };
        let _ = init(&settings);
        assert!(matches!(init(&settings), Err(LoggingError::AlreadySet(_))));
        assert!(matches!(init(&LogSettings { level: "a=b=c".into(), ..settings }), Err(LoggingError::Level(_))));
    }
}
