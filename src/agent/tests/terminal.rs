//! Processes with a terminal.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::client::{Client, Run, Stream};

async fn start(client: &Client, line: &str) -> (Stream, u32) {
    let mut stream = client
        .start(json!({
            "process": { "cmd": "sh", "args": ["-c", line] },
            "pty": { "size": { "cols": 100, "rows": 30 } },
        }))
        .await;
    let pid = stream.until(|run| run.pid > 0).await.pid;
    (stream, pid)
}

async fn type_in(client: &Client, pid: u32, text: &str) -> (u16, Value) {
    let input = json!({ "process": { "pid": pid }, "input": { "pty": BASE64_STANDARD.encode(text) } });
    client.call("/process.Process/SendInput", input).await
}

#[tokio::test]
async fn a_terminal_has_its_size_and_is_resized() {
    let client = Client::new().await;
    let line = "trap 'stty size; exit 3' WINCH; stty size; test -t 0 && test -t 1 && test -t 2 && echo $TERM; \
                while :; do sleep 0.05; done";
    let (mut stream, pid) = start(&client, line).await;
    stream.until(|run| run.terminal() == "30 100\r\nxterm\r\n").await;
    let update = json!({ "process": { "pid": pid }, "pty": { "size": { "cols": 90, "rows": 20 } } });
    assert_eq!(client.call("/process.Process/Update", update.clone()).await, (200, json!({})));
    let run = stream.run().await;
    assert_eq!((run.terminal().as_str(), &run.end["exitCode"]), ("20 90\r\n", &json!(3)));
    assert_eq!(client.refused("/process.Process/Update", update).await.0, "failed_precondition");
}

#[tokio::test]
async fn what_is_typed_arrives_and_ctrl_c_interrupts() {
    let client = Client::new().await;
    // A shell may lose a signal that comes while it starts a command, so this is none.
    let cat = json!({ "process": { "cmd": "cat" }, "pty": { "size": {} } });
    let mut stream = client.start(cat).await;
    let pid = stream.until(|run| run.pid > 0).await.pid;
    assert_eq!(type_in(&client, pid, "hello\n").await, (200, json!({})));
    stream.until(|run| run.terminal().ends_with("hello\r\nhello\r\n")).await;
    type_in(&client, pid, "\u{3}").await;
    let run = stream.run().await;
    assert_eq!(run.end["signal"], 2, "{run:?}");
    assert_eq!(type_in(&client, pid, "x").await.0, 400);
}

#[tokio::test]
async fn a_terminals_input_cannot_be_closed_but_ended() {
    let client = Client::new().await;
    let (stream, pid) = start(&client, "cat").await;
    let (code, message) = client.refused("/process.Process/CloseStdin", json!({ "process": { "pid": pid } })).await;
    assert_eq!(code, "failed_precondition");
    assert!(message.contains("Ctrl-D"), "{message}");
    type_in(&client, pid, "\u{4}").await;
    assert_eq!(stream.run().await.end["exitCode"], 0);
}

#[tokio::test]
async fn the_last_words_of_a_terminal_are_not_lost() {
    let client = Client::new().await;
    for _ in 0..20 {
        let (stream, _) = start(&client, "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done").await;
        let run: Run = stream.run().await;
        assert!(run.terminal().ends_with("line 499\r\n"), "{}", run.terminal());
        assert_eq!(run.terminal().lines().count(), 500);
    }
}

#[tokio::test]
async fn a_terminal_hangs_up_when_its_process_has_ended() {
    let client = Client::new().await;
    let (stream, _) = start(&client, "sleep 100 & echo $!").await;
    let run = stream.run().await;
    let child: u32 = run.terminal().trim().parse().unwrap();
    assert_eq!(run.end["exitCode"], 0);
    crate::process::eventually("the child's end", async || {
        !std::path::Path::new(&format!("/proc/{child}/cwd")).join(".").exists()
    })
    .await;
}
