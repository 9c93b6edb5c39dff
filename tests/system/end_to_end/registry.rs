//! Registries whose login comes from a credential helper of the Docker client.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use super::directory;
use crate::support::{
    docker::{Corner, IMAGE},
    program::Program,
    registry::{PASSWORD, Registry, USER},
};

/// Serves with a Docker client's configuration that names a helper for `registry`, which is this script.
async fn with_helper(
    directory: &TempDir,
    corner: &Corner,
    registry: &Registry,
    script: &str,
    arguments: &[&str],
) -> Program {
    let client = directory.path().join("client");
    fs::create_dir(&client).expect("a directory");
    let config = json!({"credHelpers": {registry.name(): "of-the-test"}}).to_string();
    fs::write(client.join("config.json"), config).expect("the client's configuration");
    let helper = client.join("docker-credential-of-the-test");
    fs::write(&helper, format!("#!/bin/sh\n{script}\n")).expect("the helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let client = client.display().to_string();
    let path = format!("{client}:{}", std::env::var("PATH").expect("a PATH"));
    let variables = [("DOCKER_CONFIG", client.as_str()), ("PATH", path.as_str())];
    let arguments = [&["--prefix", corner.prefix.as_str()], arguments].concat();
    Program::serve_with(directory.path(), &variables, &arguments).await
}

#[tokio::test]
async fn a_credential_helper_is_asked_for_the_registry_and_its_secret_is_in_no_log() {
    let (directory, mut registry, corner) = (directory(), Registry::start(), Corner::new().await);
    let image = registry.put(&corner.client, IMAGE, 1).await;
    let name = registry.name();
    let script = format!(
        "read registry; test \"$1 $registry\" = 'get {name}' || exit 1\n\
         echo '{{\"ServerURL\": \"{name}\", \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'"
    );
    let talkative = ["--log-level", "warn,sandglass=trace,bollard=trace,hyper=trace,hyper_util=trace"];
    let program = with_helper(&directory, &corner, &registry, &script, &talkative).await;
    let created = program.create(&json!({"id": "private", "image": image})).await;
    assert_eq!(created["status"], "running");
    assert_eq!(program.delete("/v1/sandboxes/private?wait=20").await.status, 200);
    let log = program.stop().await;
    assert!(log.contains("TRACE") && log.contains("/images/create"), "the log says too little to tell anything");
    // In plain text, and in the base64 of the request.
    assert!(!log.contains(PASSWORD) && !log.contains("cD8-fnA_Pn5wPz5-") && !log.contains("cD8+fnA/Pn5wPz5+"));
}

#[tokio::test]
async fn a_credential_helper_that_hangs_costs_one_start_its_time_and_holds_up_no_stop() {
    let (directory, mut registry, corner) = (directory(), Registry::start(), Corner::new().await);
    let image = registry.put(&corner.client, IMAGE, 1).await;
    let process = directory.path().join("helper");
    let script = format!("echo $$ > {}; exec sleep 600", process.display());
    let program = with_helper(&directory, &corner, &registry, &script, &["--set", "docker.call_timeout=5"]).await;
    let _helper = Helper(&process);
    let refused = program.post("/v1/sandboxes", &json!({"image": image})).await;
    let message = refused.body["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(refused.status, 502, "{message}");
    assert!(message.contains(&registry.name()) && message.contains("no answer within 5s"), "{message}");
    tokio::time::timeout(Duration::from_secs(15), program.stop()).await.expect("it stops in its usual time");
}

/// A helper that never ends by itself.
struct Helper<'a>(&'a Path);

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        let Ok(process) = fs::read_to_string(self.0).unwrap_or_default().trim().parse() else { return };
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::Signal::SIGKILL);
    }
}
