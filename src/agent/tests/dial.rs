//! The program: dialled, it starts itself, serves, and goes on.

use std::{fs, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{
    client::{Client, shell},
    process::eventually,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandglass-agent");

/// An agent of this test's own, killed at its end.
struct Agent {
    name: String,
}

impl Agent {
    fn new(test: &str) -> Self {
        Self { name: format!("sandglass-agent.test.{test}.{}", std::process::id()) }
    }

    fn dial(&self) -> Child {
        let mut command = Command::new(PROGRAM);
        command.args(["dial", &self.name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn().unwrap()
    }

    async fn client(&self) -> (Client, Child) {
        Self::client_of(self.dial()).await
    }

    async fn client_of(mut child: Child) -> (Client, Child) {
        let mut stdout = child.stdout.take().unwrap();
        // What follows this line comes from the agent.
        let mut greeting = Vec::new();
        while greeting.last() != Some(&b'\n') {
            greeting.push(stdout.read_u8().await.unwrap());
        }
        assert_eq!(String::from_utf8(greeting).unwrap(), format!("sandglass-agent {}\n", sandglass_agent::VERSION));
        let stdio = tokio::io::join(stdout, child.stdin.take().unwrap());
        (Client::over(stdio).await, child)
    }

    /// The agents that serve this name.
    fn pids(&self) -> Vec<i32> {
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        // After the name comes the user, who is not named here.
        let wanted = format!("\0serve\0{}\0\0", self.name);
        let serves =
            |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(wanted.as_bytes()));
        all.filter(serves).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for pid in self.pids() {
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[tokio::test]
async fn the_first_dial_starts_the_agent_and_it_goes_on_without_a_connection() {
    let agent = Agent::new("first");
    let (client, mut dial) = agent.client().await;
    let mut stream = client.start(shell("echo one; sleep 100")).await;
    let pid = stream.until(|run| run.out() == "one\n").await.pid;
    let served = agent.pids();
    assert_eq!(served.len(), 1);
    drop(stream);
    drop(client);
    assert!(tokio::time::timeout(Duration::from_secs(20), dial.wait()).await.unwrap().unwrap().success());
    let (client, _dial) = agent.client().await;
    let mut again = client.stream("/process.Process/Connect", json!({ "process": { "pid": pid } })).await;
    again.until(|run| run.out() == "one\n").await;
    assert_eq!(agent.pids(), served);
    client.call("/process.Process/SendSignal", json!({ "process": { "pid": pid }, "signal": 9 })).await;
    assert_eq!(again.run().await.end["signal"], 9);
}

#[tokio::test]
async fn dials_at_once_start_one_agent() {
    let agent = Agent::new("race");
    let dials: Vec<_> = (0..8).map(|_| agent.dial()).collect();
    let mut connected = Vec::new();
    for dial in dials {
        connected.push(Agent::client_of(dial).await);
    }
    for (client, _) in &connected {
        assert_eq!(client.shell("echo $PPID").await.out().trim(), agent.pids()[0].to_string());
    }
    assert_eq!(agent.pids().len(), 1);
}

#[tokio::test]
async fn the_agent_leaves_everything_that_it_was_started_with() {
    let agent = Agent::new("leaves");
    let file = fs::File::open("/etc/passwd").unwrap();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (client, _dial) = agent.client().await;
    let _other = client.start(shell("sleep 30")).await;
    let list = json!({ "process": { "cmd": "ls", "args": ["/proc/self/fd"] } });
    // The last one is the directory that it reads.
    assert_eq!(client.run(list).await.out(), "0\n1\n2\n3\n", "commands get nothing of it either");
    let pid = agent.pids()[0];
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid.to_string().as_str(), pid.to_string().as_str()), "its group and session");
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        // Some are closed by now.
        let Ok(path) = fs::read_link(entry.unwrap().path()) else { continue };
        let path = path.to_str().unwrap();
        let is_own = ["/dev/null", "socket:", "pipe:", "anon_inode:"].iter().any(|own| path.starts_with(own));
        assert!(is_own, "{path}");
    }
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
}

#[tokio::test]
async fn orphans_are_adopted_and_reaped() {
    let agent = Agent::new("orphans");
    let (client, _dial) = agent.client().await;
    let run = client.shell("(sleep 0.3 & echo $!)").await;
    let orphan: i32 = run.out().trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap();
    let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(parent, agent.pids()[0].to_string());
    eventually("its end", async || !fs::exists(format!("/proc/{orphan}")).unwrap()).await;
    // What is started while others end is told, too.
    let (ends, fails) = tokio::join!(
        async {
            for code in 0..40 {
                assert_eq!(client.shell(&format!("(true &); exit {code}")).await.end["exitCode"], code);
            }
        },
        async {
            for _ in 0..40 {
                let run = client.run(json!({ "process": { "cmd": "/no/such/program" } })).await;
                assert_eq!(run.last["error"]["exitCode"], 127);
            }
        }
    );
    assert_eq!((ends, fails), ((), ()));
}

#[tokio::test]
async fn a_socket_of_another_user_is_not_taken_for_the_agent() {
    assert!(nix::unistd::geteuid().is_root(), "run the tests as root: this one becomes another user");
    let agent = Agent::new("other");
    let script = format!(
        "import os, socket, time\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0{}')\ns.listen()\nprint('x', flush=True)\ntime.sleep(100)",
        agent.name
    );
    let mut other = Command::new("python3");
    let mut other = other.args(["-c", &script]).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut byte = [0];
    other.stdout.as_mut().unwrap().read_exact(&mut byte).await.unwrap();
    let output = agent.dial().wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("user 65534") && told.lines().count() == 1, "{told}");
}

#[tokio::test]
async fn the_agent_serves_no_other_user() {
    assert!(nix::unistd::geteuid().is_root(), "run the tests as root: this one becomes another user");
    let agent = Agent::new("refuses");
    let (client, _dial) = agent.client().await;
    let script = format!(
        "import os, socket\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0{}')\n\
         s.sendall(b'GET /health HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')\nprint(s.recv(100))",
        agent.name
    );
    let output = Command::new("python3").args(["-c", &script]).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("204") && (told.contains("b''") || told.contains("Error")), "{told}");
    assert_eq!(client.shell("true").await.end["exitCode"], 0);
}

/// What the descriptors of a process lead to.
fn descriptors(pid: impl std::fmt::Display) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned)).collect()
}

