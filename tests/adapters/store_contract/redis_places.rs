//! Redis behind TLS, and the primary that Sentinel names.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::ExtendedKeyUsagePurpose;
use redis::Commands;
use sandglass::{
    ports::store::{Store, StoreError},
    store::{
        RedisStore,
        redis::{Settings, TlsFiles},
    },
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::laws::put;
use crate::{stores::Redis, support::redis::RedisServer, tls::Authority};

const WITHIN: Duration = Duration::from_secs(30);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn refused(result: Result<impl Sized, StoreError>) -> String {
    match result.map(|_| ()) {
        Err(StoreError::Unavailable(words)) => words,
        other => panic!("expected a refusal in words, got {other:?}"),
    }
}

/// A server that accepts TLS clients with a certificate of its authority.
struct Encrypted {
    directory: TempDir,
    port: u16,
    _server: RedisServer,
}

impl Encrypted {
    fn start() -> Self {
        let (directory, port, authority) = (tempfile::tempdir().unwrap(), free_port(), Authority::new());
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let ca = write("ca.pem", &authority.certificate);
        let (cert, key) = authority.issue("server", ExtendedKeyUsagePurpose::ServerAuth);
        let (cert, key) = (write("server.pem", &cert), write("server.key", &key));
        let (client, client_key) = authority.issue("client", ExtendedKeyUsagePurpose::ClientAuth);
        write("client.pem", &client);
        write("client.key", &client_key);
        let options = ["--tls-port", &port.to_string(), "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert];
        let server =
            RedisServer::start_with(&[&options[..], &["--tls-key-file", &key, "--requirepass", "sw0rdfish"]].concat());
        Self { directory, port, _server: server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn connect(&self, host: &str, tls: TlsFiles) -> Result<RedisStore, StoreError> {
        let url = format!("rediss://:sw0rdfish@{host}:{}/", self.port);
        RedisStore::connect(Settings { url, tls, ..Redis::settings_of("the first") })
    }
}

#[tokio::test]
async fn a_server_behind_tls_is_checked_and_is_shown_our_certificate() {
    let server = Encrypted::start();
    let (ca, client) = (server.path("ca.pem"), (server.path("client.pem"), server.path("client.key")));
    let whole = TlsFiles { ca: Some(ca.clone()), client: Some(client.clone()) };
    let store = server.connect("127.0.0.1", whole.clone()).unwrap();
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    assert_eq!(store.active(None, 10).await.unwrap().entries.len(), 1);

    let words = |host, tls| {
        let store = server.connect(host, tls).unwrap();
        async move { refused(store.active(None, 10).await) }
    };
    let nobody = words("127.0.0.1", TlsFiles { ca: Some(ca), client: None }).await;
    let strangers = words("127.0.0.1", TlsFiles { ca: None, client: Some(client.clone()) }).await;
    // The certificate is for another name.
    let elsewhere = words("localhost", whole).await;
    assert!(strangers.contains("certificate") && elsewhere.contains("certificate"), "{strangers}; {elsewhere}");
    for words in [nobody, strangers, elsewhere] {
        assert!(!words.contains("sw0rdfish"), "{words}");
    }

    let missing = refused(server.connect("127.0.0.1", TlsFiles { ca: Some(server.path("no.pem")), client: None }));
    assert!(missing.contains("store.redis_ca") && missing.contains("no.pem"), "{missing}");
    let (_, key) = client;
    refused(server.connect("127.0.0.1", TlsFiles { ca: None, client: Some((server.path("ca.pem"), key.join("x"))) }));
}

/// A sentinel that watches one server.
struct Sentinel {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Sentinel {
    fn of(server: &RedisServer) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let watched = server.port();
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor law 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds law 1000\nsentinel failover-timeout law 5000\n"
        );
        let path = directory.path().join("sentinel.conf");
        fs::write(&path, configuration).unwrap();
        let process = Command::new("redis-server")
            .arg(&path)
            .arg("--sentinel")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port, _directory: directory }
    }

    /// The server's port according to the sentinel; `None` while the sentinel does not answer.
    fn primary(&self) -> Option<u16> {
        let mut asked = redis::cmd("SENTINEL");
        let (_, port): (String, u16) = asked.arg("get-master-addr-by-name").arg("law").query(&mut self.raw()?).ok()?;
        Some(port)
    }

    fn knows_a_replica(&self) -> bool {
        let known: Option<Vec<redis::Value>> =
            self.raw().and_then(|mut raw| redis::cmd("SENTINEL").arg("replicas").arg("law").query(&mut raw).ok());
        known.is_some_and(|known| !known.is_empty())
    }

    fn raw(&self) -> Option<redis::Connection> {
        redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).ok()?.get_connection().ok()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what} within {WITHIN:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn the_primary_that_sentinel_names_is_used_also_after_a_fail_over() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let _: () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(old.port()).query(&mut new.raw()).unwrap();
    let sentinel = Sentinel::of(&old);
    sentinel.until("it answers", |sentinel| sentinel.primary() == Some(old.port())).await;
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:1/law/0", sentinel.port);
    let store = RedisStore::connect(Settings { url, ..Redis::settings_of("the first") }).unwrap();
    store.acquire().await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    assert!(old.raw().exists::<_, bool>("law-session:a").unwrap());
    sentinel.until("it knows the replica", Sentinel::knows_a_replica).await;
    let deadline = Instant::now() + WITHIN;
    // The sentinel refuses until it has heard from the replica often enough.
    while redis::cmd("SENTINEL").arg("failover").arg("law").query::<()>(&mut sentinel.raw().unwrap()).is_err() {
        assert!(Instant::now() < deadline, "no fail-over within {WITHIN:?}");
        sleep(Duration::from_millis(200)).await;
    }
    sentinel.until("the replica is the primary", |sentinel| sentinel.primary() == Some(new.port())).await;
    let deadline = Instant::now() + WITHIN;
    while store.commit(&[put("a", "2")]).await.is_err() {
        assert!(Instant::now() < deadline, "no commit within {WITHIN:?}");
        sleep(Duration::from_millis(50)).await;
    }
    // The sentinel makes the old server a replica, and writes go where the sentinel points.
    let deadline = Instant::now() + WITHIN;
    loop {
        store.commit(&[put("a", "3")]).await.ok();
        let record: Option<String> = new.raw().hget("law-session:a", "__sandbox__").unwrap();
        if record.as_deref() == Some("3") {
            return;
        }
        assert!(Instant::now() < deadline, "the new primary is not written to: {record:?}");
        sleep(Duration::from_millis(100)).await;
    }
}
