//! One supervisor per prefix and engine, on any stores: a second one names the first, and touches nothing.

use std::{path::Path, time::Duration};

use redis::Commands;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{SLACK, directory};
use crate::support::{docker::Corner, program::Program, redis::RedisServer};

const EAGER: [&str; 4] = ["--set", "docker.reconcile_interval=1", "--set", "docker.orphan_grace=1"];
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// A directory, and the arguments of a supervisor that keeps its records there or in Redis.
struct Place {
    directory: TempDir,
    arguments: Vec<String>,
}

impl Place {
    fn new(corner: &Corner, store: &[&str]) -> Self {
        let arguments = [&["--prefix", corner.prefix.as_str()], &EAGER[..], store].concat();
        Self { directory: directory(), arguments: arguments.into_iter().map(str::to_owned).collect() }
    }

    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn serve(&self) -> Program {
        Program::serve(self.path(), &self.arguments()).await
    }

    /// Starts it while another supervisor is in charge. It has to end with 3 and name the other and its store.
    async fn is_refused(&self, store: &str) {
        let mut program = Program::spawn(self.path(), &self.arguments());
        let status = program.ended(ENDS_WITHIN).await;
        let log = program.log();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("another supervisor is in charge") && log.contains("instance"), "{log}");
        assert!(log.contains(store), "{store} is not named: {log}");
    }
}

/// The conflicts, with either supervisor first.
async fn exclude_each_other(corner: &Corner, places: [(&Place, &str); 2]) {
    for (first, second) in [(0, 1), (1, 0)] {
        let ((first, store), (second, _)) = (places[first], places[second]);
        let holder = first.serve().await;
        let created = holder.create(&json!({"id": "w", "idle_timeout": 600})).await;
        second.is_refused(store).await;
        assert_eq!(holder.post("/v1/sandboxes/w/activity", &Value::Null).await.status, 200);
        assert_eq!(holder.get("/readyz").await.status, 200);
        let container = created["container_id"].as_str().expect("an id");
        assert_eq!(corner.inspect(container).await.state.expect("a state").running, Some(true));
        assert_eq!(holder.delete("/v1/sandboxes/w?wait=20").await.status, 200);
        holder.stop().await;
    }
}

#[tokio::test]
async fn two_databases_of_one_redis_are_not_two_supervisors_of_one_prefix() {
    let (corner, redis) = (Corner::new().await, RedisServer::start());
    let urls = ["0", "1"].map(|database| format!("{}/{database}", redis.url()));
    let places = urls.each_ref().map(|url| Place::new(&corner, &["--redis-url", url]));
    exclude_each_other(&corner, [(&places[0], "database 0"), (&places[1], "database 1")]).await;
}

#[tokio::test]
async fn a_file_and_a_redis_are_not_two_supervisors_of_one_prefix() {
    let (corner, redis) = (Corner::new().await, RedisServer::start());
    let (file, redis) = (Place::new(&corner, &[]), Place::new(&corner, &["--redis-url", &redis.url()]));
    exclude_each_other(&corner, [(&file, "sandglass.redb"), (&redis, "database 0")]).await;
}

#[tokio::test]
async fn two_files_are_not_two_supervisors_of_one_prefix_whatever_their_directories_for_temporary_files() {
    let (corner, temporary) = (Corner::new().await, directory());
    let places = [Place::new(&corner, &[]), Place::new(&corner, &[])];
    let holder = places[0].serve().await;
    holder.create(&json!({"id": "w", "idle_timeout": 600})).await;
    let path = temporary.path().to_str().expect("text");
    let mut second = Program::spawn_with("127.0.0.1:0", places[1].path(), &[("TMPDIR", path)], &places[1].arguments());
    assert_eq!(second.ended(ENDS_WITHIN).await.code(), Some(3), "{}", second.log());
    assert!(second.log().contains(places[0].path().to_str().expect("text")), "{}", second.log());
    // The lock's file was not removed.
    let left = std::fs::read_dir(std::env::temp_dir()).expect("a directory").flatten();
    let named = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&corner.prefix)).count();
    assert_eq!(named, 0, "a lock depends on a directory");
    assert_eq!(holder.post("/v1/sandboxes/w/activity", &Value::Null).await.status, 200);
    exclude_each_other_when_free(holder, &places[1]).await;
}

async fn exclude_each_other_when_free(holder: Program, other: &Place) {
    assert_eq!(holder.delete("/v1/sandboxes/w?wait=20").await.status, 200);
    holder.stop().await;
    other.serve().await.stop().await;
}

