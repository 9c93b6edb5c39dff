//! Finding the container that is ours, and no other ([design: ours only](crate::design::engine::ours_only)).

use std::collections::HashMap;

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::ListContainersOptionsBuilder,
};

use super::{Docker, error::CallError};
use crate::{
    ports::runtime::{ContainerRef, Owner},
    runtime::labels::LabelMap,
};

/// The shortest id that Docker's own tools print. Anything shorter, or with other digits, may be a name.
const SHORT_ID: usize = 12;

/// What a look at one container found.
pub(super) enum Look {
    /// It is there and carries the labels.
    Ours(Box<ContainerInspectResponse>),
    /// It is there and is somebody else's.
    Foreign,
    /// The engine answered that there is none.
    Missing,
}

impl Docker {
    /// Looks at exactly the container `id` and compares its labels with what `container` claims.
    pub(super) async fn look(&self, id: &str, container: &ContainerRef) -> Result<Look, CallError> {
        match self.inspect_by_id(id).await? {
            None => Ok(Look::Missing),
            Some(found) if self.owns(&found, container) => Ok(Look::Ours(Box::new(found))),
            Some(_) => Ok(Look::Foreign),
        }
    }

    /// The ids that `container` may stand for: its own, else all that carry its labels under the right name, the likeliest
    /// first.
    pub(super) async fn candidates(&self, container: &ContainerRef) -> Result<Vec<String>, CallError> {
        match known_id(container) {
            Some(id) => Ok(vec![id.to_owned()]),
            None => self.labelled(container).await,
        }
    }

    /// The first candidate that is ours; [`Look::Foreign`] when only a foreign one is there.
    pub(super) async fn find(&self, container: &ContainerRef) -> Result<Look, CallError> {
        let mut found = Look::Missing;
        for id in self.candidates(container).await? {
            match self.look(&id, container).await? {
                Look::Missing => {}
                Look::Foreign => found = Look::Foreign,
                ours @ Look::Ours(_) => return Ok(ours),
            }
        }
        Ok(found)
    }

    /// The container `reference`, which is an id, or a name where nothing but its holder is asked for.
    pub(super) async fn inspect_by_id(&self, reference: &str) -> Result<Option<ContainerInspectResponse>, CallError> {
        match self.engine.call(|docker| async move { docker.inspect_container(reference, None).await }).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn labelled(&self, container: &ContainerRef) -> Result<Vec<String>, CallError> {
        let identity = self.engine.identity();
        let labels = identity.proof(container).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut found = self.summaries(labels).await?;
        if found.len() > 1 && container.name.is_none() && container.owner != Owner::Sandglass {
            let (sandbox_id, count) = (&container.sandbox, found.len());
            tracing::warn!(%sandbox_id, count, "several containers carry these labels, and no record tells which is meant: left alone");
            return Ok(Vec::new());
        }
        found.retain(|summary| {
            let name = own_name(summary.names.as_deref().unwrap_or_default());
            summary.labels.as_ref().is_some_and(|labels| identity.is_meant(container, name, labels))
        });
        found.sort_by_key(|summary| std::cmp::Reverse(likelihood(summary)));
        Ok(found.into_iter().filter_map(|summary| summary.id).collect())
    }

    /// The containers that carry all of these labels, whatever they are doing.
    pub(super) async fn summaries(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.call(|docker| async move { docker.list_containers(Some(options)).await }).await
    }

    /// Whether the container that was found is the one of `container`: by its labels, and by its id (the engine takes a name
    /// for an id, too), or where none is known by its name.
    pub(super) fn owns(&self, found: &ContainerInspectResponse, container: &ContainerRef) -> bool {
        let identity = self.engine.identity();
        labels_of(found).is_some_and(|labels| {
            let meant = match known_id(container) {
                Some(id) => found.id.as_deref().is_some_and(|full| full.starts_with(id)),
                None => identity.is_meant(container, name_of(found), labels),
            };
            meant && identity.proven(container, labels)
        })
    }
}

/// The id that `container` tells, if the engine can take it for nothing else.
fn known_id(container: &ContainerRef) -> Option<&str> {
    container.container_id.as_deref().filter(|id| is_id(id))
}

/// The name of an inspected container.
pub(super) fn name_of(found: &ContainerInspectResponse) -> &str {
    found.name.as_deref().unwrap_or_default().trim_start_matches('/')
}

/// The container's own name: links of other containers are shown as further ones, such as `/other/alias`.
pub(super) fn own_name(names: &[String]) -> &str {
    let mut names = names.iter().map(|name| name.trim_start_matches('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default()
}

pub(super) fn labels_of(found: &ContainerInspectResponse) -> Option<&LabelMap> {
    found.config.as_ref().and_then(|config| config.labels.as_ref())
}

/// Whether `text` can only be an id. A record may hold anything, and what is no id would become part of a path.
fn is_id(text: &str) -> bool {
    text.len() >= SHORT_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What lives before what has ended, and the newest first.
fn likelihood(summary: &ContainerSummary) -> (bool, i64) {
    let lives = matches!(
        summary.state,
        Some(
            ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
        )
    );
    (lives, summary.created.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_name() {
        assert_eq!(own_name(&["/other/alias".to_owned(), "/sandglass-i1".to_owned()]), "sandglass-i1");
        assert_eq!(own_name(&[]), "");
    }

    #[test]
    fn only_hexadecimal_ids_are_sent_to_the_engine() {
        assert!(is_id("0123456789ab") && is_id(&"f".repeat(64)));
        for text in ["", "sandglass-i1", "0123456789a", "../images/json", "0123456789ab?force=1"] {
            assert!(!is_id(text), "{text:?} was taken");
        }
    }
}
