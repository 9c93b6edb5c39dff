//! Runs one cell and tells what it does.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use rustix::process::WaitStatus;
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until, timeout},
};

use super::{
    context::{Context, Turn, Wishes},
    language::{Cell, Language},
    pump::Event,
    told::{self, Decoder},
};
use crate::{agent::Agent, body::BodyError};

/// After how long without a line a client is told that the cell still runs or waits. As in E2B.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long a cell may take to end after it was interrupted, before its process is killed.
const GRACE: Duration = Duration::from_secs(3);

/// How long a part of a line of errors waits for the rest. Programs write errors in many small parts.
const PART: Duration = Duration::from_millis(20);

/// After how long a cell is interrupted again. It may have missed the last one: a driver that has not begun with the code pays
/// no heed to it, and one that is starting a command may ignore it while the command is not there yet. In between, the cell can
/// clean up.
const AGAIN: Duration = Duration::from_secs(1);

/// What the next cell is told after that.
const KILLED: &str = "The context was restarted before this cell, and its variables are gone: the client of an earlier cell has \
                      hung up, and that cell did not end when it was interrupted.\n";

/// Where an answer goes.
pub(super) type Sender = mpsc::Sender<Result<Bytes, BodyError>>;

/// Runs a cell when its turn has come. The answer is whole when this returns, unless the client has hung up.
pub(super) async fn run(agent: Agent, context: Arc<Context>, cell: Cell, sender: Sender) {
    let mut client = Client { sender, last: Instant::now() };
    for line in run_for(&agent, &context, &cell, &mut client).await {
        client.send(line).await;
    }
    client.send(told::end()).await;
}

/// Runs a cell, and returns its last lines instead of sending them: the next cell need not wait until the client has read
/// them.
async fn run_for(agent: &Agent, context: &Context, cell: &Cell, client: &mut Client) -> VecDeque<Bytes> {
    let sender = client.sender.clone();
    let mut turn = tokio::select! {
        turn = client.kept_alive(context.turn.lock()) => turn,
        () = sender.closed() => return VecDeque::new(),
    };
    if context.wishes.borrow().removed {
        return [removed(context)].into();
    }
    // A start that is begun goes on, also for a client that hangs up.
    let started = client.kept_alive(context.start(agent, &mut turn)).await;
    let told = match started {
        Ok(child) => {
            child.cells += 1;
            client.send(told::begin(child.cells)).await;
            child.run(cell).await
        }
        Err(why) => return [told::error("ContextNotStarted", &why, &why)].into(),
    };
    if let Some(note) = turn.note.take() {
        client.send(told::output("stderr", &note)).await;
    }
    follow(context, &mut turn, told, client).await
}

/// Sends what a cell tells until it has ended, and returns its last lines.
async fn follow(
    context: &Context,
    turn: &mut Turn,
    mut told: mpsc::Receiver<Event>,
    client: &mut Client,
) -> VecDeque<Bytes> {
    let mut wishes = context.wishes.subscribe();
    let sender = client.sender.clone();
    let mut writer = Writer::new(context.language);
    let mut has_begun = false;
    let mut lines: VecDeque<Bytes> = VecDeque::new();
    loop {
        let event = tokio::select! {
            biased;
            () = sender.closed() => {
                interrupt(turn, told, has_begun).await;
                return lines;
            }
            is_removed = async { wishes.wait_for(Wishes::is_due).await.is_ok_and(|due| due.removed) } => {
                turn.child = None;
                context.tell_ended();
                lines.push_back(if is_removed { removed(context) } else { restarting() });
                return lines;
            }
            permit = sender.reserve(), if !lines.is_empty() => {
                if let (Ok(permit), Some(line)) = (permit, lines.pop_front()) {
                    permit.send(Ok(line));
                    client.last = Instant::now();
                }
                continue;
            }
            event = told.recv(), if lines.is_empty() => event,
            () = sleep_until(writer.due), if !writer.part.is_empty() => {
                lines.extend(writer.rest_of_line());
                continue;
            }
            () = sleep_until(client.last + KEEPALIVE), if lines.is_empty() => {
                lines.push_back(told::keepalive());
                continue;
            }
        };
        match event {
            Some(Event::Begun) => has_begun = true,
            Some(Event::Output(stream, bytes)) => lines.extend(writer.output(stream, &bytes)),
            Some(Event::Object(object)) => {
                lines.extend(writer.rest_of_line());
                lines.push_back(object);
            }
            Some(Event::Done(status)) => {
                lines.extend(writer.finish(status));
                turn.child.iter().for_each(super::child::Child::leave);
                return lines;
            }
            Some(Event::Ended(status)) => {
                lines.extend(writer.finish(0));
                lines.push_back(unexpected(status));
                turn.child = None;
                return lines;
            }
            Some(Event::Ready(_)) => {}
            None => {
                lines.push_back(unexpected(None));
                turn.child = None;
                return lines;
            }
        }
    }
}

