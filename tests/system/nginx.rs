//! An nginx for one test, ended with it.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const HOW_TO_GET_NGINX: &str = "this test needs nginx: `make test` installs it on Debian and Ubuntu; by hand: install nginx \
     (nginx-light is enough), it need not run";

/// How long it may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running nginx.
pub(crate) struct Nginx {
    child: Child,
    directory: TempDir,
}

/// A port that is free now, since nginx cannot report a port of its choice.
pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("its address").port()
}

impl Nginx {
    /// Starts one that listens on `port` of the loopback address, with this text inside its `http` block.
    ///
    /// # Panics
    /// Without nginx, with how to get it, or when it does not start.
    pub(crate) async fn start(port: u16, http: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory of nginx's own");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{http}\n}}\n"
        );
        fs::write(directory.path().join("nginx.conf"), configuration).expect("the configuration is written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        // It may be outside the `PATH`.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{HOW_TO_GET_NGINX} ({error})"));
        let mut nginx = Self { child, directory };
        let (deadline, address) = (Instant::now() + READY_WITHIN, SocketAddr::from(([127, 0, 0, 1], port)));
        while TcpStream::connect(address).is_err() {
            let ended = nginx.child.try_wait().expect("its state");
            assert!(ended.is_none() && Instant::now() < deadline, "nginx does not start: {}", nginx.log());
            sleep(Duration::from_millis(20)).await;
        }
        nginx
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