/// What the stdin of a dial leads to.
fn stdin(dial: &Child) -> String {
    let link = fs::read_link(format!("/proc/{}/fd/0", dial.id().unwrap()));
    link.unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_agent_reads_the_stdin_of_the_dial_itself() {
    let agent = Agent::new("stdin");
    let (client, mut dial) = agent.client().await;
    assert_eq!(client.shell("true").await.end["exitCode"], 0);
    let (pid, stdin) = (agent.pids()[0], stdin(&dial));
    assert!(descriptors(pid).contains(&stdin), "{stdin}");
    // A dial that is killed, and not only left, ends the connection, too.
    dial.kill().await.unwrap();
    eventually("the end of the connection", async || !descriptors(pid).contains(&stdin)).await;
}

#[tokio::test]
async fn an_agent_that_takes_no_stdin_is_copied_to() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    };
    let agent = Agent::new("copies");
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&agent.name).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        _ = sandglass_agent::serve(stream, &crate::client::agent()).await;
    });
    let (client, _dial) = agent.client().await;
    assert_eq!(client.shell("echo copied").await.out(), "copied\n");
}

#[tokio::test]
async fn a_dial_that_hands_nothing_over_is_served() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    };
    let agent = Agent::new("copying");
    let (client, _dial) = agent.client().await;
    assert_eq!(client.shell("true").await.end["exitCode"], 0);
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&agent.name).unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let other = Client::over(tokio::net::UnixStream::from_std(stream).unwrap()).await;
    assert_eq!(other.shell("echo served").await.out(), "served\n");
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_hangs_up_leaves_no_connection_behind() {
    let agent = Agent::new("unread");
    let (client, _dial) = agent.client().await;
    assert_eq!(client.shell("true").await.end["exitCode"], 0);
    let pid = agent.pids()[0];
    let mut dial = agent.dial();
    let ours = stdin(&dial);
    let mut stdin = dial.stdin.take().unwrap();
    // HTTP/2's beginning, and then so many pings that their answers fill every buffer on their way.
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..100_000 {
        sent.extend_from_slice(b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    let stuck = tokio::time::timeout(Duration::from_secs(2), stdin.write_all(&sent)).await.is_err();
    assert!(stuck, "the agent reads on though nobody reads its answers");
    drop(stdin);
    assert!(tokio::time::timeout(Duration::from_secs(20), dial.wait()).await.is_ok());
    eventually("the end of the connection", async || !descriptors(pid).contains(&ours)).await;
    assert_eq!(client.shell("true").await.end["exitCode"], 0, "others go on");
}

#[tokio::test]
async fn a_wrong_use_is_told_in_one_line() {
    for arguments in [&["dial"][..], &[], &["other", "name"]] {
        let output = Command::new(PROGRAM).args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
    let long = "x".repeat(200);
    let output = Command::new(PROGRAM).args(["dial", &long]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
}
