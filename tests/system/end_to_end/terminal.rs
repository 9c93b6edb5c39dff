//! The command line's clients in front of a person: on a real pseudo-terminal, and interrupted without one.

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
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{directory, on_a_file};
use crate::support::{
    docker::Corner,
    program::{Program, command},
};

/// How long a busy machine may take.
const SOON: Duration = Duration::from_secs(30);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// What a process has written so far, read on a thread of its own.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn of(mut reader: impl Read + Send + 'static) -> Self {
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

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

/// A client of a supervisor.
struct Client {
    child: Child,
    out: Written,
    /// Where to look for what comes next.
    seen: usize,
}

impl Client {
    /// Waits until it has written this, after what was waited for before.
    async fn shows(&mut self, text: &str) {
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

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a number of a process");
        kill(Pid::from_raw(pid), signal).expect("it is told");
    }

    async fn ends(&mut self) -> ExitStatus {
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
struct Terminal {
    client: Client,
    keyboard: File,
    /// The side of the client, whose mode it changes.
    tty: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn open(program: &Program, arguments: &[&str]) -> Self {
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

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("it is typed");
    }

    fn resize(&self, cols: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keyboard, size).expect("it is resized");
    }

    fn mode(&self) -> Termios {
        tcgetattr(&self.tty).expect("its mode")
    }

    /// Waits for its end, after which the terminal is as it was. Returns the exit code.
    async fn ends(mut self) -> (Option<i32>, String) {
        let status = self.client.ends().await;
        assert_eq!(self.mode(), self.before, "the mode of the terminal");
        (status.code(), self.client.out.text())
    }
}

/// A client without a terminal.
fn piped(program: &Program, arguments: &[&str]) -> (Client, Written) {
    let mut command = command(arguments);
    command.env("SANDGLASS_URL", program.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let out = Written::of(child.stdout.take().expect("a pipe"));
    let errors = Written::of(child.stderr.take().expect("a pipe"));
    (Client { child, out, seen: 0 }, errors)
}

#[tokio::test]
async fn a_shell_echoes_follows_the_window_is_interrupted_alone_and_leaves_the_terminal_as_it_was() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let mut terminal = Terminal::open(&program, &["shell", id]);
    terminal.client.shows("# ").await;
    assert_ne!(terminal.mode(), terminal.before, "every key is passed on");
    terminal.types("echo answer-$((6 * 7)) $(stty size) $TERM\r");
    // The echo of the keys comes from inside.
    terminal.client.shows("$((6 * 7))").await;
    terminal.client.shows("answer-42 30 100 xterm").await;
    terminal
        .types("echo waiting-$((1 + 1)); until [ \"$(stty size)\" = '50 132' ]; do :; done; echo resized-$((2 + 1))\r");
    terminal.client.shows("waiting-2").await;
    terminal.resize(132, 50);
    terminal.client.shows("resized-3").await;
    terminal.types("sh -c 'echo begun-$((3 + 1)); exec sleep 1000'\r");
    terminal.client.shows("begun-4").await;
    terminal.types(CTRL_C);
    terminal.client.shows("# ").await;
    terminal.types("echo code-$?\r");
    terminal.client.shows("code-130").await;
    terminal.types("(exit 9)\r");
    terminal.client.shows("# ").await;
    terminal.types(CTRL_D);
    let (code, text) = terminal.ends().await;
    assert_eq!(code, Some(9), "{text:?}");
}

#[tokio::test]
async fn an_interrupted_command_on_a_terminal_ends_as_it_would_there() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let mut terminal = Terminal::open(&program, &["exec", "-it", id, "sh", "-c", "echo begun; exec sleep 1000"]);
    terminal.client.shows("begun").await;
    terminal.types(CTRL_C);
    let (code, text) = terminal.ends().await;
    assert_eq!(code, Some(130), "{text:?}");
    // Without -i, the keys are not passed on, and Ctrl-C is a signal to the client.
    let mut terminal = Terminal::open(&program, &["exec", "-t", id, "sh", "-c", "echo begun; exec sleep 1000"]);
    terminal.client.shows("begun").await;
    terminal.types(CTRL_C);
    let (code, text) = terminal.ends().await;
    assert_eq!(code, Some(130), "{text:?}");
}

