//! The container that writes the rules on the engine's host where this process cannot: with an engine on another machine, in
//! a container of its own, or without the right to do so here.
//!
//! It is on the host's network and may do nothing but administer that. It runs `agent walls`, which reads requests from its
//! standard input and ends with that: so it is gone when this process is.

use std::collections::HashMap;

use bollard::{
    container::AttachContainerResults,
    models::{ContainerCreateBody, HealthConfig, HostConfig},
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListImagesOptionsBuilder},
};

use super::{
    Docker,
    error::CallError,
    find::labels_of,
    helper::Helper,
    volume::{AGENT_PATH, AgentVolume},
};

/// Marks the helper; its value is the prefix. No sandbox carries it.
pub(super) const LABEL: &str = "sandglass.firewall";

impl Docker {
    /// Starts the helper, in place of one that an earlier process may have left.
    pub(super) async fn start_helper(&self) -> Result<Helper, CallError> {
        let image = self.any_image().await?;
        self.fill_volume(&image).await?;
        self.remove_helper().await?;
        let (name, body) = (self.names.helper(), self.helper_body(image));
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let id = self.engine.call(|docker| async move { docker.create_container(Some(options), body).await }).await?.id;
        let helper = self.attach_helper(&id).await;
        if helper.is_err()
            && let Err(error) = self.discard(&id).await
        {
            tracing::debug!(%error, "failed to remove a helper that did not start");
        }
        helper
    }

    async fn attach_helper(&self, id: &str) -> Result<Helper, CallError> {
        let options =
            AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true).stream(true).build();
        let limit = self.engine.settings.call_timeout;
        let attached =
            self.engine.call(|docker| async move { docker.attach_container(id, Some(options)).await }).await?;
        let AttachContainerResults { output, input } = attached;
        self.engine.call(|docker| async move { docker.start_container(id, None).await }).await?;
        Ok(Helper::new(id.to_owned(), output, input, limit))
    }

    fn helper_body(&self, image: String) -> ContainerCreateBody {
        // An image may carry the labels of the sandbox that it was made of.
        let identity = self.engine.identity();
        let disclaimer = identity.disclaimer();
        let mark = (LABEL.to_owned(), self.engine.settings.prefix.clone());
        ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(vec![AGENT_PATH.to_owned()]),
            cmd: Some(vec!["walls".to_owned()]),
            user: Some("0".to_owned()),
            working_dir: Some("/".to_owned()),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            labels: Some(disclaimer.chain([mark]).collect()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // It ends with this process.
            stdin_once: Some(true),
            tty: Some(false),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                // Where the engine gives containers users of their own, none of them may administer the host's network.
                userns_mode: Some("host".to_owned()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(vec!["NET_ADMIN".to_owned()]),
                security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
                readonly_rootfs: Some(true),
                mounts: Some(vec![AgentVolume::mount()]),
                auto_remove: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Removes the helper of this prefix, if there is one.
    pub(super) async fn remove_helper(&self) -> Result<(), CallError> {
        let name = self.names.helper();
        let Some(found) = self.inspect_by_id(&name).await? else { return Ok(()) };
        let ours = labels_of(&found).and_then(|labels| labels.get(LABEL)) == Some(&self.engine.settings.prefix);
        match found.id {
            Some(id) if ours => self.discard(&id).await,
            _ => Err(CallError::Broken(format!(
                "the container name {name:?} is taken by a container that is not ours, which was left alone: remove it"
            ))),
        }
    }

    /// Any image that the engine has: the helper uses nothing of it.
    async fn any_image(&self) -> Result<String, CallError> {
        let options =
            ListImagesOptionsBuilder::default().filters(&HashMap::from([("dangling", vec!["false"])])).build();
        let images = self.engine.call(|docker| async move { docker.list_images(Some(options)).await }).await?;
        let smallest = images.into_iter().min_by_key(|image| image.size);
        smallest.map(|image| image.id).ok_or(CallError::NoImage)
    }
}
