//! Docker by hand: changes to containers behind Sandglass's back.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{
        ContainerConfig, ContainerCreateBody, ContainerInspectResponse, HostConfig, NetworkConnectRequest,
        NetworkDisconnectRequest,
    },
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
        RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use tokio::time::sleep;

use super::options::Options;

const TIMEOUT_SECONDS: u64 = 120;

/// How often, and after which pause, containers are listed and removed before the drill gives up.
const CLEAR_LOOKS: usize = 30;
const CLEAR_PAUSE: Duration = Duration::from_millis(500);

/// The label of containers that a drill made itself.
const DRILL: &str = "sandglass.drill";

/// The second prefix of a drill.
pub(super) fn other(prefix: &str) -> String {
    format!("{prefix}-other")
}

/// A client of the engine, for the containers of one drill. Calls fail when Docker refuses them or does not answer.
pub(super) struct Hand {
    /// The client, or why it could not be made.
    docker: Result<Docker, String>,
    prefix: String,
    image: String,
}

impl Hand {
    pub(super) fn new(options: &Options, prefix: &str) -> Self {
        let host = options.docker_host.as_str();
        let docker = match host.split_once("://") {
            Some(("tcp" | "http", _)) => Docker::connect_with_http(host, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
            _ => Docker::connect_with_unix(host, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
        };
        Self {
            docker: docker.map_err(|error| error.to_string()),
            prefix: prefix.to_owned(),
            image: options.image.clone(),
        }
    }

    pub(super) fn docker(&self) -> anyhow::Result<&Docker> {
        self.docker.as_ref().map_err(|error| anyhow::anyhow!("failed to reach Docker: {error}"))
    }

    /// Checks that Docker answers and has the image. The error says what to do about it.
    pub(super) async fn check(&self) -> anyhow::Result<()> {
        let docker = self.docker()?;
        docker.ping().await.context("Docker does not answer")?;
        docker.inspect_image(&self.image).await.with_context(|| {
            let image = &self.image;
            format!("the image {image} is not there: `docker pull {image}`, or name another one with --image")
        })?;
        Ok(())
    }

    /// The ids of all containers that instances of this drill made, running or not.
    pub(super) async fn containers(&self) -> anyhow::Result<Vec<String>> {
        self.containers_of_prefix(&self.prefix).await
    }

    pub(super) async fn containers_of_prefix(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        self.labelled(&format!("sandglass.prefix={prefix}")).await
    }

    pub(super) async fn containers_of(&self, sandbox: &str) -> anyhow::Result<Vec<String>> {
        let own = self.containers().await?;
        let mut found = self.labelled(&format!("sandglass.id={sandbox}")).await?;
        found.retain(|id| own.contains(id));
        Ok(found)
    }

    pub(super) async fn runs(&self, id: &str) -> anyhow::Result<bool> {
        Ok(self.inspect(id).await?.and_then(|found| found.state?.running).unwrap_or(false))
    }

    /// Describes a container by its name, id and status.
    pub(super) async fn describe(&self, id: &str) -> anyhow::Result<String> {
        let found = self.inspect(id).await?;
        let name = found.as_ref().and_then(|found| found.name.clone()).unwrap_or_default();
        let state = found.and_then(|found| found.state?.status).map(|status| status.to_string()).unwrap_or_default();
        Ok(format!("the container {} ({id}, {state})", name.trim_start_matches('/')))
    }

    pub(super) async fn is_frozen(&self, id: &str) -> anyhow::Result<bool> {
        Ok(self.inspect(id).await?.and_then(|found| found.state?.paused).unwrap_or(false))
    }

    async fn labelled(&self, label: &str) -> anyhow::Result<Vec<String>> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker()?.list_containers(Some(options)).await.context("failed to list the containers")?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// `docker inspect`; `None` without such a container.
    pub(super) async fn inspect(&self, id: &str) -> anyhow::Result<Option<ContainerInspectResponse>> {
        match self.docker()?.inspect_container(id, None).await {
            Ok(found) => Ok(Some(found)),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).context("failed to inspect a container"),
        }
    }

    /// Where the container's port 80 is published, as a sandbox's `base_url` has it.
    pub(super) async fn address(&self, id: &str) -> anyhow::Result<String> {
        let found = self.inspect(id).await?.context("there is no such container")?;
        let ports = found.network_settings.and_then(|network| network.ports).unwrap_or_default();
        let binding = ports.get("80/tcp").cloned().flatten().unwrap_or_default().into_iter().next();
        let binding = binding.context("its port 80 is not published")?;
        let (ip, port) = (binding.host_ip.unwrap_or_default(), binding.host_port.unwrap_or_default());
        Ok(format!("http://{ip}:{port}"))
    }

    /// `docker kill`.
    pub(super) async fn kill(&self, id: &str) -> anyhow::Result<()> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        self.docker()?.kill_container(id, Some(options)).await.context("failed to kill a container")
    }

