//! Images that are made of a sandbox's container pass its labels on to other containers, which are left alone.

use std::{path::Path, time::Duration};

use sandglass::domain::{SandboxId, name::container_name};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{docker::Corner, program::Program};

/// The containers that a user makes from a sandbox's container.
struct Copies {
    ids: Vec<String>,
}

impl Copies {
    async fn of(container: &str, corner: &Corner) -> Self {
        let name = |name: &str| format!("{name}-{}", corner.prefix);
        let snapshot = corner.commit(container).await;
        let mine = corner.run(&snapshot, &name("mine"), &[]).await;
        let relabelled = corner.run(&snapshot, &name("relabelled"), &[("sandglass.id", "other")]).await;
        let built_from_it = corner.commit(&mine).await;
        let built = corner.run(&built_from_it, &name("built"), &[]).await;
        Self { ids: vec![mine, relabelled, built] }
    }

    async fn must_run(&self, corner: &Corner, when: &str) {
        for id in &self.ids {
            let found = corner.client.inspect_container(id, None).await;
            let running = found.ok().and_then(|found| found.state?.running);
            assert_eq!(running, Some(true), "a container of somebody else's was touched {when}");
        }
    }
}

const EAGER: [&str; 4] = ["--set", "docker.reconcile_interval=1", "--set", "docker.orphan_grace=1"];

async fn serve(directory: &Path, corner: &Corner) -> Program {
    let arguments = [&["--prefix", corner.prefix.as_str()][..], &EAGER].concat();
    Program::serve(directory, &arguments).await
}

/// Waits until containers that are as old as any now have been compared with the sandboxes: the last one of them names
/// itself and has never run, so it is removed.
async fn all_is_compared(corner: &Corner) {
    let witness = SandboxId::generate();
    let name = container_name(&corner.prefix, &witness);
    let labels = [
        ("sandglass.prefix", corner.prefix.as_str()),
        ("sandglass.id", witness.as_str()),
        ("sandglass.container", name.as_str()),
    ];
    let id = corner.create(&name, &labels).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while corner.client.inspect_container(&id, None).await.is_ok() {
        assert!(Instant::now() < deadline, "a container without a sandbox is still there");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn containers_of_an_image_that_was_made_of_a_sandbox_are_their_owners() {
    let (directory, corner) = (super::directory(), Corner::new().await);
    let mut program = serve(directory.path(), &corner).await;
    let created = program.create(&json!({"id": "w", "idle_timeout": 600})).await;
    let container = created["container_id"].as_str().expect("an id").to_owned();
    let copies = Copies::of(&container, &corner).await;
    for _ in 0..2 {
        all_is_compared(&corner).await;
    }
    copies.must_run(&corner, "while the sandbox lived").await;
    assert_eq!(program.get("/v1/sandboxes/other").await.status, 404, "a copy was adopted");
    let log = program.log();
    for id in &copies.ids {
        let told = log.lines().filter(|line| line.contains(id.as_str()) && line.contains("is not ours")).count();
        assert_eq!(told, 1, "{log}");
    }

    // Without the store's file, only the sandbox's own container is adopted.
    program.kill().await;
    std::fs::remove_dir_all(directory.path().join(".sandglass")).expect("the store's directory is there");
    program = serve(directory.path(), &corner).await;
    all_is_compared(&corner).await;
    let adopted = program.until("w", "running", super::SLACK).await;
    assert_eq!(adopted["container_id"], json!(container));
    copies.must_run(&corner, "after the store was lost").await;
    assert_eq!(program.get("/v1/sandboxes/other").await.status, 404, "a copy was adopted");

    let gone = program.delete("/v1/sandboxes/w?wait=20").await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    for _ in 0..2 {
        all_is_compared(&corner).await;
    }
    copies.must_run(&corner, "after the sandbox had ended").await;
    assert!(corner.client.inspect_container(&container, None).await.is_err(), "its own container is left");
}

#[tokio::test]
async fn a_sandbox_of_an_image_that_was_made_of_another_one_has_labels_of_its_own() {
    let (directory, corner) = (super::directory(), Corner::new().await);
    let program = serve(directory.path(), &corner).await;
    let labels = [("sandglass.id", "first"), ("sandglass.idle_timeout", "600"), ("sandglass.paused_timeout", "77")];
    let first = corner.put(&format!("first-{}", corner.prefix), &labels).await;
    let snapshot = corner.commit(&first).await;
    let second = program.create(&json!({"id": "second", "idle_timeout": 900, "image": snapshot})).await;
    let labels = corner.inspect(second["container_id"].as_str().expect("an id")).await.config.expect("a configuration");
    let labels = labels.labels.expect("labels");
    let expected = [("sandglass.id", "second"), ("sandglass.idle_timeout", "900"), ("sandglass.paused_timeout", "")];
    for (label, value) in expected {
        assert_eq!(labels.get(label).map(String::as_str), Some(value), "{label}");
    }
}
