//! Images of a registry that asks for a login.

use std::sync::Mutex;

use sandglass::{
    ports::runtime::{Runtime, Start, StartProgress},
    runtime::docker::{Docker, Login, Registries, Settings},
};
use tokio_util::sync::CancellationToken;

use super::failure;
use crate::support::{
    docker::{Corner, IMAGE, by_labels, start},
    registry::{PASSWORD, Registry, USER},
};

/// Large enough that its pull reports progress.
const BYTES: usize = 3_000_000;

fn logins(registry: &Registry, password: &str) -> Registries {
    let login = Login { username: USER.to_owned(), password: password.to_owned() };
    Registries { logins: [(registry.name(), login)].into(), client_config: None }
}

fn with(corner: &Corner, registries: Registries) -> Docker {
    Docker::connect(Settings { registries, ..corner.settings() }).unwrap()
}

fn of(image: &str) -> Start {
    let mut start = start();
    start.spec.image = image.to_owned();
    start
}

#[tokio::test]
async fn an_image_is_pulled_with_the_registrys_login_and_told_step_by_step() {
    let corner = Corner::new().await;
    let mut registry = Registry::start();
    let image = registry.put(&corner.client, IMAGE, BYTES).await;
    let (runtime, start) = (with(&corner, logins(&registry, PASSWORD)), of(&image));
    let told = Mutex::new(Vec::new());
    let progress = |phase| {
        if let StartProgress::Pulling { status } = phase {
            told.lock().unwrap().push(status);
        }
    };
    runtime.start(&start, &CancellationToken::new(), &progress).await.unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.len() >= 2 && told[0] == "waiting for its turn", "{told:?}");
    let container = corner.client.inspect_container(&start.name, None).await.unwrap();
    assert_eq!(container.config.unwrap().image.as_deref(), Some(image.as_str()));
    // The image is removed after its container.
    runtime.remove(&by_labels(&start)).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_wrong_or_missing_is_told_with_the_registry_and_where_it_was_looked_for() {
    let corner = Corner::new().await;
    let mut registry = Registry::start();
    let image = registry.put(&corner.client, IMAGE, 1).await;
    let name = registry.name();
    let message = failure(&with(&corner, logins(&registry, "wrong")), &of(&image)).await;
    assert!(message.contains(&format!("{name} was shown the login of docker.registries")), "{message}");
    assert!(!message.contains("wrong"), "{message}");
    let directory = tempfile::tempdir().unwrap();
    let registries = Registries { client_config: Some(directory.path().to_owned()), ..Registries::default() };
    let message = failure(&with(&corner, registries.clone()), &of(&image)).await;
    let file = directory.path().join("config.json");
    let looked = format!("there is no login for {name} in docker.registries or {}", file.display());
    assert!(message.contains(&image) && message.contains(&looked), "{message}");
    std::fs::write(&file, "{").unwrap();
    let message = failure(&with(&corner, registries), &of(&image)).await;
    assert!(message.contains("it is not the JSON of a Docker client"), "{message}");
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_docker_login_has_written_is_used() {
    let corner = Corner::new().await;
    let mut registry = Registry::start();
    let image = registry.put(&corner.client, IMAGE, 1).await;
    let directory = tempfile::tempdir().unwrap();
    // The user and the password in base64, with a colon between them.
    let auth = "cm9ib3Q6cD8+fnA/Pn5wPz5+";
    let config = serde_json::json!({"auths": {registry.name(): {"auth": auth}}}).to_string();
    std::fs::write(directory.path().join("config.json"), config).unwrap();
    let registries = Registries { client_config: Some(directory.path().to_owned()), ..Registries::default() };
    let (runtime, start) = (with(&corner, registries), of(&image));
    runtime.start(&start, &CancellationToken::new(), &|_| {}).await.unwrap();
    runtime.remove(&by_labels(&start)).await.unwrap();
}
