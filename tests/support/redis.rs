//! A Redis server for one test, on a free port, in a temporary directory, without persistence.

use std::{
    io,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// How often, and with which pause, a condition is checked before the test fails: 20 seconds.
const ATTEMPTS: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(10);

/// A running server; killed when it is dropped.
pub struct RedisServer {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more options of redis-server, for example `["--requirepass", "secret"]`.
    pub fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { directory, port: 0, options, process: None };
        // Another process may take the port before the server does.
        for _ in 0..10 {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            server.port = probe.local_addr().expect("its number").port();
            drop(probe);
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server did not start on any of ten ports");
    }

    /// Starts it again on the same port, with the data that it persisted (by default none).
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.try_start(), "redis-server did not start again on port {}", self.port);
    }

    /// Sends SIGKILL.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the process: connections stay open without answers.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`RedisServer::hang`]; the server then handles what was sent meanwhile.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection for raw commands.
    pub fn raw(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .expect("a connection to redis-server")
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("a running redis-server");
        let pid = i32::try_from(process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a signal to redis-server");
    }

    /// Waits until it answers; `false` if the process ends, as it does when the port is taken.
    fn try_start(&mut self) -> bool {
        let spawned = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
                "redis-server is needed: run `make test`, which installs it on Debian and Ubuntu, or install Redis"
            ),
            Err(error) => panic!("failed to start redis-server: {error}"),
        };
        for _ in 0..ATTEMPTS {
            if process.try_wait().expect("its state").is_some() {
                return false;
            }
            if self.answers() {
                self.process = Some(process);
                return true;
            }
            thread::sleep(PAUSE);
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("redis-server did not answer on port {}", self.port);
    }

    /// Any answer will do, since a server with a password refuses a ping.
    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut byte = [0];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut byte).is_ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}