#[tokio::test]
async fn a_shell_whose_sandbox_ends_says_so_and_leaves_the_terminal_as_it_was() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let mut terminal = Terminal::open(&program, &["shell", id]);
    terminal.client.shows("# ").await;
    assert_eq!(program.delete(&format!("/v1/sandboxes/{id}")).await.status, 202);
    let (code, text) = terminal.ends().await;
    assert_eq!(code, Some(125), "{text:?}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("sandglass: ") && last.contains("its sandbox ended"), "{text:?}");
}

#[tokio::test]
async fn a_first_interrupt_is_passed_on_and_a_second_one_leaves_the_command_and_says_its_id() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let stubborn = "trap 'echo caught' INT; echo begun; while :; do sleep 0.1; done";
    let (mut client, errors) = piped(&program, &["exec", id, "--", "sh", "-c", stubborn]);
    client.shows("begun").await;
    client.signal(Signal::SIGINT);
    client.shows("caught").await;
    client.signal(Signal::SIGINT);
    assert_eq!(client.ends().await.code(), Some(130));
    let said = errors.text();
    let running = program.get(&format!("/v1/sandboxes/{id}/commands")).await.body;
    let command = running["commands"][0]["command_id"].as_str().expect("an id");
    assert!(said.contains(command), "{said:?} names {command}");
    assert_eq!(running["commands"][0]["status"], "running", "{running}");
}

#[tokio::test]
async fn a_client_whose_server_dies_reads_on_without_a_gap_and_ends_as_its_command() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let address = program.url().trim_start_matches("http://").to_owned();
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let counts = "for i in $(seq 1 60); do echo line $i; echo error $i >&2; sleep 0.1; done; exit 3";
    let (mut client, errors) = piped(&program, &["exec", id, "--", "sh", "-c", counts]);
    client.shows("line 10\n").await;
    program.kill().await;
    let again = ["--prefix", corner.prefix.as_str()];
    let _program = Program::serve_at(&address, directory.path(), &again).await;
    assert_eq!(client.ends().await.code(), Some(3), "{:?}", errors.text());
    client.shows("line 60\n").await;
    let lines: String = (1..=60).map(|line| format!("line {line}\n")).collect();
    assert_eq!(client.out.text(), lines);
    let said = errors.text();
    assert!(said.contains("connection is lost"), "{said:?}");
    let told: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(told, (1..=60).map(|line| format!("error {line}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_terminal_whose_server_dies_says_so_on_a_line_of_its_own_and_goes_on() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let address = program.url().trim_start_matches("http://").to_owned();
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let mut terminal = Terminal::open(&program, &["shell", id]);
    terminal.client.shows("# ").await;
    terminal.types("printf 'half a'\r");
    terminal.client.shows("half a").await;
    terminal.client.shows("half a").await;
    program.kill().await;
    terminal.client.shows("\r\nsandglass: the connection is lost; reading on when it is back\r\n").await;
    let _program = Program::serve_at(&address, directory.path(), &["--prefix", corner.prefix.as_str()]).await;
    terminal.types("\rexit $((3 + 1))\r");
    let (code, text) = terminal.ends().await;
    assert_eq!(code, Some(4), "{text:?}");
}

#[tokio::test]
async fn work_in_a_paused_sandbox_is_refused_in_words_that_say_what_to_do() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    assert_eq!(program.post(&format!("/v1/sandboxes/{id}/pause"), &Value::Null).await.status, 200);
    let (mut client, errors) = piped(&program, &["exec", id, "--", "true"]);
    assert_eq!(client.ends().await.code(), Some(125));
    let said = errors.text();
    assert!(said.contains("paused") && said.contains("resume"), "{said:?}");
    let terminal = Terminal::open(&program, &["shell", id]);
    let (code, text) = terminal.ends().await;
    assert!(code == Some(125) && text.contains("resume"), "{text:?}");
}

#[tokio::test]
async fn what_is_typed_while_the_sandbox_is_paused_waits_and_ctrl_c_leaves_meanwhile() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let path = |what: &str| format!("/v1/sandboxes/{id}/{what}");
    let mut terminal = Terminal::open(&program, &["shell", id]);
    terminal.client.shows("# ").await;
    assert_eq!(program.post(&path("pause"), &Value::Null).await.status, 200);
    terminal.types("echo ");
    terminal
        .client
        .shows("is paused: resume it first, or set wake = true in its template; what is typed waits until then\r\n")
        .await;
    terminal.types("answer-$((6 * 7))\r");
    assert_eq!(program.post(&path("resume"), &Value::Null).await.status, 200);
    terminal.client.shows("answer-42").await;
    assert_eq!(program.post(&path("pause"), &Value::Null).await.status, 200);
    terminal.types("x");
    terminal.client.shows("paused").await;
    terminal.types(CTRL_C);
    let (code, text) = terminal.ends().await;
    assert!(code == Some(130) && text.contains("\r\nsandglass: the command goes on as "), "{text:?}");
}

