//! Real containers for tests: under a prefix of each test's own, and removed also when it fails.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    models::{ContainerConfig, ContainerCreateBody, ContainerInspectResponse, NetworkCreateRequest},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    },
};
use sandglass::{
    domain::{
        SandboxId,
        spec::{Limits, Readiness, StartSpec},
    },
    drill::{Fault, Relay},
    ports::runtime::{ContainerRef, Labels, Owner, Start},
    runtime::docker::{Docker, Ports, Registries, Settings},
};

use super::quiet::Noise;

/// The image of all tests; `make test` makes it from the host's busybox.
pub const IMAGE: &str = "busybox:stable";

const HOW_TO_GET_DOCKER: &str = "this test needs a Docker daemon and the image busybox:stable: `make test` sets both \
     up; by hand: start dockerd (or set DOCKER_HOST), then `docker pull busybox:stable`";

/// The label of containers that a test made behind the runtime's back.
pub const TEST: &str = "sandglass.test";

/// A test's own corner of the Docker daemon. Dropping it removes every container in it.
pub struct Corner {
    pub prefix: String,
    pub client: bollard::Docker,
    /// The ids of images that a test has made.
    images: Mutex<Vec<String>>,
    _noise: Noise,
}

impl Corner {
    /// A new corner.
    ///
    /// # Panics
    /// When Docker or the image is not there, with the sentence that says how to get them.
    pub async fn new() -> Self {
        let noise = Noise::begin();
        let client = bollard::Docker::connect_with_defaults().expect(HOW_TO_GET_DOCKER);
        client.inspect_image(IMAGE).await.expect(HOW_TO_GET_DOCKER);
        Self { prefix: format!("test-{}", SandboxId::generate()), client, images: Mutex::default(), _noise: noise }
    }

    /// Settings for this corner: short times, so that a failure shows soon.
    pub fn settings(&self) -> Settings {
        Settings {
            host: None,
            tls: false,
            cert_path: "/".into(),
            ports: Ports::default(),
            registries: Registries::default(),
            prefix: self.prefix.clone(),
            concurrency: 8,
            stop_grace: Duration::from_secs(1),
            call_timeout: Duration::from_secs(30),
            pull_timeout: Duration::from_secs(30),
        }
    }

    /// The runtime over this corner.
    pub fn runtime(&self) -> Docker {
        Docker::connect(self.settings()).expect("the host's address is understood")
    }

    /// The ids of all containers that carry the runtime's labels of this corner.
    pub async fn containers(&self) -> Vec<String> {
        self.containers_of_prefix(&self.prefix).await
    }

    /// The same of another prefix.
    pub async fn containers_of_prefix(&self, prefix: &str) -> Vec<String> {
        labelled(&self.client, &format!("sandglass.prefix={prefix}")).await
    }

    /// Everything that the engine knows of a container.
    pub async fn inspect(&self, id: &str) -> ContainerInspectResponse {
        self.client.inspect_container(id, None).await.expect("the container is there")
    }

    /// A running container with these labels, made behind the runtime's back; its id.
    pub async fn put(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let id = self.create(name, labels).await;
        self.client.start_container(&id, None).await.expect("the container starts");
        id
    }

    /// `docker commit`: an image that is made of a container; its id. It is removed with the corner.
    pub async fn commit(&self, container: &str) -> String {
        let options = CommitContainerOptionsBuilder::default().container(container).build();
        let image = self.client.commit_container(options, ContainerConfig::default()).await.expect("an image").id;
        self.images.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
        image
    }

    /// `docker run` of any image.
    pub async fn run(&self, image: &str, name: &str, labels: &[(&str, &str)]) -> String {
        let id = self.create_of(image, name, labels).await;
        self.client.start_container(&id, None).await.expect("the container starts");
        id
    }

    /// The same as [`Self::put`], without starting it.
    pub async fn create(&self, name: &str, labels: &[(&str, &str)]) -> String {
        self.create_of(IMAGE, name, labels).await
    }

