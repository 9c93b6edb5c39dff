//! Removes what agents of other versions have left on the engine.
//!
//! Another supervisor on this engine can have another version. It loses nothing: the engine keeps a volume that a container
//! uses, a missing volume is filled again at the first use of a sandbox, and who finds the container gone that fills a
//! volume takes another turn.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::{
    Docker,
    error::CallError,
    volume::{FILL, LABEL, NAME},
};
use crate::inside::AGENT_VERSION;

impl Docker {
    /// Removes the volumes of other versions that no container uses, and the containers that should have filled them.
    pub(super) async fn sweep_agents(&self) -> Result<(), CallError> {
        for id in self.containers_that_fill().await? {
            if let Err(error) = self.discard(&id).await {
                tracing::debug!(%error, id, "failed to remove the container that filled an agent's volume");
            }
        }
        for name in self.unused_volumes().await? {
            let volume = name.clone();
            let removed = self
                .engine
                .call(|docker| async move { docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await })
                .await;
            match removed {
                Ok(()) => tracing::debug!(name, "removed the agent of another version"),
                // Another supervisor was faster, or it is used after all.
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => tracing::debug!(%error, name, "failed to remove the agent of another version"),
            }
        }
        Ok(())
    }

    /// The ids of the containers of other versions that were made to fill a volume.
    async fn containers_that_fill(&self) -> Result<Vec<String>, CallError> {
        let filters = HashMap::from([("label", vec![LABEL]), ("status", vec!["created"])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.engine.call(|docker| async move { docker.list_containers(Some(options)).await }).await?;
        let ids = listed.into_iter().filter_map(|container| {
            let names = container.names.unwrap_or_default();
            let version = container.labels?.remove(LABEL)?;
            let expected = format!("/{NAME}{version}{FILL}");
            (version != AGENT_VERSION && names.contains(&expected)).then_some(container.id).flatten()
        });
        Ok(ids.collect())
    }

    /// The names of the volumes of other versions that no container uses.
    pub(super) async fn unused_volumes(&self) -> Result<Vec<String>, CallError> {
        let filters = HashMap::from([("label", vec![LABEL]), ("dangling", vec!["true"])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = self.engine.call(|docker| async move { docker.list_volumes(Some(options)).await }).await?;
        let names = listed.volumes.unwrap_or_default().into_iter().filter_map(|volume| {
            let version = volume.labels.get(LABEL)?;
            (version != AGENT_VERSION && volume.name == format!("{NAME}{version}")).then_some(volume.name)
        });
        Ok(names.collect())
    }
}