#[tokio::test]
async fn a_standby_with_another_store_waits_and_then_takes_what_it_finds() {
    let (corner, redis) = (Corner::new().await, RedisServer::start());
    let (file, redis) = (Place::new(&corner, &[]), Place::new(&corner, &["--redis-url", &redis.url()]));
    let holder = file.serve().await;
    let created = holder.create(&json!({"id": "w", "idle_timeout": 600})).await;
    let mut standby = Program::stand_by(redis.path(), &redis.arguments()).await;
    let reasons = standby.get("/readyz").await.body["reasons"].to_string();
    assert!(reasons.contains("sandglass.redb"), "{reasons}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(holder.post("/v1/sandboxes/w/activity", &Value::Null).await.status, 200);
    holder.stop().await;
    standby.wait_until_ready().await;
    // The other store has no supervisor now, so its container counts as one with a lost record.
    let deadline = Instant::now() + Duration::from_secs(20);
    while standby.get("/v1/sandboxes/w").await.status != 200 {
        assert!(Instant::now() < deadline, "it is not adopted: {}", standby.log());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(standby.until("w", "running", SLACK).await["container_id"], created["container_id"]);
}

#[tokio::test]
async fn one_that_could_not_ask_the_engine_who_is_in_charge_touches_nothing_when_it_can() {
    let corner = Corner::new().await;
    let places = [Place::new(&corner, &[]), Place::new(&corner, &[])];
    let holder = places[0].serve().await;
    let created = holder.create(&json!({"id": "w", "idle_timeout": 600})).await;
    let socket = places[1].path().join("docker.sock");
    let address = format!("docker.host=unix://{}", socket.display());
    let mut arguments = places[1].arguments();
    arguments.extend(["--set", &address]);
    let mut second = Program::serve(places[1].path(), &arguments).await;
    assert_eq!(second.get("/v1/sandboxes").await.status, 200, "it waits for the engine");
    let engine = std::env::var("DOCKER_HOST").ok();
    let engine = engine.as_deref().and_then(|host| host.strip_prefix("unix://")).unwrap_or("/var/run/docker.sock");
    std::os::unix::fs::symlink(engine, &socket).expect("the engine is there again");
    assert_eq!(second.ended(ENDS_WITHIN).await.code(), Some(3), "{}", second.log());
    assert!(second.log().contains("another supervisor is in charge"), "{}", second.log());
    assert_eq!(holder.get("/v1/sandboxes/w").await.body["container_id"], created["container_id"]);
    assert_eq!(holder.get("/v1/sandboxes/w").await.body["status"], "running");
}

#[tokio::test]
async fn a_container_that_a_living_supervisor_of_another_host_made_is_reported_and_left_alone() {
    let corner = Corner::new().await;
    let place = Place::new(&corner, &[]);
    let program = place.serve().await;
    let own = program.create(&json!({"id": "own", "idle_timeout": 600})).await;
    let labels = corner.inspect(own["container_id"].as_str().expect("an id")).await.config.expect("a configuration");
    let labels = labels.labels.expect("labels");
    assert!(!labels["sandglass.store"].is_empty() && !labels["sandglass.domain"].is_empty(), "{labels:?}");

    let put = async |id: &str, domain: &str| {
        let sandbox = sandglass::domain::SandboxId::parse(id).expect("an id");
        let name = sandglass::domain::name::container_name(&corner.prefix, &sandbox);
        let labels = [
            ("sandglass.prefix", corner.prefix.as_str()),
            ("sandglass.id", id),
            ("sandglass.container", name.as_str()),
            ("sandglass.idle_timeout", "600"),
            ("sandglass.store", "another"),
            ("sandglass.domain", domain),
        ];
        corner.put(&name, &labels).await
    };
    let theirs = put("theirs", "another").await;
    // A store with the same name has no supervisor on this host.
    put("lost", &labels["sandglass.domain"]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while program.get("/v1/sandboxes/lost").await.status != 200 {
        assert!(Instant::now() < deadline, "what is left of a lost store is not adopted: {}", program.log());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(program.get("/v1/sandboxes/theirs").await.status, 404);
    assert_eq!(program.metric("sandglass_foreign_containers").await, 1.0);
    let told = program.log().lines().filter(|line| line.contains(&theirs) && line.contains("not ours")).count();
    assert_eq!(told, 1, "{}", program.log());
    // A sandbox with the same id does not take it over either.
    let refused = program.post("/v1/sandboxes", &json!({"id": "theirs"})).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (502, &json!("start_failed")), "{}", refused.body);
    program.until("theirs", "failed", SLACK).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(corner.inspect(&theirs).await.state.expect("a state").running, Some(true));
}

#[tokio::test]
async fn a_redis_that_lost_everything_keeps_its_identity_while_its_supervisor_lives() {
    let (corner, mut redis) = (Corner::new().await, RedisServer::start());
    let place = Place::new(&corner, &["--redis-url", &redis.url()]);
    let program = place.serve().await;
    let key = format!("{}:identity", corner.prefix);
    let before: String = redis.raw().get(&key).expect("an identity");
    redis.restart();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let now: Option<String> = redis.raw().get(&key).expect("an answer");
        if let Some(now) = now {
            assert_eq!(now, before);
            break;
        }
        assert!(Instant::now() < deadline, "the identity was not written again");
        sleep(Duration::from_millis(50)).await;
    }
    program.stop().await;
}

#[tokio::test]
async fn two_prefixes_can_have_the_same_id() {
    let (corner, other) = (Corner::new().await, Corner::new().await);
    let places = [&corner, &other].map(|corner| Place::new(corner, &[]));
    let programs = [places[0].serve().await, places[1].serve().await];
    let mut containers = Vec::new();
    for program in &programs {
        containers.push(program.create(&json!({"id": "w", "idle_timeout": 600})).await["container_id"].clone());
    }
    assert_ne!(containers[0], containers[1]);
    assert_eq!(programs[0].delete("/v1/sandboxes/w?wait=20").await.status, 200);
    assert_eq!(programs[1].get("/v1/sandboxes/w").await.body["status"], "running");
}
