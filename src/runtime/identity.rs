//! Decides by its labels to whom a container belongs ([design: ours only](crate::design::engine::ours_only)); the same
//! for all engines.

use super::labels::{self, LabelMap};
use crate::{
    domain::{SandboxId, name::unprefixed},
    ports::runtime::{ContainerRef, Owner, Start, Stranger},
};

const PREFIX: &str = "sandglass.prefix";
const ID: &str = "sandglass.id";
/// The name of the container that the labels were made for. Images that are made from a container pass its labels on; this
/// label distinguishes the original from its copies. Earlier versions did not write it.
const CONTAINER: &str = "sandglass.container";
/// The id of the creating supervisor's store, and the reach of the lock that it held.
const STORE: &str = "sandglass.store";
const DOMAIN: &str = "sandglass.domain";
/// The ports that are reached at the container's own address, separated by commas; empty if its ports are published.
pub(super) const PORTS: &str = "sandglass.ports";
/// The port in `base_url`. Engines do not keep the order of ports.
pub(super) const BASE_PORT: &str = "sandglass.base_port";

/// The reference system's labels.
const REFERENCE_OWNER: (&str, &str) = ("owner", "executor_manager");
const REFERENCE_TASK: &str = "task_id";

/// What new containers tell about their supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The id of its store.
    pub(super) store: String,
    /// The reach of its lock; `None` if it excludes nobody.
    pub(super) domain: Option<String>,
}

/// Distinguishes one supervisor's containers from those of others.
pub(super) struct Identity<'a> {
    pub(super) prefix: &'a str,
    /// `None` if it has not taken charge, or has no lock.
    pub(super) origin: Option<Origin>,
}

impl Identity<'_> {
    /// All labels of a new container; `own_ports` is the value of [`PORTS`].
    pub(super) fn labels(&self, start: &Start, own_ports: String) -> LabelMap {
        let origin = self.origin.as_ref();
        let pairs = [
            (PREFIX, Some(self.prefix.to_owned())),
            (ID, Some(start.id.as_str().to_owned())),
            (CONTAINER, Some(start.name.clone())),
            (STORE, origin.map(|origin| origin.store.clone())),
            (DOMAIN, origin.and_then(|origin| origin.domain.clone())),
            (PORTS, Some(own_ports)),
            (BASE_PORT, start.spec.ports.first().map(u16::to_string)),
        ];
        // A missing label would be inherited if the image was made from another sandbox's container.
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.unwrap_or_default()));
        pairs.into_iter().chain(labels::write(start.labels.clone())).collect()
    }

    /// The labels of an image that is made from a container, for it to be no sandbox's; those of the supervisor stay.
    pub(super) fn disclaimer(&self) -> impl Iterator<Item = (String, String)> {
        let origin = self.origin.as_ref();
        let pairs = [
            (PREFIX, String::new()),
            (ID, String::new()),
            (CONTAINER, String::new()),
            (STORE, origin.map(|origin| origin.store.clone()).unwrap_or_default()),
            (DOMAIN, origin.and_then(|origin| origin.domain.clone()).unwrap_or_default()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value))
    }

    /// The labels that a container must have to match `container`.
    pub(super) fn proof(&self, container: &ContainerRef) -> [(&'static str, String); 2] {
        match &container.owner {
            Owner::Sandglass => [(PREFIX, self.prefix.to_owned()), (ID, container.sandbox.as_str().to_owned())],
            Owner::Reference { task_id } => {
                [(REFERENCE_OWNER.0, REFERENCE_OWNER.1.to_owned()), (REFERENCE_TASK, task_id.clone())]
            }
        }
    }

    /// Whether these labels match `container`.
    pub(super) fn proven(&self, container: &ContainerRef, labels: &LabelMap) -> bool {
        self.proof(container).iter().all(|(key, value)| labels.get(*key) == Some(value))
    }

    /// The common labels of our containers and those of the reference system's, as `KEY=VALUE` or `KEY`. Engines filter for
    /// containers that have all given labels, so each set needs a call of its own.
    pub(super) fn common_labels(&self) -> [Vec<String>; 2] {
        let (owner, value) = REFERENCE_OWNER;
        [vec![format!("{PREFIX}={}", self.prefix)], vec![format!("{owner}={value}"), REFERENCE_TASK.to_owned()]]
    }

    /// The container with this id and these labels, if they name a valid sandbox of ours or of the reference system's.
    pub(super) fn claim(&self, container_id: &str, labels: &LabelMap) -> Option<ContainerRef> {
        let get = |key: &str| labels.get(key).map(String::as_str);
        let (name, owner) = if get(PREFIX) == Some(self.prefix) {
            (get(ID), Owner::Sandglass)
        } else if get(REFERENCE_OWNER.0) == Some(REFERENCE_OWNER.1) {
            let task_id = get(REFERENCE_TASK)?;
            (Some(task_id), Owner::Reference { task_id: task_id.to_owned() })
        } else {
            return None;
        };
        let Some(sandbox) = name.and_then(|name| SandboxId::parse(name).ok()) else {
            tracing::debug!(container_id, ?name, "left a container out whose labels name no valid sandbox id");
            return None;
        };
        Some(ContainerRef { sandbox, container_id: Some(container_id.to_owned()), name: None, owner })
    }

    /// Whether `container`, which has no id, can mean the container with this name and these labels. If two supervisors share
    /// an engine and a prefix, the other one's container may have the same name.
    pub(super) fn is_meant(&self, container: &ContainerRef, name: &str, labels: &LabelMap) -> bool {
        match &container.name {
            Some(recorded) => name == recorded && !self.is_of_another_store(labels),
            None => self.stranger(container, name, labels).is_none(),
        }
    }

    /// Why the container with this name and these labels is not ours, although the labels match `container`.
    pub(super) fn stranger(&self, container: &ContainerRef, name: &str, labels: &LabelMap) -> Option<Stranger> {
        if container.owner != Owner::Sandglass {
            None
        } else if is_copied(name, labels, &container.sandbox) {
            Some(Stranger::Copy)
        } else {
            self.is_of_another_store(labels).then_some(Stranger::OfAnotherStore)
        }
    }

    /// Whether a supervisor with another store created it and may still run. If this host's lock would exclude that
    /// supervisor, it does not run: its store was lost. Earlier versions did not write this label.
    pub(super) fn is_of_another_store(&self, labels: &LabelMap) -> bool {
        let Some(Origin { store, domain }) = &self.origin else { return false };
        let told = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        told(STORE).is_some_and(|made_for| made_for != store) && (domain.is_none() || told(DOMAIN) != domain.as_deref())
    }
}

/// Whether these labels, found on the container `name`, were made for another one. Earlier versions named every container
/// after its sandbox alone and wrote no [`CONTAINER`].
fn is_copied(name: &str, labels: &LabelMap, sandbox: &SandboxId) -> bool {
    match labels.get(CONTAINER) {
        Some(named) => name != named,
        None => name != unprefixed(sandbox),
    }
}
