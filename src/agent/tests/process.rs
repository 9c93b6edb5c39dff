//! Processes: how they start, what they tell, and how they end.

use std::{fs, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{BOUND, Client, Stream, agent, shell};

const START: &str = "/process.Process/Start";
const CONNECT: &str = "/process.Process/Connect";
const LIST: &str = "/process.Process/List";
const SEND_INPUT: &str = "/process.Process/SendInput";
const SEND_SIGNAL: &str = "/process.Process/SendSignal";

fn with(mut message: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    message.as_object_mut().unwrap().extend(more);
    message
}

/// Waits for a condition, with a bound.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // A zombie is still there, but does nothing any more.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
}

#[tokio::test]
async fn a_process_tells_its_start_its_output_and_its_end() {
    let client = Client::new().await;
    let run = client.shell("echo out; echo err >&2; exit 3").await;
    assert!(run.pid > 1);
    assert_eq!((run.out().as_str(), run.stderr.as_slice()), ("out\n", &b"err\n"[..]));
    let end = json!({ "exitCode": 3, "exited": true, "status": "exit status 3", "error": "exit status 3" });
    assert_eq!(run.end, end);
    assert_eq!(run.last, json!({}));
    let end = json!({ "exitCode": 0, "exited": true, "status": "exit status 0" });
    assert_eq!(client.shell("true").await.end, end);
}

#[tokio::test]
async fn a_signal_that_ends_a_process_is_told() {
    let client = Client::new().await;
    let run = client.shell("kill -KILL $$").await;
    let end =
        json!({ "exitCode": -1, "exited": false, "status": "signal: killed", "error": "signal: killed", "signal": 9 });
    assert_eq!(run.end, end);
}

#[tokio::test]
async fn a_signal_without_a_name_that_ends_a_process_is_told() {
    let client = Client::new().await;
    for signal in [34, 64] {
        let run = client.shell(&format!("kill -{signal} $$")).await;
        let status = format!("signal: signal {signal}");
        let end = json!({ "exitCode": -1, "exited": false, "status": status, "error": status, "signal": signal });
        assert_eq!(run.end, end);
    }
}

#[tokio::test]
async fn a_command_gets_its_arguments_environment_and_directory() {
    let client = Client::new().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let run = client
        .run(json!({ "process": {
            "cmd": "sh",
            "args": ["-c", "pwd; echo \"$0|$1|$MINE|$HOME|$USER|$PATH\"", "zero", "a b"],
            "envs": { "MINE": "x=y z", "PATH": "/bin:/usr/bin" },
            "cwd": folder,
        } }))
        .await;
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let home = std::env::var("HOME").unwrap();
    let expected = format!("{}\nzero|a b|x=y z|{home}|{}|/bin:/usr/bin\n", folder.display(), user.trim());
    assert_eq!(run.out(), expected);
}

