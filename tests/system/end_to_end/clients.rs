//! Clients of the command line, on a real pseudo-terminal or on pipes.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

use crate::support::program::{Program, command};

/// How long a busy machine may take.
const SOON: Duration = Duration::from_secs(30);

/// What a test itself writes to a terminal that a client has left.
const AFTER: &str = "<the client has ended>";

/// What a process has written so far, read on a thread of its own.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(super) fn of(mut reader: impl Read + Send + 'static) -> Self {
        let written = Self::default();
        let kept = written.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more is an error, and the end as well.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                kept.0.lock().expect("no panic").extend_from_slice(&buffer[..length]);
            }
        });
        written
    }

    /// All of it, once its writer has ended.
    pub(super) async fn whole(&self) -> String {
        let deadline = Instant::now() + SOON;
        // The thread that reads has the other one.
        while Arc::strong_count(&self.0) > 1 {
            assert!(Instant::now() < deadline, "its writer has not ended: {:?}", self.text());
            sleep(Duration::from_millis(5)).await;
        }
        self.text()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

/// A client of a supervisor.
pub(super) struct Client {
    pub(super) child: Child,
    pub(super) out: Written,
    /// Where to look for what comes next.
    pub(super) seen: usize,
}

impl Client {
    /// Waits until it has written this, after what was waited for before.
    pub(super) async fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let all = self.out.text();
            if let Some(at) = all.get(self.seen..).and_then(|rest| rest.find(text)) {
                self.seen += at + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} after {} in {all:?}", self.seen);
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a number of a process");
        kill(Pid::from_raw(pid), signal).expect("it is told");
    }

    pub(super) async fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.out.text());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client on a terminal.
pub(super) struct Terminal {
    pub(super) client: Client,
    keyboard: File,
    /// The side of the client, whose mode it changes.
    tty: OwnedFd,
    pub(super) before: Termios,
}

impl Terminal {
    pub(super) fn open(program: &Program, arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pair.slave).expect("its mode");
        let side = || Stdio::from(pair.slave.try_clone().expect("a copy"));
        // It leads a session, and this is its terminal: it is told of a resize. `setsid` becomes what it starts.
        let inner = command(arguments);
        let mut outer = Command::new("setsid");
        outer.arg("--ctty").arg(inner.get_program()).args(inner.get_args()).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.envs([("SANDGLASS_URL", program.url()), ("TERM", "xterm"), ("PATH", "/usr/bin:/bin")]);
        let child = outer.stdin(side()).stdout(side()).stderr(side()).spawn().expect("it starts");
        let out = Written::of(File::from(pair.master.try_clone().expect("a copy")));
        let client = Client { child, out, seen: 0 };
        Self { client, keyboard: File::from(pair.master), tty: pair.slave, before }
    }

    pub(super) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("it is typed");
    }

    pub(super) fn resize(&self, cols: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keyboard, size).expect("it is resized");
    }

    pub(super) fn mode(&self) -> Termios {
        tcgetattr(&self.tty).expect("its mode")
    }

    /// Waits for its end, after which the terminal is as it was. Returns the exit code.
    pub(super) async fn ends(mut self) -> (Option<i32>, String) {
        let status = self.client.ends().await;
        assert_eq!(self.mode(), self.before, "the mode of the terminal");
        // Its last words may not have been read yet, and come before these. To wait for the end would not do: a process that
        // was started meanwhile may have inherited the terminal.
        let text = match File::from(self.tty).write_all(AFTER.as_bytes()) {
            Ok(()) => {
                self.client.shows(AFTER).await;
                self.client.out.text()
            }
            // It has been hung up.
            Err(_) => self.client.out.whole().await,
        };
        (status.code(), text.replace(AFTER, ""))
    }
}

/// A client without a terminal.
pub(super) fn piped(program: &Program, arguments: &[&str]) -> (Client, Written) {
    let mut command = command(arguments);
    command.env("SANDGLASS_URL", program.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let out = Written::of(child.stdout.take().expect("a pipe"));
    let errors = Written::of(child.stderr.take().expect("a pipe"));
    (Client { child, out, seen: 0 }, errors)
}
