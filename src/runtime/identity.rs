//! Whose a container is by its labels ([design: ours only](crate::design::engine::ours_only)), the same for all engines.

use super::labels::{self, LabelMap};
use crate::{
    domain::{SandboxId, name::unprefixed},
    ports::runtime::{ContainerRef, Owner, Start, Stranger},
};

const PREFIX: &str = "sandglass.prefix";
const ID: &str = "sandglass.id";
/// The name of the container that the labels were given to. Images that are made of a container pass its labels on, and this
/// tells its copies from it. Earlier versions did not write it.
const CONTAINER: &str = "sandglass.container";
/// The id of the store whose supervisor made it, and how far the lock reached that this supervisor held.
const STORE: &str = "sandglass.store";
const DOMAIN: &str = "sandglass.domain";
/// The ports that are reached at the container's own address, joined by commas; empty if its ports are published.
pub(super) const PORTS: &str = "sandglass.ports";
/// Which of the ports `base_url` speaks of; engines keep ports in no order.
pub(super) const BASE_PORT: &str = "sandglass.base_port";

/// The reference system's labels.
const REFERENCE_OWNER: (&str, &str) = ("owner", "executor_manager");
const REFERENCE_TASK: &str = "task_id";

/// What new containers tell of their supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The id of its store.
    pub(super) store: String,
    /// How far its lock reaches; `None`: nowhere.
    pub(super) domain: Option<String>,
}

/// What tells one supervisor's containers from those of others.
pub(super) struct Identity<'a> {
    pub(super) prefix: &'a str,
    /// `None`: it has not taken charge, or keeps nobody out.
    pub(super) origin: Option<Origin>,
}

impl Identity<'_> {
    /// All labels of a new container, of which `own_ports` are reached at its own address.
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
        // The image may have been made of a sandbox's container, whose labels would fill the gaps.
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.unwrap_or_default()));
        pairs.into_iter().chain(labels::write(start.labels.clone())).collect()
    }

    /// The labels that make a container the one of `container`.
    pub(super) fn proof(&self, container: &ContainerRef) -> [(&'static str, String); 2] {
        match &container.owner {
            Owner::Sandglass => [(PREFIX, self.prefix.to_owned()), (ID, container.sandbox.as_str().to_owned())],
            Owner::Reference { task_id } => {
                [(REFERENCE_OWNER.0, REFERENCE_OWNER.1.to_owned()), (REFERENCE_TASK, task_id.clone())]
            }
        }
    }

    /// Whether these labels make a container the one of `container`.
    pub(super) fn proven(&self, container: &ContainerRef, labels: &LabelMap) -> bool {
        self.proof(container).iter().all(|(key, value)| labels.get(*key) == Some(value))
    }

    /// The labels that our containers have in common, and those that the reference system's have, as `KEY=VALUE` or `KEY`.
    /// Engines show containers that carry all labels of a filter, so that each set needs a call of its own.
    pub(super) fn common_labels(&self) -> [Vec<String>; 2] {
        let (owner, value) = REFERENCE_OWNER;
        [vec![format!("{PREFIX}={}", self.prefix)], vec![format!("{owner}={value}"), REFERENCE_TASK.to_owned()]]
    }

    /// The container with this id and these labels; `None`: it belongs to nobody here, or to no sandbox that could exist.
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

    /// Whether the container of this name with these labels can be the one that `container` means without an id. One that
    /// another store's supervisor made has the same name when two share an engine and a prefix.
    pub(super) fn is_meant(&self, container: &ContainerRef, name: &str, labels: &LabelMap) -> bool {
        match &container.name {
            Some(recorded) => name == recorded && !self.is_of_another_store(labels),
            None => self.stranger(container, name, labels).is_none(),
        }
    }

    /// Why the container of this name with these labels, which are those of `container`, is not ours.
    pub(super) fn stranger(&self, container: &ContainerRef, name: &str, labels: &LabelMap) -> Option<Stranger> {
        if container.owner != Owner::Sandglass {
            None
        } else if is_copied(name, labels, &container.sandbox) {
            Some(Stranger::Copy)
        } else {
            self.is_of_another_store(labels).then_some(Stranger::OfAnotherStore)
        }
    }

    /// Whether the supervisor of another store made it, and may live. One that this host's lock would exclude does not: its
    /// store was lost. Earlier versions did not tell the store.
    fn is_of_another_store(&self, labels: &LabelMap) -> bool {
        let Some(Origin { store, domain }) = &self.origin else { return false };
        let told = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        told(STORE).is_some_and(|made_for| made_for != store) && (domain.is_none() || told(DOMAIN) != domain.as_deref())
    }
}

/// Whether these labels name another container than the one of this name, which carries them. Before they did, every
/// container was called after its sandbox alone.
fn is_copied(name: &str, labels: &LabelMap, sandbox: &SandboxId) -> bool {
    match labels.get(CONTAINER) {
        Some(named) => name != named,
        None => name != unprefixed(sandbox),
    }
}
