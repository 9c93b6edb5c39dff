//! Finds the container that a [`ContainerRef`] means, and no other
//! ([design: ours only](crate::design::engine::ours_only)).

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

/// The length of the shortest id that Docker's tools print. A shorter text may be a name.
const SHORT_ID: usize = 12;

/// The result of a search.
pub(super) enum Search {
    /// It exists and matches.
    Ours(Box<ContainerInspectResponse>),
    /// A container exists that does not match.
    Foreign,
    /// The engine answered that it does not exist.
    Missing,
}

impl Docker {
    /// Inspects exactly the container `id` and compares it with `container`.
    pub(super) async fn check(&self, id: &str, container: &ContainerRef) -> Result<Search, CallError> {
        match self.inspect_by_id(id).await? {
            None => Ok(Search::Missing),
            Some(found) if self.owns(&found, container) => Ok(Search::Ours(Box::new(found))),
            Some(_) => Ok(Search::Foreign),
        }
    }

    /// The ids that `container` may mean, the likeliest first: its own, or those of all containers with its labels and name.
    pub(super) async fn candidates(&self, container: &ContainerRef) -> Result<Vec<String>, CallError> {
        match known_id(container) {
            Some(id) => Ok(vec![id.to_owned()]),
            None => self.labelled(container).await,
        }
    }

    /// The first candidate that matches; [`Search::Foreign`] if there are only others.
    pub(super) async fn find(&self, container: &ContainerRef) -> Result<Search, CallError> {
        let mut found = Search::Missing;
        for id in self.candidates(container).await? {
            match self.check(&id, container).await? {
                Search::Missing => {}
                Search::Foreign => found = Search::Foreign,
                ours @ Search::Ours(_) => return Ok(ours),
            }
        }
        Ok(found)
    }

    /// Inspects a container by its id, or by its name to find out which container has that name.
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

    /// The containers with all of these labels, in any state.
    pub(super) async fn summaries(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.call(|docker| async move { docker.list_containers(Some(options)).await }).await
    }

    /// Whether `found` matches `container` by its labels and its id, or by its labels and its name if the id is unknown. The id
    /// is compared since the engine also accepts names.
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

/// The id of `container`, if the engine cannot mistake it for a name.
fn known_id(container: &ContainerRef) -> Option<&str> {
    container.container_id.as_deref().filter(|id| is_id(id))
}

/// The name of an inspected container.
pub(super) fn name_of(found: &ContainerInspectResponse) -> &str {
    found.name.as_deref().unwrap_or_default().trim_start_matches('/')
}

/// The container's own name. Links of other containers appear as further names, such as `/other/alias`.
pub(super) fn own_name(names: &[String]) -> &str {
    let mut names = names.iter().map(|name| name.trim_start_matches('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default()
}

pub(super) fn labels_of(found: &ContainerInspectResponse) -> Option<&LabelMap> {
    found.config.as_ref().and_then(|config| config.labels.as_ref())
}

/// Whether `text` can only be an id. A record may contain any text, which becomes part of a request's path.
fn is_id(text: &str) -> bool {
    text.len() >= SHORT_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Orders living containers after ended ones, and newer after older ones.
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
