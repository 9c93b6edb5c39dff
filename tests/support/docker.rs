//! Real containers for tests, under a prefix of each test's own, and removed even when the test fails.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    body_full,
    models::{ContainerConfig, ContainerCreateBody, ContainerInspectResponse, NetworkCreateRequest},
    query_parameters::{
        CommitContainerOptionsBuilder, ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder,
        CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
        ListImagesOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use sandglass::{
    domain::{
        SandboxId,
        egress::{self, Egress},
        spec::{Limits, Readiness, StartSpec},
    },
    drill::{Fault, Relay},
    ports::runtime::{ContainerRef, Labels, Owner, Start},
    runtime::docker::{self, Docker, Ports, Registries, Settings},
};

use sandglass_agent::walls::Firewall;

use super::quiet::Noise;

/// The image of all tests; `make test` makes it from the host's busybox.
pub const IMAGE: &str = "busybox:stable";

/// Debian with bash and Python; `make test` makes it from the distribution's packages.
pub const DEBIAN: &str = "sandglass-test/debian:stable";

const HOW_TO_GET_DOCKER: &str = "this test needs a Docker daemon and the image busybox:stable: `make test` sets both \
     up; by hand: start dockerd (or set DOCKER_HOST), then `docker pull busybox:stable`";

/// The label of containers that a test made behind the runtime's back.
pub const TEST: &str = "sandglass.test";

/// A test's part of the Docker daemon. Dropping it removes every container in it.
pub struct Corner {
    pub prefix: String,
    pub client: bollard::Docker,
    /// The ids of images that the test made.
    images: Mutex<Vec<String>>,
    _noise: Noise,
}

impl Corner {
    /// A new corner.
    ///
    /// # Panics
    /// Without Docker or the image, with how to get them.
    pub async fn new() -> Self {
        let noise = Noise::begin();
        let client = bollard::Docker::connect_with_defaults().expect(HOW_TO_GET_DOCKER);
        client.inspect_image(IMAGE).await.expect(HOW_TO_GET_DOCKER);
        Self { prefix: format!("test-{}", SandboxId::generate()), client, images: Mutex::default(), _noise: noise }
    }

    /// Settings with short times, so that failures show soon.
    pub fn settings(&self) -> Settings {
        Settings {
            host: None,
            tls: false,
            cert_path: "/".into(),
            ports: Ports::default(),
            subnets: "10.213.0.0/16".parse().expect("a range"),
            firewall: docker::Firewall::Auto,
            isolated: false,
            registries: Registries::default(),
            prefix: self.prefix.clone(),
            concurrency: 8,
            stop_grace: Duration::from_secs(1),
            call_timeout: Duration::from_secs(30),
            pull_timeout: Duration::from_secs(30),
        }
    }

    /// A runtime with these settings.
    pub fn runtime(&self) -> Docker {
        Docker::connect(self.settings()).expect("the host's address is understood")
    }

    /// The ids of all containers that carry this corner's prefix.
    pub async fn containers(&self) -> Vec<String> {
        self.containers_of_prefix(&self.prefix).await
    }

    /// The ids of all containers that carry `prefix`.
    pub async fn containers_of_prefix(&self, prefix: &str) -> Vec<String> {
        labelled(&self.client, &format!("sandglass.prefix={prefix}")).await
    }

    /// Everything that the engine knows of a container.
    pub async fn inspect(&self, id: &str) -> ContainerInspectResponse {
        self.client.inspect_container(id, None).await.expect("the container is there")
    }

    /// Runs a container with these labels behind the runtime's back, and returns its id.
    pub async fn put(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let id = self.create(name, labels).await;
        self.client.start_container(&id, None).await.expect("the container starts");
        id
    }

    /// `docker commit`. Returns the id of the image, which is removed with the corner.
    pub async fn commit(&self, container: &str) -> String {
        let options = CommitContainerOptionsBuilder::default().container(container).build();
        let image = self.client.commit_container(options, ContainerConfig::default()).await.expect("an image").id;
        self.keep(image)
    }

    /// Like [`Self::commit`]; what is run of the image runs as `user`.
    pub async fn commit_as(&self, container: &str, user: &str) -> String {
        let options = CommitContainerOptionsBuilder::default().container(container).build();
        let config = ContainerConfig { user: Some(user.to_owned()), ..Default::default() };
        let image = self.client.commit_container(options, config).await.expect("an image").id;
        self.keep(image)
    }

    /// `docker import`: the id of an image with the files of this tar. It is removed with the corner.
    pub async fn import(&self, tar: Vec<u8>, changes: &[&str]) -> String {
        let name = format!("sandglass-{}", self.prefix);
        let changes = changes.iter().map(|change| (*change).to_owned()).collect();
        let options =
            CreateImageOptionsBuilder::default().from_src("-").repo(&name).tag("test").changes(changes).build();
        let mut steps = std::pin::pin!(self.client.create_image(Some(options), Some(body_full(tar.into())), None));
        while let Some(step) = steps.next().await {
            step.expect("the engine takes the tar");
        }
        let image = format!("{name}:test");
        self.client.inspect_image(&image).await.expect("the image");
        self.keep(image)
    }

    fn keep(&self, image: String) -> String {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
        image
    }

    /// The content of a file of an image.
    pub async fn file(&self, image: &str, path: &str) -> Vec<u8> {
        let container = self.create_of(image, &format!("of-{}", SandboxId::generate()), &[]).await;
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let parts = self.client.download_from_container(&container, Some(options));
        let tar: Vec<_> = parts.map(|part| part.expect("a part of the file")).collect().await;
        let tar = tar.concat();
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut content = Vec::new();
        let file = archive.entries().expect("a tar").next().expect("a file").expect("a sound file");
        std::io::copy(&mut { file }, &mut content).expect("its content");
        content
    }

    /// Whether a container has a file.
    pub async fn has_file(&self, container: &str, path: &str) -> bool {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        self.client.get_container_archive_info(container, Some(options)).await.is_ok()
    }

    /// Puts the files of a tar into a container.
    pub async fn upload(&self, container: &str, tar: Vec<u8>) {
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let upload = self.client.upload_to_container(container, Some(options), body_full(tar.into()));
        upload.await.expect("the files are taken");
    }

    /// Runs a container of this description, and returns its id.
    pub async fn run_body(&self, name: &str, mut body: ContainerCreateBody) -> String {
        body.labels.get_or_insert_default().insert(TEST.to_owned(), self.prefix.clone());
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let id = self.client.create_container(Some(options), body).await.expect("a container for the test").id;
        self.client.start_container(&id, None).await.expect("the container starts");
        id
    }

    /// `docker run` of any image.
    pub async fn run(&self, image: &str, name: &str, labels: &[(&str, &str)]) -> String {
        let id = self.create_of(image, name, labels).await;
        self.client.start_container(&id, None).await.expect("the container starts");
        id
    }

    /// Like [`Self::put`], without starting the container.
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
            for label in ["sandglass.prefix", "sandglass.firewall", TEST].map(|label| format!("{label}={prefix}")) {
                for id in labelled(&client, &label).await {
                    let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
                    // A concurrent removal is as good.
                    let _ = client.remove_container(&id, Some(options)).await;
                }
            }
            remove_walls(&client, &prefix).await;
            let snapshots = HashMap::from([("label".to_owned(), vec![format!("sandglass.snapshot.prefix={prefix}")])]);
            let options = ListImagesOptionsBuilder::default().filters(&snapshots).build();
            let mut images = images;
            for image in client.list_images(Some(options)).await.unwrap_or_default() {
                images.push(image.id);
            }
            // Later images may be made of earlier ones.
            for image in images.iter().rev() {
                let options = RemoveImageOptionsBuilder::default().force(true).build();
                let _ = client.remove_image(image, Some(options), None).await;
            }
        });
    }
}

