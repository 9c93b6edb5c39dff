//! Images of containers: taken by a commit, and recognized by their labels and their reference.
//!
//! An image that somebody makes from a snapshot inherits its labels, so these prove nothing by themselves: an image is a
//! snapshot if its own reference is the one that its labels name.

use std::collections::HashMap;

use async_trait::async_trait;
use bollard::{
    models::{ContainerConfig, ImageSummary},
    query_parameters::{CommitContainerOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder},
};

use super::{Docker, error::CallError};
use crate::{
    domain::{
        SandboxId,
        snapshot::{Snapshot, SnapshotId, reference, repository_and_tag},
        spec::Asked,
    },
    ports::{
        runtime::{ContainerRef, RuntimeError},
        snapshots::Snapshots,
    },
    runtime::{identity::Identity, labels::LabelMap},
};

/// The prefix of the supervisor that took it.
const PREFIX: &str = "sandglass.snapshot.prefix";
const ID: &str = "sandglass.snapshot.id";
const NAME: &str = "sandglass.snapshot.name";
const SANDBOX: &str = "sandglass.snapshot.sandbox";
const TEMPLATE: &str = "sandglass.snapshot.template";
const ASKED: &str = "sandglass.snapshot.asked";
const CREATED_AT: &str = "sandglass.snapshot.created_at";
/// `true` if it exists only until the sandboxes that are made from it are gone; otherwise empty.
const PASSING: &str = "sandglass.snapshot.passing";

/// A label whose value is missing is written empty: it would be inherited from the image of the container.
fn labels(identity: &Identity<'_>, snapshot: &Snapshot) -> LabelMap {
    let pairs = [
        (PREFIX, identity.prefix.to_owned()),
        (ID, snapshot.id.to_string()),
        (NAME, snapshot.name.clone().unwrap_or_default()),
        (SANDBOX, snapshot.sandbox.to_string()),
        (TEMPLATE, snapshot.template.clone().unwrap_or_default()),
        (ASKED, snapshot.asked.label().unwrap_or_default()),
        (CREATED_AT, snapshot.created_at.to_string()),
        (PASSING, if snapshot.passing { "true" } else { "" }.to_owned()),
    ];
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value));
    // A container that somebody starts from the image is no sandbox.
    pairs.chain(identity.disclaimer()).collect()
}

/// The snapshot with these labels; `None` if they tell of none, or of one that belongs to another supervisor.
fn read(identity: &Identity<'_>, labels: &LabelMap) -> Option<Snapshot> {
    let get = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if get(PREFIX) != Some(identity.prefix) || identity.is_of_another_store(labels) {
        return None;
    }
    Some(Snapshot {
        id: SnapshotId::parse(get(ID)?)?,
        name: get(NAME).map(str::to_owned),
        sandbox: SandboxId::parse(get(SANDBOX)?).ok()?,
        template: get(TEMPLATE).map(str::to_owned),
        asked: get(ASKED).map(Asked::of_label).unwrap_or_default(),
        created_at: get(CREATED_AT)?.parse().ok().filter(|at: &f64| at.is_finite())?,
        passing: get(PASSING).is_some(),
    })
}

#[async_trait]
impl Snapshots for Docker {
    async fn take(&self, container: &ContainerRef, snapshot: &Snapshot) -> Result<(), RuntimeError> {
        let container = self.own_id(container, "take a snapshot of").await?;
        let (repository, tag) = repository_and_tag(&snapshot.id);
        let options = CommitContainerOptionsBuilder::default()
            .container(&container)
            .repo(repository)
            .tag(tag)
            .comment("a snapshot of a sandbox, taken by Sandglass")
            .pause(true)
            .build();
        let labels = labels(&self.engine.identity(), snapshot);
        let config = ContainerConfig { labels: Some(labels), ..Default::default() };
        // It takes as long as copying does, like a pull.
        let _lane = self.engine.pool.pull().await;
        let limit = self.engine.settings.pull_timeout;
        let commit = |docker: bollard::Docker| async move { docker.commit_container(options, config).await };
        let taken = self.engine.call_with(None, limit, commit).await;
        taken.map(drop).map_err(|error| error.during("take a snapshot of the container"))
    }

