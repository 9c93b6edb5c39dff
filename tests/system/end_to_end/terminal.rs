//! The command line's clients in front of a person: on a real pseudo-terminal, and interrupted without one.

use std::{io::Write, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    clients::{Client, Terminal, Written, piped},
    directory, on_a_file,
};
use crate::support::{
    docker::Corner,
    program::{Program, command},
};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

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
    let said = errors.whole().await;
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
    let said = errors.whole().await;
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
    let said = errors.whole().await;
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
    assert_eq!((client.out.whole().await, errors.whole().await), (String::new(), String::new()));
    let (mut client, errors) = piped(&program, &["cp", &from, "/tmp/other"]);
    assert_eq!(client.ends().await.code(), Some(1));
    assert!(errors.whole().await.contains("ID:PATH"));
}

#[tokio::test]
async fn an_error_says_what_is_wrong_and_what_to_do() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let (there, one) = (format!("{id}:/bin/sh"), format!("{id}:/tmp/one"));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["exec", id, "--", "echo hi"], 127, "use: -- sh -c 'LINE'"),
        (&["exec", "--url", "http://127.0.0.1:1", id, "ls"], 125, "SANDGLASS_URL says where"),
        (&["exec", "--url", "127.0.0.1:8080", id, "ls"], 1, "expected one such as http://"),
        (&["exec", "-w", "/nowhere", id, "ls"], 125, "sandglass: cwd: /nowhere does not exist"),
        (&["exec", "-u", "somebody", id, "ls"], 125, "expected one of this sandbox, or a number"),
        (&["cp", "/etc/hostname", "nobody:/tmp/x"], 1, "there is no sandbox nobody"),
        (&["cp", "nobody:/tmp/x", "/tmp"], 1, "there is no sandbox nobody"),
        (&["cp", &there, "/no-such-directory/sh"], 1, "/no-such-directory: No such file"),
        (&["cp", "/no-such-file", &one], 1, "/no-such-file: No such file"),
        (&["logs", "nobody"], 1, "there is no sandbox nobody"),
        (&["stats", "nobody"], 1, "there is no sandbox nobody"),
    ];
    for (arguments, code, words) in cases {
        let (mut client, errors) = piped(&program, arguments);
        assert_eq!(client.ends().await.code(), Some(*code), "{arguments:?}: {:?}", errors.text());
        let said = errors.whole().await;
        assert!(said.contains(words), "{arguments:?}: {said:?}");
    }
}