    async fn create_of(&self, image: &str, name: &str, labels: &[(&str, &str)]) -> String {
        let mut labels: HashMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        labels.insert(TEST.to_owned(), self.prefix.clone());
        let host_config = bollard::models::HostConfig { init: Some(true), ..Default::default() };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            labels: Some(labels),
            host_config: Some(host_config),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        self.client.create_container(Some(options), body).await.expect("a container for the test").id
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        let prefix = self.prefix.clone();
        let images = std::mem::take(&mut *self.images.lock().unwrap_or_else(PoisonError::into_inner));
        clean_up(async move |client| {
            for label in [format!("sandglass.prefix={prefix}"), format!("{TEST}={prefix}")] {
                for id in labelled(&client, &label).await {
                    let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
                    // Whoever else is removing it does it as well.
                    let _ = client.remove_container(&id, Some(options)).await;
                }
            }
            // The last one may be made of the one before it.
            for image in images.iter().rev() {
                let options = RemoveImageOptionsBuilder::default().force(true).build();
                let _ = client.remove_image(image, Some(options), None).await;
            }
        });
    }
}

/// A network of a test's own; dropped after the corner whose containers are on it.
pub struct Network {
    pub name: String,
}

impl Network {
    /// A new network.
    pub async fn new() -> Self {
        let name = format!("test-{}", SandboxId::generate());
        let client = bollard::Docker::connect_with_defaults().expect(HOW_TO_GET_DOCKER);
        let request = NetworkCreateRequest { name: name.clone(), ..Default::default() };
        client.create_network(request).await.expect("a network for the test");
        Self { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let name = self.name.clone();
        clean_up(async move |client| {
            let _ = client.remove_network(&name).await;
        });
    }
}

/// Does `work` on a thread and a reactor of its own: the test's reactor may be going down with a panic.
pub fn clean_up<F: Future<Output = ()>>(work: impl FnOnce(bollard::Docker) -> F + Send + 'static) {
    let cleaner = std::thread::spawn(move || {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
        let client = bollard::Docker::connect_with_defaults().expect(HOW_TO_GET_DOCKER);
        reactor.block_on(work(client));
    });
    let _ = cleaner.join();
}

async fn labelled(client: &bollard::Docker, label: &str) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = client.list_containers(Some(options)).await.expect("the containers' list");
    found.into_iter().filter_map(|container| container.id).collect()
}

/// Where the engine listens.
pub fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// A relay in front of the engine that does this to what goes through it.
pub async fn relay(fault: Fault) -> Relay {
    let relay = relay_at("127.0.0.1:0").await;
    relay.set(fault);
    relay
}

/// A relay in front of the engine that listens at this address.
pub async fn relay_at(address: &str) -> Relay {
    Relay::to_docker_at(address, &socket()).await.expect("a relay")
}

/// Holds requests back whose line contains every part of `rule`; a `*` stands between two parts.
pub fn held(rule: &'static str) -> Fault {
    Fault::Hold { parts: rule.split('*').collect() }
}

/// Loses the answers of such requests.
pub fn answer_lost(rule: &'static str) -> Fault {
    Fault::LoseAnswer { parts: rule.split('*').collect() }
}

/// What to start: a container that only sleeps, with names of its own.
pub fn start() -> Start {
    let id = SandboxId::generate();
    Start {
        name: format!("sandglass-{id}"),
        id,
        spec: StartSpec {
            image: IMAGE.to_owned(),
            command: None,
            env: [].into(),
            ports: Vec::new(),
            limits: Limits::default(),
            init: true,
            privilege_escalation: false,
            mounts: Vec::new(),
            readiness: Readiness::Started,
            ready_timeout: Duration::from_secs(20),
        },
        labels: Labels::default(),
    }
}

/// The command that lets the shell do this.
pub fn shell(script: &str) -> Option<Vec<String>> {
    Some(["sh", "-c", script].map(str::to_owned).to_vec())
}

/// The sandbox's container, known by its labels only.
pub fn by_labels(start: &Start) -> ContainerRef {
    ContainerRef::by_labels(start.id.clone(), Owner::Sandglass)
}

/// The sandbox's container, known by its id.
pub fn by_id(start: &Start, container_id: &str) -> ContainerRef {
    ContainerRef { container_id: Some(container_id.to_owned()), ..by_labels(start) }
}