#[tokio::test]
async fn input_of_a_pipe_has_no_gap_where_the_server_was_away() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let address = program.url().trim_start_matches("http://").to_owned();
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let mut command = command(&["exec", "-i", id, "--", "cat"]);
    command.env("SANDGLASS_URL", program.url());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let out = Written::of(child.stdout.take().expect("a pipe"));
    let mut client = Client { child, out, seen: 0 };
    pipe.write_all(b"before\n").expect("it is written");
    client.shows("before\n").await;
    program.kill().await;
    pipe.write_all(b"meanwhile\n").expect("it is written");
    let _program = Program::serve_at(&address, directory.path(), &["--prefix", corner.prefix.as_str()]).await;
    client.shows("meanwhile\n").await;
    pipe.write_all(b"after\n").expect("it is written");
    drop(pipe);
    assert_eq!(client.ends().await.code(), Some(0));
    client.shows("after\n").await;
    assert_eq!(client.out.text(), "before\nmeanwhile\nafter\n");
}

#[tokio::test]
async fn logs_that_are_followed_end_with_the_sandbox() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    let writes = "trap 'echo last; exit' TERM; echo first; while :; do sleep 0.1; done";
    program.create(&json!({"id": id, "command": ["sh", "-c", writes]})).await;
    let (mut client, errors) = piped(&program, &["logs", "-f", id]);
    client.shows("first").await;
    assert_eq!(program.delete(&format!("/v1/sandboxes/{id}")).await.status, 202);
    assert_eq!(client.ends().await.code(), Some(0), "{:?}", errors.text());
    client.shows("last").await;
}

#[tokio::test]
async fn a_copy_shows_its_progress_on_a_terminal_only() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; 3 << 20]).expect("a file");
    let (from, to) = (file.display().to_string(), format!("{id}:/tmp/"));
    let (code, text) = Terminal::open(&program, &["cp", &from, &to]).ends().await;
    assert!(code == Some(0) && text.contains("file →") && text.contains("3.00 MiB"), "{text:?}");
    let (mut client, errors) = piped(&program, &["cp", &from, &to]);
    assert_eq!(client.ends().await.code(), Some(0), "{:?}", errors.text());
    assert_eq!((client.out.text(), errors.text()), (String::new(), String::new()));
    let (mut client, errors) = piped(&program, &["cp", &from, "/tmp/other"]);
    assert_eq!(client.ends().await.code(), Some(1));
    assert!(errors.text().contains("ID:PATH"), "{:?}", errors.text());
}