    async fn all(&self) -> Result<Vec<Snapshot>, RuntimeError> {
        let images = self.snapshot_images().await.map_err(|error| error.during("list the snapshots"))?;
        let identity = self.engine.identity();
        let snapshots = images.into_iter().filter_map(|image| {
            let snapshot = read(&identity, &image.labels)?;
            image.repo_tags.contains(&snapshot.image()).then_some(snapshot)
        });
        Ok(snapshots.collect())
    }

    async fn discard(&self, id: &SnapshotId) -> Result<bool, RuntimeError> {
        if !self.all().await?.iter().any(|snapshot| snapshot.id == *id) {
            return Ok(false);
        }
        // By force, an image that containers need loses only its reference.
        match self.remove_image(&reference(id), true).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.during("remove the snapshot")),
        }
    }

    async fn clear(&self) -> Result<(), RuntimeError> {
        let images = self.snapshot_images().await.map_err(|error| error.during("list the snapshots"))?;
        let identity = self.engine.identity();
        let lost = images.into_iter().filter(|image| {
            // Older engines show a missing reference as this text.
            let named = image.repo_tags.iter().chain(&image.repo_digests).any(|name| !name.starts_with("<none>"));
            !named && read(&identity, &image.labels).is_some()
        });
        let mut left: Vec<String> = lost.map(|image| image.id).collect();
        // One that was made from another has to go first, and nothing tells which that is.
        loop {
            let mut needed = Vec::new();
            for image in &left {
                match self.remove_image(image, false).await {
                    Ok(()) => {}
                    Err(error) if error.is_not_found() => {}
                    // A container needs it, or another image does.
                    Err(error) if error.is_conflict() => needed.push(image.clone()),
                    Err(error) => return Err(error.during("remove the bytes of a removed snapshot")),
                }
            }
            if needed.is_empty() || needed.len() == left.len() {
                return Ok(());
            }
            left = needed;
        }
    }
}

impl Docker {
    /// All images with our prefix, also those that have lost their reference.
    async fn snapshot_images(&self) -> Result<Vec<ImageSummary>, CallError> {
        let label = format!("{PREFIX}={}", self.engine.identity().prefix);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        self.engine.call(|docker| async move { docker.list_images(Some(options)).await }).await
    }

    async fn remove_image(&self, image: &str, force: bool) -> Result<(), CallError> {
        let options = RemoveImageOptionsBuilder::default().force(force).build();
        let removed =
            self.engine.call(|docker| async move { docker.remove_image(image, Some(options), None).await }).await;
        removed.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::identity::Origin;

    fn origin(store: &str) -> Option<Origin> {
        Some(Origin { store: store.to_owned(), domain: None })
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            id: SnapshotId::of_number(7),
            name: Some("before-the-upgrade".to_owned()),
            sandbox: SandboxId::parse("i1").unwrap(),
            template: Some("base".to_owned()),
            asked: Asked { ports: Some(vec![80]), ..Asked::default() },
            created_at: 1_800_000_000.125,
            passing: false,
        }
    }

    #[test]
    fn labels_are_read_as_they_were_written_and_hide_those_of_an_earlier_snapshot() {
        let identity = Identity { prefix: "sandglass", origin: origin("a") };
        let bare = Snapshot { name: None, template: None, asked: Asked::default(), passing: true, ..snapshot() };
        for written in [snapshot(), bare.clone()] {
            assert_eq!(read(&identity, &labels(&identity, &written)), Some(written));
        }
        let mut inherited = labels(&identity, &snapshot());
        inherited.extend(labels(&identity, &bare));
        assert_eq!(read(&identity, &inherited), Some(bare));
    }

    #[test]
    fn the_labels_of_a_snapshot_make_no_container_ours() {
        let identity = Identity { prefix: "sandglass", origin: origin("a") };
        let labels = labels(&identity, &snapshot());
        assert_eq!(identity.claim("0123456789ab", &labels), None);
    }

    #[test]
    fn another_supervisors_snapshot_is_not_ours() {
        let ours = Identity { prefix: "sandglass", origin: origin("a") };
        let of_other_prefix = Identity { prefix: "other", origin: origin("a") };
        let of_other_store = Identity { prefix: "sandglass", origin: origin("b") };
        for other in [of_other_prefix, of_other_store] {
            assert_eq!(read(&ours, &labels(&other, &snapshot())), None);
        }
    }
}