/// A network for one test. Drop it after the corner whose containers are on it.
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

/// Does `work` on a new thread and reactor, since the test's reactor may be ending in a panic.
pub fn clean_up<F: Future<Output = ()>>(work: impl FnOnce(bollard::Docker) -> F + Send + 'static) {
    let cleaner = std::thread::spawn(move || {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a reactor");
        let client = bollard::Docker::connect_with_defaults().expect(HOW_TO_GET_DOCKER);
        reactor.block_on(work(client));
    });
    let _ = cleaner.join();
}

/// Removes the networks of a prefix that nothing is on any more, and its firewall's table.
async fn remove_walls(client: &bollard::Docker, prefix: &str) {
    let filters = HashMap::from([("label".to_owned(), vec![format!("sandglass.prefix={prefix}")])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = client.list_networks(Some(options)).await.unwrap_or_default();
    for network in &networks {
        let _ = client.remove_network(network.name.as_deref().unwrap_or_default()).await;
    }
    if !networks.is_empty()
        && let Ok(mut firewall) = Firewall::open()
    {
        let _ = firewall.delete(&format!("sandglass-{prefix}"));
    }
}

async fn labelled(client: &bollard::Docker, label: &str) -> Vec<String> {
    let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = client.list_containers(Some(options)).await.expect("the containers' list");
    found.into_iter().filter_map(|container| container.id).collect()
}

/// The path of the engine's socket.
pub fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// A relay in front of the engine with this fault.
pub async fn relay(fault: Fault) -> Relay {
    let relay = relay_at("127.0.0.1:0").await;
    relay.set(fault);
    relay
}

/// A relay in front of the engine, listening at this address.
pub async fn relay_at(address: &str) -> Relay {
    Relay::to_docker_at(address, &socket()).await.expect("a relay")
}

/// Holds back requests whose line contains every part of `rule`; `*` separates the parts.
pub fn held(rule: &'static str) -> Fault {
    Fault::Hold { parts: rule.split('*').collect() }
}

/// Loses the answers to requests whose line contains every part of `rule`.
pub fn answer_lost(rule: &'static str) -> Fault {
    Fault::LoseAnswer { parts: rule.split('*').collect() }
}

/// A start of a container that only sleeps, with a new id.
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
            agent: false,
            mounts: Vec::new(),
            network: egress::Network::Default,
            egress: Egress::default(),
            readiness: Readiness::Started,
            ready_timeout: Duration::from_secs(20),
        },
        labels: Labels::default(),
    }
}

/// A command that runs `script` in a shell.
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
