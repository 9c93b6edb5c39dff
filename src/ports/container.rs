//! Names a container, for both interfaces to the engine.

use crate::domain::{Sandbox, SandboxId, restore::task_id};

/// Identifies a container by its owner and what is known of it. Labels alone prove nothing: an image that was made from a
/// container passes its labels on to every container of that image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// The sandbox it belongs to.
    pub sandbox: SandboxId,
    /// The engine's id, from a record or from a listing. If it is missing, the container is searched for by the owner's
    /// labels, together with the recorded name or, without a record, the name in the container's own labels.
    pub container_id: Option<String>,
    /// The name in the record; used only without an id.
    pub name: Option<String>,
    /// Decides which labels it carries.
    pub owner: Owner,
}

impl ContainerRef {
    /// The container that a sandbox's record describes. If the record was taken over, the container carries the reference
    /// system's labels.
    pub fn of(sandbox: &Sandbox) -> Self {
        let details = &sandbox.details;
        let owner = if details.taken_over {
            Owner::Reference { task_id: task_id(&details.id, &details.metadata) }
        } else {
            Owner::Sandglass
        };
        Self {
            sandbox: details.id.clone(),
            container_id: details.container_id.as_deref().map(Into::into),
            name: Some(&*details.container_name).filter(|name| !name.is_empty()).map(Into::into),
            owner,
        }
    }

    /// The container of a sandbox without a record, found by its labels.
    pub fn by_labels(sandbox: SandboxId, owner: Owner) -> Self {
        Self { sandbox, container_id: None, name: None, owner }
    }
}

/// Whose labels a container carries ([design: ours only](crate::design::engine::ours_only)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Sandglass's: `sandglass.prefix`, `sandglass.id`, and `sandglass.container`, which is the name of the container that
    /// the labels were made for.
    Sandglass,
    /// The reference system's: `owner=executor_manager` and `task_id`. Its record was taken over.
    Reference {
        /// The value of the label `task_id`.
        task_id: String,
    },
}