#[tokio::test]
async fn a_command_gets_nothing_else_of_the_agents_environment() {
    let client = Client::new().await;
    let names = client.shell("env | sed 's/=.*//' | sort").await.out();
    for name in names.lines() {
        assert!(["HOME", "LOGNAME", "PATH", "PWD", "USER", "SHLVL", "OLDPWD", "_"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_command_has_a_session_and_a_group_of_its_own() {
    let client = Client::new().await;
    let run = client.shell("cut -d' ' -f5,6 /proc/$$/stat").await;
    assert_eq!(run.out(), format!("{0} {0}\n", run.pid));
}

#[tokio::test]
async fn a_command_runs_as_the_user_who_is_named() {
    assert!(nix::unistd::geteuid().is_root(), "run the tests as root: they start commands as other users");
    let client = Client::new().await;
    let header = format!("Basic {}", BASE64_STANDARD.encode("nobody:"));
    let line = shell("id -u; id -g; echo $USER");
    let out = client.stream_with(START, line, &[("authorization", &header)]).await.run().await.out();
    assert!(out.starts_with("65534\n65534\nnobody\n"), "{out}");
    let header = format!("Basic {}", BASE64_STANDARD.encode("1234:4321:"));
    let numbers = client.stream_with(START, shell("id -u; id -G"), &[("authorization", &header)]).await.run().await;
    assert_eq!(numbers.out(), "1234\n4321\n");
    let header = format!("Basic {}", BASE64_STANDARD.encode("not-there:"));
    let unknown = client.stream_with(START, shell("id"), &[("authorization", &header)]).await.run().await;
    assert_eq!(unknown.last["error"]["code"], "unauthenticated");
}

#[tokio::test]
async fn a_command_is_ended_before_the_agent_when_memory_runs_out() {
    let client = Client::new().await;
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let its: i32 = client.shell("cat /proc/self/oom_score_adj").await.out().trim().parse().unwrap();
    assert!(its > own || its == 1000, "{its} {own}");
}

#[tokio::test]
async fn a_command_that_cannot_start_has_the_exit_code_of_docker_exec() {
    let client = Client::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = async |cmd: &str| {
        let run = client.run(json!({ "process": { "cmd": cmd } })).await;
        assert_eq!(run.pid, 0);
        let error = run.last["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(cmd), "{error}");
        (error["code"].as_str().unwrap().to_owned(), error["exitCode"].as_i64().unwrap())
    };
    assert_eq!(refused("no-such-program").await, ("not_found".to_owned(), 127));
    assert_eq!(refused("/no/such/program").await, ("not_found".to_owned(), 127));
    assert_eq!(refused(file.to_str().unwrap()).await, ("permission_denied".to_owned(), 126));
    assert_eq!(refused("/tmp").await, ("permission_denied".to_owned(), 126));
    assert_eq!(client.call(LIST, json!({ "ended": true })).await.1, json!({ "processes": [] }));
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_the_name_of_its_field() {
    let client = Client::new().await;
    let process = |more: Value| json!({ "process": with(json!({ "cmd": "true" }), more) });
    for (request, field) in [
        (json!({}), "process.cmd"),
        (json!({ "process": { "cmd": "a\0b" } }), "process.cmd"),
        (process(json!({ "cwd": "/no/such/place" })), "process.cwd"),
        (process(json!({ "cwd": "/etc/passwd" })), "process.cwd"),
        (process(json!({ "envs": { "a=b": "c" } })), "process.envs"),
        (with(process(json!({})), json!({ "pty": { "size": { "cols": 65536 } } })), "pty.size.cols"),
        (with(process(json!({})), json!({ "keepBytes": "1048577" })), "keepBytes"),
        (with(process(json!({})), json!({ "timeoutMs": "soon" })), "soon"),
        (json!({ "process": 5 }), "message"),
    ] {
        let error = client.run(request.clone()).await.last["error"].clone();
        assert_eq!(error["code"], "invalid_argument", "{request}");
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
    for (call, message, code) in [
        (SEND_INPUT, json!({ "process": { "pid": 4_000_000 } }), "not_found"),
        (SEND_INPUT, json!({ "process": { "tag": "nobody's" } }), "not_found"),
        (SEND_INPUT, json!({}), "invalid_argument"),
        (SEND_SIGNAL, json!({ "process": { "pid": "5" } }), "invalid_argument"),
        ("/process.Process/CloseStdin", json!({ "process": { "pid": 4_000_000 } }), "not_found"),
        ("/process.Process/Update", json!({ "process": { "pid": 4_000_000 } }), "not_found"),
        ("/process.Process/Nothing", json!({}), "unimplemented"),
    ] {
        assert_eq!(client.refused(call, message.clone()).await.0, code, "{call} {message}");
    }
    let run = client.stream(CONNECT, json!({ "process": { "pid": 4_000_000 } })).await.run().await;
    assert_eq!(run.last["error"]["code"], "not_found");
}

#[tokio::test]
async fn input_is_written_and_closed() {
    let client = Client::new().await;
    let mut cat = client.start(json!({ "process": { "cmd": "cat" }, "tag": "cat" })).await;
    let pid = cat.until(|run| run.pid > 0).await.pid;
    let input = |text: &str| json!({ "process": { "tag": "cat" }, "input": { "stdin": BASE64_STANDARD.encode(text) } });
    assert_eq!(client.call(SEND_INPUT, input("one\n")).await, (200, json!({})));
    assert_eq!(cat.until(|run| run.out() == "one\n").await.end, Value::Null);
    let (code, message) =
        client.refused(SEND_INPUT, json!({ "process": { "pid": pid }, "input": { "pty": "eA==" } })).await;
    assert_eq!(code, "failed_precondition", "{message}");
    assert_eq!(client.refused(SEND_INPUT, json!({ "process": { "pid": pid } })).await.0, "invalid_argument");
    assert_eq!(client.call("/process.Process/CloseStdin", json!({ "process": { "pid": pid } })).await.0, 200);
    assert_eq!(cat.run().await.end["exitCode"], 0);
    let (code, message) = client.refused(SEND_INPUT, input("two\n")).await;
    assert_eq!(code, "failed_precondition", "{message}");
}

#[tokio::test]
async fn a_stream_of_input_arrives_whole_and_in_order() {
    let client = Client::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    let line = format!("cat > {}", file.display());
    let mut cat = client.start(json!({ "process": { "cmd": "sh", "args": ["-c", line] } })).await;
    let pid = cat.until(|run| run.pid > 0).await.pid;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    let mut messages = vec![json!({ "start": { "process": { "pid": pid } } }), json!({ "keepalive": {} })];
    messages.extend(
        bytes.chunks(100_000).map(|part| json!({ "data": { "input": { "stdin": BASE64_STANDARD.encode(part) } } })),
    );
    let (answer, last) = client.send_stream("/process.Process/StreamInput", &messages).await;
    assert_eq!((answer, last), (Some(json!({})), json!({})));
    client.call("/process.Process/CloseStdin", json!({ "process": { "pid": pid } })).await;
    assert_eq!(cat.run().await.end["exitCode"], 0);
    assert!(fs::read(&file).unwrap() == bytes);
    let (answer, last) = client.send_stream("/process.Process/StreamInput", &[json!({ "data": {} })]).await;
    assert_eq!((answer, last["error"]["code"].as_str()), (None, Some("invalid_argument")));
}

#[tokio::test]
async fn a_process_without_input_reads_the_end_at_once() {
    let client = Client::new().await;
    let run = client.run(json!({ "process": { "cmd": "cat" }, "stdin": false })).await;
    assert_eq!(run.end["exitCode"], 0);
    let pid = client.run(shell("true")).await.pid;
    assert_eq!(
        client.refused(SEND_INPUT, json!({ "process": { "pid": pid }, "input": { "stdin": "eA==" } })).await.0,
        "failed_precondition"
    );
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group() {
    let client = Client::new().await;
    let mut stream = client.start(shell("sleep 100 & echo $!; wait")).await;
    let run = stream.until(|run| run.out().ends_with('\n')).await;
    let child: u32 = run.out().trim().parse().unwrap();
    assert!(is_alive(child));
    let message = json!({ "process": { "pid": run.pid }, "signal": "SIGNAL_SIGTERM" });
    assert_eq!(client.call(SEND_SIGNAL, message.clone()).await, (200, json!({})));
    assert_eq!(stream.run().await.end["signal"], 15);
    eventually("the child's end", async || !is_alive(child)).await;
    assert_eq!(client.refused(SEND_SIGNAL, message).await.0, "not_found");
}

#[tokio::test]
async fn any_signal_can_be_sent_by_its_name() {
    let client = Client::new().await;
    let mut stream =
        client.start(shell("trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done")).await;
    let pid = stream.until(|run| run.out() == "ready\n").await.pid;
    for signal in ["SIGNAL_UNSPECIFIED", "SIGNAL_SIGNOTHING", ""] {
        let (code, message) = client.refused(SEND_SIGNAL, json!({ "process": { "pid": pid }, "signal": signal })).await;
        assert_eq!(code, "invalid_argument", "{message}");
    }
    client.call(SEND_SIGNAL, json!({ "process": { "pid": pid }, "signal": "SIGNAL_SIGUSR1" })).await;
    let run = stream.run().await;
    assert_eq!((run.out().as_str(), &run.end["exitCode"]), ("caught\n", &json!(7)));
}

#[tokio::test]
async fn a_process_whose_time_is_up_is_ended_with_its_group() {
    let client = Client::new().await;
    let mut stream = client.start(with(shell("sleep 100 & echo $!; wait"), json!({ "timeoutMs": 200 }))).await;
    let child: u32 = stream.until(|run| run.out().ends_with('\n')).await.out().trim().parse().unwrap();
    let end = stream.run().await.end;
    assert_eq!((&end["timedOut"], &end["signal"]), (&json!(true), &json!(15)));
    assert!(!is_alive(child));
}

#[tokio::test]
async fn a_process_that_does_not_heed_its_time_is_killed_with_its_group() {
    let client = Client::new().await;
    let line =
        "(trap '' TERM; echo in; while :; do sleep 0.1; done) & trap '' TERM; echo $!; while :; do sleep 0.1; done";
    let began = Instant::now();
    let mut stream = client.start(with(shell(line), json!({ "timeoutMs": "300" }))).await;
    let out = stream.until(|run| run.out().lines().count() == 2).await.out();
    let child: u32 = out.lines().find_map(|line| line.parse().ok()).unwrap();
    let end = stream.run().await.end;
    assert_eq!((&end["timedOut"], &end["signal"]), (&json!(true), &json!(9)));
    assert!(began.elapsed() >= Duration::from_millis(2300), "{:?}", began.elapsed());
    eventually("the child's end", async || !is_alive(child)).await;
}

#[tokio::test]
async fn a_child_that_outlives_a_process_whose_time_is_up_is_killed() {
    let client = Client::new().await;
    let line = "(trap '' TERM; echo in; while :; do sleep 0.1; done) & echo $!; wait";
    let mut stream = client.start(with(shell(line), json!({ "timeoutMs": 300 }))).await;
    let out = stream.until(|run| run.out().lines().count() == 2).await.out();
    let child: u32 = out.lines().find_map(|line| line.parse().ok()).unwrap();
    let end = stream.run().await.end;
    assert_eq!((&end["timedOut"], &end["signal"]), (&json!(true), &json!(15)));
    eventually("the child's end", async || !is_alive(child)).await;
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_the_process_and_is_no_normal_end() {
    let client = Client::new().await;
    let mut stream = client.stream_with(START, shell("sleep 100"), &[("connect-timeout-ms", "300")]).await;
    let pid = stream.until(|run| run.pid > 0).await.pid;
    let run = stream.run().await;
    assert_eq!((run.end, &run.last["error"]["code"]), (Value::Null, &json!("deadline_exceeded")));
    eventually("the end", async || !is_alive(pid)).await;
    let run = client.stream(CONNECT, json!({ "process": { "pid": pid } })).await.run().await;
    assert_eq!(run.end["timedOut"], true);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_its_process_and_can_come_back() {
    let agent = agent();
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("go");
    let line = format!("echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two", flag.display());
    let client = Client::of(&agent).await;
    let pid = client.start(shell(&line)).await.until(|run| run.out() == "one\n").await.pid;
    drop(client);
    let client = Client::of(&agent).await;
    let mut again = client.stream(CONNECT, json!({ "process": { "pid": pid } })).await;
    assert_eq!(again.until(|run| run.out() == "one\n").await.pid, pid);
    let mut later = client.stream(CONNECT, json!({ "process": { "pid": pid }, "from": { "stdout": "4" } })).await;
    later.until(|run| run.pid > 0).await;
    fs::write(&flag, "").unwrap();
    assert_eq!(again.run().await.out(), "two\n");
    let later = later.run().await;
    assert_eq!((later.out().as_str(), later.first["stdout"], &later.end["exitCode"]), ("two\n", 4, &json!(0)));
    let ended = client.stream(CONNECT, json!({ "process": { "pid": pid } })).await.run().await;
    assert_eq!((ended.out().as_str(), &ended.end["exitCode"]), ("one\ntwo\n", &json!(0)));
}

#[tokio::test]
async fn big_output_arrives_whole() {
    let client = Client::new().await;
    let run = client.shell("head -c 30000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero >&2").await;
    assert_eq!((run.stdout.len(), run.stderr.len()), (30_000_000, 3_000_000));
    assert!(run.stdout.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_stop_the_process_and_jumps_ahead() {
    let client = Client::new().await;
    let line = "head -c 12000000 /dev/zero | tr '\\0' x; echo end";
    let mut stream = client.start(with(shell(line), json!({ "tag": "slow" }))).await;
    let mut run = stream.until(|run| run.pid > 0).await;
    let other = client.stream(CONNECT, json!({ "process": { "pid": run.pid } }));
    // The other reads, so it sees the end; this one has read nothing until then.
    let other = other.await.collect_loosely().await;
    assert_eq!(other.end["exitCode"], 0);
    let kept = json!({ "process": { "tag": "slow" } });
    let kept = client.stream(CONNECT, kept).await.run().await;
    assert_eq!((kept.stdout.len(), kept.first["stdout"]), (1 << 20, 12_000_004 - (1 << 20)));
    run = stream.collect_loosely().await;
    assert!(run.stdout.len() < 12_000_000, "{}", run.stdout.len());
    assert!(run.out().ends_with("xend\n"));
    assert_eq!(run.end["exitCode"], 0);
}

#[tokio::test]
async fn as_much_output_is_kept_as_was_asked_for() {
    let client = Client::new().await;
    let pid = client.run(with(shell("printf 0123456789"), json!({ "keepBytes": "4" }))).await.pid;
    let kept = client.stream(CONNECT, json!({ "process": { "pid": pid } })).await.run().await;
    assert_eq!((kept.out().as_str(), kept.first["stdout"]), ("6789", 6));
    let run = client.run(with(shell("printf 0123456789"), json!({ "keepBytes": 0 }))).await;
    assert_eq!(run.out(), "0123456789");
    let kept = client.stream(CONNECT, json!({ "process": { "pid": run.pid } })).await.run().await;
    assert_eq!((kept.out().as_str(), &kept.end["exitCode"]), ("", &json!(0)));
}

#[tokio::test]
async fn a_child_that_holds_the_output_open_does_not_hold_up_the_end() {
    let client = Client::new().await;
    let began = Instant::now();
    let run = client.shell("echo started; sleep 5 & exit 4").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((run.out().as_str(), &run.end["exitCode"]), ("started\n", &json!(4)));
}

#[tokio::test]
async fn a_child_that_goes_on_writing_holds_nothing_up_and_does_not_fail() {
    let client = Client::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("done");
    let line = format!(
        "(i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.001; done; echo ok > {}) & exit 0",
        file.display()
    );
    assert_eq!(client.shell(&line).await.end["exitCode"], 0);
    eventually("the child's end", async || fs::read_to_string(&file).is_ok_and(|text| text == "ok\n")).await;
}

#[tokio::test]
async fn processes_are_listed_with_their_end() {
    let client = Client::new().await;
    let ended = client.run(with(shell("exit 5"), json!({ "tag": "first" }))).await.pid;
    let mut running = client.start(json!({ "process": { "cmd": "sleep", "args": ["100"], "cwd": "/" } })).await;
    let pid = running.until(|run| run.pid > 0).await.pid;
    let (_, list) = client.call(LIST, json!({})).await;
    let list = list["processes"].as_array().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["config"], json!({ "cmd": "sleep", "args": ["100"], "cwd": "/" }));
    assert!(list[0]["startedAt"].as_f64().unwrap() > 1.7e9 && list[0]["end"].is_null());
    let (_, list) = client.call(LIST, json!({ "ended": true })).await;
    let list = list["processes"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["pid"], &list[0]["tag"]), (2, &json!(ended), &json!("first")));
    assert_eq!(list[0]["end"]["exitCode"], 5);
    assert!(list[0]["endedAt"].as_f64().unwrap() >= list[0]["startedAt"].as_f64().unwrap());
    end(&client, running, pid).await;
}

async fn end(client: &Client, stream: Stream, pid: u32) {
    let killed = client.call(SEND_SIGNAL, json!({ "process": { "pid": pid }, "signal": "SIGNAL_SIGKILL" })).await;
    assert_eq!(killed.0, 200);
    stream.run().await;
}

#[tokio::test]
async fn a_tag_names_one_running_process() {
    let client = Client::new().await;
    let tagged = with(shell("sleep 100"), json!({ "tag": "mine" }));
    let mut first = client.start(tagged.clone()).await;
    first.until(|run| run.pid > 0).await;
    let error = client.run(tagged.clone()).await.last["error"].clone();
    assert_eq!(error["code"], "already_exists", "{error}");
    client.call(SEND_SIGNAL, json!({ "process": { "tag": "mine" }, "signal": "SIGNAL_SIGKILL" })).await;
    first.run().await;
    let mut second = client.start(tagged).await;
    let pid = second.until(|run| run.pid > 0).await.pid;
    end(&client, second, pid).await;
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive() {
    let client = Client::new().await;
    let mut stream = client.stream_with(START, shell("sleep 100"), &[("keepalive-ping-interval", "1")]).await;
    stream.until(|run| run.keepalives == 2).await;
}

#[tokio::test]
async fn processes_are_bounded_and_the_bound_is_told() {
    let client = Client::new().await;
    let sleep = json!({ "process": { "cmd": "sleep", "args": ["100"] }, "stdin": false });
    let mut streams = Vec::new();
    for _ in 0..1024 {
        let mut stream = client.start(sleep.clone()).await;
        stream.until(|run| run.pid > 0).await;
        streams.push(stream);
    }
    let error = client.run(sleep.clone()).await.last["error"].clone();
    assert_eq!(error["code"], "resource_exhausted");
    assert!(error["message"].as_str().unwrap().contains("1024"), "{error}");
    let (_, list) = client.call(LIST, json!({})).await;
    for process in list["processes"].as_array().unwrap() {
        client.call(SEND_SIGNAL, json!({ "process": { "pid": process["pid"] }, "signal": 9 })).await;
    }
    for stream in streams {
        assert_eq!(stream.run().await.end["signal"], 9);
    }
    let (_, list) = client.call(LIST, json!({ "ended": true })).await;
    assert_eq!(list["processes"].as_array().unwrap().len(), 256, "the newest ended ones are remembered");
    assert_eq!(client.shell("true").await.end["exitCode"], 0);
}

#[tokio::test]
async fn two_agents_in_one_program_wait_for_their_own_children() {
    let (one, other) = (Client::new().await, Client::new().await);
    let mut child = tokio::process::Command::new("sh").args(["-c", "exit 9"]).spawn().unwrap();
    let (first, second) = tokio::join!(one.shell("exit 1"), other.shell("exit 2"));
    assert_eq!((&first.end["exitCode"], &second.end["exitCode"]), (&json!(1), &json!(2)));
    assert_eq!(child.wait().await.unwrap().code(), Some(9));
}