    /// `docker stop`, at once.
    pub(super) async fn stop(&self, id: &str) -> anyhow::Result<()> {
        let options = StopContainerOptionsBuilder::default().t(0).build();
        self.docker()?.stop_container(id, Some(options)).await.context("failed to stop a container")
    }

    /// `docker restart`, at once.
    pub(super) async fn restart(&self, id: &str) -> anyhow::Result<()> {
        let options = RestartContainerOptionsBuilder::default().t(0).build();
        self.docker()?.restart_container(id, Some(options)).await.context("failed to restart a container")
    }

    /// `docker commit`, which freezes the container meanwhile, and `docker rmi`.
    pub(super) async fn commit(&self, id: &str) -> anyhow::Result<()> {
        let options = CommitContainerOptionsBuilder::default().container(id).pause(true).build();
        let docker = self.docker()?;
        let image = docker.commit_container(options, ContainerConfig::default()).await.context("failed to commit")?.id;
        docker.remove_image(&image, None::<RemoveImageOptions>, None).await.context("failed to remove an image")?;
        Ok(())
    }

    /// `docker network disconnect` and `connect`, which publishes its ports anew.
    pub(super) async fn connect_anew(&self, id: &str) -> anyhow::Result<()> {
        const NETWORK: &str = "bridge";
        let leave = NetworkDisconnectRequest { container: id.to_owned(), force: None };
        let join = NetworkConnectRequest { container: id.to_owned(), endpoint_config: None };
        let docker = self.docker()?;
        docker.disconnect_network(NETWORK, leave).await.context("failed to disconnect a container")?;
        docker.connect_network(NETWORK, join).await.context("failed to connect a container")
    }

    /// `docker pause`.
    pub(super) async fn pause(&self, id: &str) -> anyhow::Result<()> {
        self.docker()?.pause_container(id).await.context("failed to pause a container")
    }

    /// `docker unpause`.
    pub(super) async fn unpause(&self, id: &str) -> anyhow::Result<()> {
        self.docker()?.unpause_container(id).await.context("failed to unpause a container")
    }

    /// `docker rm --force --volumes`; succeeds without such a container.
    pub(super) async fn remove(&self, id: &str) -> anyhow::Result<()> {
        use bollard::errors::Error::DockerResponseServerError as Refused;
        let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
        match self.docker()?.remove_container(id, Some(options)).await {
            Ok(()) | Err(Refused { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(error).context("failed to remove a container"),
        }
    }

    /// Runs a container with these labels that sleeps for an hour, and returns its id.
    pub(super) async fn run(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut labels: HashMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        labels.insert(DRILL.to_owned(), self.prefix.clone());
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(["sleep", "3600"].map(str::to_owned).to_vec()),
            labels: Some(labels),
            host_config: Some(HostConfig { init: Some(true), ..Default::default() }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let id = self.docker()?.create_container(Some(options), body).await.context("failed to create a container")?.id;
        self.docker()?.start_container(&id, None).await.context("failed to start a container")?;
        Ok(id)
    }

    /// Removes all containers of this drill, and those that the engine still makes for instances that were killed.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        let mut left = self.everything().await?;
        for _ in 0..CLEAR_LOOKS {
            for id in &left {
                self.remove(id).await?;
            }
            if !left.is_empty() {
                sleep(CLEAR_PAUSE).await;
                left = self.everything().await?;
            }
        }
        anyhow::ensure!(left.is_empty(), "these containers could not be removed: {}", left.join(", "));
        Ok(())
    }

    /// The ids of all containers of this drill, made by its instances or by hand.
    async fn everything(&self) -> anyhow::Result<Vec<String>> {
        let mut found = self.containers().await?;
        found.extend(self.containers_of_prefix(&other(&self.prefix)).await?);
        found.extend(self.labelled(&format!("{DRILL}={}", self.prefix)).await?);
        Ok(found)
    }
}
