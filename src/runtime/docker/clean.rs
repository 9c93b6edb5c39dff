//! Finds and removes what no living sandbox needs of what is ours on the engine and its host: of this prefix the networks, the
//! firewall's table and its helper, and agents of other versions.

use std::{collections::HashSet, fmt};

use bollard::query_parameters::RemoveVolumeOptions;
use sandglass_agent::walls::Request;

use super::{
    Docker, error::CallError, find::labels_of, firewall::Firewall, helper_container::LABEL, open::is_here,
    settings::Firewall as Mode,
};
use crate::ports::runtime::{Runtime, RuntimeError};

const FIND: &str = "find what is left over";

/// Something of ours that no sandbox needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOver {
    /// The container that writes the firewall's rules where this process cannot.
    Helper(String),
    /// The firewall's table. It comes before the networks, whose interfaces tell where it is.
    Table(String),
    /// A network that nothing is on.
    Network(String),
    /// The volume with the agent of another version.
    AgentVolume(String),
}

impl fmt::Display for LeftOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(name) => write!(formatter, "container {name}"),
            Self::Network(name) => write!(formatter, "network {name}"),
            Self::Table(name) => write!(formatter, "nftables table {name}"),
            Self::AgentVolume(name) => write!(formatter, "volume {name}"),
        }
    }
}

impl Docker {
    /// Lists what is ours and needed by no sandbox. While a supervisor is in charge, the firewall is needed in any case.
    ///
    /// # Errors
    /// When the engine does not answer, or the firewall cannot be read although the setting says that it is used.
    pub async fn left_over(&self) -> Result<Vec<LeftOver>, RuntimeError> {
        let failed = |error: CallError| error.during(FIND);
        let in_charge = self.in_charge().await.is_some();
        let [ours, _] = self.engine.identity().common_labels();
        let containers = self.summaries(ours).await.map_err(failed)?;
        let modes = containers.iter().filter_map(|container| container.host_config.as_ref()?.network_mode.as_deref());
        let used: HashSet<_> = modes.filter(|mode| self.names.parse(mode).is_some()).collect();
        let mut left = Vec::new();
        for network in self.networks().await.map_err(failed)?.iter().filter(|network| self.names.claims(network)) {
            let Some(name) = network.name.as_deref().filter(|name| !used.contains(name)) else { continue };
            // Containers of others may be on it.
            if self.attached(name).await.map_err(failed)?.is_empty() {
                left.push(LeftOver::Network(name.to_owned()));
            }
        }
        if !in_charge {
            let helper = self.inspect_by_id(&self.names.helper()).await.map_err(failed)?;
            let is_ours = helper.is_some_and(|found| {
                labels_of(&found).and_then(|labels| labels.get(LABEL)) == Some(&self.engine.settings.prefix)
            });
            if is_ours {
                left.push(LeftOver::Helper(self.names.helper()));
            }
            if used.is_empty() && self.has_table().await? {
                left.push(LeftOver::Table(self.names.table()));
            }
        }
        left.extend(self.unused_volumes().await.map_err(failed)?.into_iter().map(LeftOver::AgentVolume));
        left.sort();
        Ok(left)
    }

    /// Removes one of [`Docker::left_over`]. Succeeds if it is gone already.
    ///
    /// # Errors
    /// When it is still there, for instance because something uses it by now.
    pub async fn remove_left_over(&self, left: &LeftOver) -> Result<(), RuntimeError> {
        let removed = match left {
            LeftOver::Helper(_) => self.remove_helper().await,
            LeftOver::Network(name) => {
                self.engine.call(|docker| async move { docker.remove_network(name).await }).await
            }
            LeftOver::AgentVolume(name) => {
                self.engine
                    .call(|docker| async move { docker.remove_volume(name, None::<RemoveVolumeOptions>).await })
                    .await
            }
            LeftOver::Table(name) => return self.remove_table(name).await,
        };
        match removed {
            Err(error) if !error.is_not_found() => Err(error.during(&format!("remove the {left}"))),
            _ => Ok(()),
        }
    }

    async fn has_table(&self) -> Result<bool, RuntimeError> {
        let Some(mut firewall) = self.firewall_to_clean().await? else { return Ok(false) };
        let tables = firewall.ask::<Vec<String>>(Request::Tables).await;
        let tables = tables.map_err(|trouble| RuntimeError::Failed(format!("failed to {FIND}: {}", trouble.message())));
        self.put_away(firewall).await;
        Ok(tables?.contains(&self.names.table()))
    }

    async fn remove_table(&self, name: &str) -> Result<(), RuntimeError> {
        let Some(mut firewall) = self.firewall_to_clean().await? else { return Ok(()) };
        let deleted = firewall.ask::<()>(Request::Delete { name: name.to_owned() }).await;
        self.put_away(firewall).await;
        deleted.map_err(|trouble| {
            RuntimeError::Failed(format!("failed to remove the nftables table {name}: {}", trouble.message()))
        })
    }

    /// A way to the firewall, also if there is no network of ours by which this process could tell where it is. `None` if none
    /// is to be used, or if the engine has no image for a helper, and so has had none.
    async fn firewall_to_clean(&self) -> Result<Option<Firewall>, RuntimeError> {
        let mode = self.engine.settings.firewall;
        let bridges = self.learn_networks().await.map_err(|error| error.during(FIND))?.bridges;
        let interface = bridges.first().map(|bridge| self.names.interface(bridge.kind, bridge.number));
        let here = interface.is_none_or(|interface| is_here(&interface));
        let why = match mode {
            Mode::Helper => String::new(),
            Mode::Off | Mode::Auto | Mode::Local if here => match self.open_in_this_process().await {
                Ok(firewall) => return Ok(Some(firewall)),
                Err(why) => why,
            },
            Mode::Off | Mode::Auto | Mode::Local => "the engine is in another network namespace".to_owned(),
        };
        match mode {
            Mode::Off => Ok(None),
            Mode::Local => Err(RuntimeError::Failed(format!("failed to look into the firewall: {why}"))),
            Mode::Auto | Mode::Helper => match self.start_helper().await {
                Ok(helper) => Ok(Some(Firewall::Helper(Box::new(helper)))),
                Err(CallError::NoImage) => Ok(None),
                Err(error) => Err(error.during("start a helper that looks into the firewall")),
            },
        }
    }

    /// Ends a helper, which would otherwise end a moment later by itself.
    async fn put_away(&self, firewall: Firewall) {
        if let Firewall::Helper(helper) = firewall
            && let Err(error) = self.discard(helper.id()).await
        {
            tracing::debug!(%error, "failed to remove the firewall's helper");
        }
    }
}