/// Ends a cell whose client has hung up: as Ctrl-C does, and if that does not help, with its process.
async fn interrupt(turn: &mut Turn, mut told: mpsc::Receiver<Event>, mut has_begun: bool) {
    let Some(child) = &turn.child else { return };
    let ends = async {
        // Before, there is nothing that an interrupt could end.
        while !has_begun {
            match told.recv().await {
                Some(Event::Begun) => has_begun = true,
                Some(Event::Done(_)) => return true,
                Some(Event::Ended(_)) | None => return false,
                Some(_) => {}
            }
        }
        let mut again = interval(AGAIN);
        loop {
            let event = tokio::select! {
                _ = again.tick() => {
                    child.interrupt();
                    continue;
                }
                event = told.recv() => event,
            };
            match event {
                Some(Event::Done(_)) => return true,
                Some(Event::Ended(_)) | None => return false,
                Some(_) => {}
            }
        }
    };
    if timeout(GRACE, ends).await.unwrap_or(false) {
        child.leave();
    } else {
        turn.child = None;
        turn.note = Some(KILLED.to_owned());
    }
}

fn removed(context: &Context) -> Bytes {
    told::error("ContextRemoved", &format!("Context {} was removed", context.id), "")
}

fn restarting() -> Bytes {
    told::error("ContextRestarting", "Context was restarted, and its variables are gone", "")
}

/// The process of a cell has ended.
fn unexpected(status: Option<WaitStatus>) -> Bytes {
    let how = match status.map(|status| (status.exit_status(), status.terminating_signal())) {
        Some((Some(code), _)) => format!("its process has ended with exit status {code}"),
        Some((_, Some(9))) => "its process was killed (signal 9), perhaps for want of memory".to_owned(),
        Some((_, Some(signal))) => format!("its process was ended by signal {signal}"),
        _ => "its process has ended, or can no longer be understood".to_owned(),
    };
    told::error(
        "UnexpectedEndOfExecution",
        &format!("{how}; the next cell starts a new one, without its variables"),
        "",
    )
}

/// The client that reads an answer.
struct Client {
    sender: Sender,
    /// When it was sent something.
    last: Instant,
}

impl Client {
    /// Sends a line. Waits while the client reads slowly; one that has hung up is noticed elsewhere.
    async fn send(&mut self, line: Bytes) {
        _ = self.sender.send(Ok(line)).await;
        self.last = Instant::now();
    }

    /// Waits for something and tells the client so.
    async fn kept_alive<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(self.last + KEEPALIVE) => {
                    // One that has not read the last lines needs no more.
                    _ = self.sender.try_send(Ok(told::keepalive()));
                    self.last = Instant::now();
                }
            }
        }
    }
}

/// Makes lines of what a cell writes.
struct Writer {
    language: Language,
    stdout: Decoder,
    stderr: Decoder,
    /// The beginning of a line of errors, and until when it waits for the rest.
    part: String,
    due: Instant,
}

impl Writer {
    fn new(language: Language) -> Self {
        let (stdout, stderr) = (Decoder::default(), Decoder::default());
        Self { language, stdout, stderr, part: String::new(), due: Instant::now() }
    }

    fn output(&mut self, stream: &'static str, bytes: &[u8]) -> Vec<Bytes> {
        if stream == "stdout" {
            let text = self.stdout.decode(bytes);
            let told = (!text.is_empty()).then(|| told::output(stream, &text));
            return self.rest_of_line().into_iter().chain(told).collect();
        }
        if self.part.is_empty() {
            self.due = Instant::now() + PART;
        }
        self.part.push_str(&self.stderr.decode(bytes));
        let is_whole = self.part.ends_with('\n') || self.part.len() > told::PIECE;
        if is_whole { self.rest_of_line().into_iter().collect() } else { Vec::new() }
    }

    /// The line of errors that waits.
    fn rest_of_line(&mut self) -> Option<Bytes> {
        let part = std::mem::take(&mut self.part);
        (!part.is_empty()).then(|| told::output("stderr", &part))
    }

    /// The last lines of a cell that has ended, with its failure where only the status tells it.
    fn finish(&mut self, status: i32) -> Vec<Bytes> {
        let left = self.stderr.finish();
        self.part.push_str(&left);
        let mut lines: Vec<_> = self.rest_of_line().into_iter().collect();
        let left = self.stdout.finish();
        lines.extend((!left.is_empty()).then(|| told::output("stdout", &left)));
        if self.language == Language::Bash && status != 0 {
            let told = format!("the cell has ended with exit status {status}");
            lines.push(told::error("ExitStatus", &status.to_string(), &told));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: impl IntoIterator<Item = Bytes>) -> Vec<String> {
        let text = |line: Bytes| serde_json::from_slice::<serde_json::Value>(&line).unwrap()["text"].to_string();
        lines.into_iter().map(text).collect()
    }

    #[test]
    fn a_line_of_errors_in_parts_is_one_object() {
        let mut writer = Writer::new(Language::Bash);
        assert!(writer.output("stderr", b"sudo").is_empty() && writer.output("stderr", b": ").is_empty());
        assert_eq!(texts(writer.output("stderr", b"no\n")), [r#""sudo: no\n""#]);
        assert!(writer.output("stderr", b"part").is_empty());
        assert_eq!(texts(writer.output("stdout", b"out")), [r#""part""#, r#""out""#]);
        assert!(writer.output("stderr", b"last \xe2").is_empty());
        assert_eq!(texts(writer.finish(0)), ["\"last \u{fffd}\""]);
    }
}
