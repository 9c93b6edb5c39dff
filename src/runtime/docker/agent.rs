//! Brings the agent into sandboxes: by a read-only volume that all sandboxes of an engine share, or by an upload into a
//! container that was made without it.

use bollard::{
    body_full,
    models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, VolumeCreateRequest},
    query_parameters::{
        ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;

use super::{
    Docker,
    error::CallError,
    volume::{AGENT_PATH, AgentVolume, DIRECTORY, FILE, FILL, labels},
};
use crate::{inside::AGENT, ports::inside::InsideError};

/// How often a volume is filled before its filling counts as failed.
const TURNS: usize = 3;

impl Docker {
    /// Makes sure that the volume is filled, once per process, and then that none is left of other versions. `image` is any
    /// image that the engine has.
    ///
    /// A failure is logged and does not fail a start: work in the sandbox tries again, and says what is wrong.
    pub(super) async fn ensure_agent(&self, image: &str) {
        let mut filled = self.volume.filled.lock().await;
        if *filled {
            return;
        }
        match self.fill(&AgentVolume::name(), image).await {
            Ok(()) => *filled = true,
            Err(error) => {
                tracing::warn!(%error, "failed to put the agent into its volume; the first use of a sandbox tries again");
                return;
            }
        }
        drop(filled);
        if let Err(error) = self.sweep_agents().await {
            tracing::debug!(%error, "failed to look for agents of other versions");
        }
    }

    /// Makes sure that the volume of this version is there and filled, also if somebody has removed it since.
    pub(super) async fn fill_volume(&self, image: &str) -> Result<(), CallError> {
        let _turn = self.volume.filled.lock().await;
        self.fill(&AgentVolume::name(), image).await
    }

    /// Brings the agent into a container in which it is missing: into its volume if it has one, otherwise into its own files.
    pub(super) async fn bring_agent(&self, found: &ContainerInspectResponse) -> Result<(), InsideError> {
        let mounts = found.mounts.as_deref().unwrap_or_default();
        let mounted = mounts.iter().find(|mount| mount.destination.as_deref() == Some(DIRECTORY));
        match mounted.map(|mount| mount.name.as_deref()) {
            Some(Some(volume)) => {
                // An engine makes a volume that is missing, without a word and empty.
                let image = found.image.as_deref().unwrap_or_default();
                self.fill(volume, image).await.map_err(|error| error.inside("fill the agent's volume"))
            }
            Some(None) => Err(InsideError::NoAgent(format!("something else is mounted at {DIRECTORY}"))),
            None => self.upload_agent(found.id.as_deref().unwrap_or_default()).await,
        }
    }

    async fn upload_agent(&self, id: &str) -> Result<(), InsideError> {
        let directory = DIRECTORY.trim_start_matches('/');
        match self.upload(id, "/", archive(&[directory], &format!("{directory}/{FILE}"))).await {
            Ok(()) => Ok(()),
            Err(CallError::Refused { message, .. }) if message.contains("read-only") => Err(InsideError::NoAgent(
                "its root is read-only, and it was made without the agent: make a new one from a template with \
                     agent = true"
                    .to_owned(),
            )),
            Err(error) => Err(error.inside("put the agent into the container")),
        }
    }

    /// Fills a volume by an upload into a container that is never started.
    async fn fill(&self, volume: &str, image: &str) -> Result<(), CallError> {
        if AGENT.is_empty() {
            return Err(CallError::Broken("this Sandglass was built without an agent (it needs Linux)".to_owned()));
        }
        let mut turn = 1;
        loop {
            match self.fill_in_turn(volume, image).await {
                // Another supervisor made its container after this one had looked, or removed this one's.
                Err(error) if turn < TURNS && (error.is_conflict() || error.is_not_found()) => turn += 1,
                filled => return filled,
            }
        }
    }

    async fn fill_in_turn(&self, volume: &str, image: &str) -> Result<(), CallError> {
        let labels = labels(volume);
        let request =
            VolumeCreateRequest { name: Some(volume.to_owned()), labels: Some(labels.clone()), ..Default::default() };
        self.engine.call(|docker| async move { docker.create_volume(request).await }).await?;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec!["/never-started".to_owned()]),
            labels: Some(labels),
            host_config: Some(HostConfig {
                mounts: Some(vec![AgentVolume::mounted(volume, false)]),
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        // One name, so that what a crash has left is found, and two supervisors take turns.
        let name = format!("{volume}{FILL}");
        self.discard(&name).await?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let id = self.engine.call(|docker| async move { docker.create_container(Some(options), body).await }).await?.id;
        let filled = self.fill_through(&id).await;
        let discarded = self.discard(&id).await;
        filled.and(discarded)
    }

    async fn fill_through(&self, id: &str) -> Result<(), CallError> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(AGENT_PATH).build();
        let info =
            self.engine.call(|docker| async move { docker.get_container_archive_info(id, Some(options)).await }).await;
        match info {
            Ok(info) if u64::try_from(info.size).ok() == u64::try_from(AGENT.len()).ok() => Ok(()),
            Ok(_) => self.upload(id, DIRECTORY, archive(&[], FILE)).await,
            Err(error) if error.is_not_found() => self.upload(id, DIRECTORY, archive(&[], FILE)).await,
            Err(error) => Err(error),
        }
    }

    async fn upload(&self, id: &str, directory: &str, tar: Bytes) -> Result<(), CallError> {
        let options = UploadToContainerOptionsBuilder::default().path(directory).build();
        self.engine
            .call(|docker| async move { docker.upload_to_container(id, Some(options), body_full(tar)).await })
            .await
    }

    /// Removes a container that filled a volume, and the volumes that its image made it have.
    pub(super) async fn discard(&self, reference: &str) -> Result<(), CallError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.engine.call(|docker| async move { docker.remove_container(reference, Some(options)).await }).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// A tar of the agent under the name `file`, executable for all, below `directories`.
fn archive(directories: &[&str], file: &str) -> Bytes {
    let mut tar = tar::Builder::new(Vec::with_capacity(AGENT.len() + 4096));
    let mut append = |name: &str, kind, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        // Writing to memory does not fail, and the names are short.
        let _ = tar.append_data(&mut header, name, content);
    };
    for directory in directories {
        append(directory, tar::EntryType::Directory, 0o755, &[]);
    }
    append(file, tar::EntryType::Regular, 0o755, AGENT);
    tar.into_inner().unwrap_or_default().into()
}
