//! The port [`Snapshots`] in memory: a snapshot has no files.

use async_trait::async_trait;

use super::{Memory, Point, containers::Look};
use crate::{
    domain::{
        sandbox::Container as State,
        snapshot::{Snapshot, SnapshotId},
    },
    ports::{
        runtime::{ContainerRef, RuntimeError},
        snapshots::Snapshots,
    },
};

#[async_trait]
impl Snapshots for Memory {
    async fn take(&self, container: &ContainerRef, snapshot: &Snapshot) -> Result<(), RuntimeError> {
        let (id, ran) = {
            let containers = self.containers();
            containers.must_be_up()?;
            match containers.look(container) {
                Look::Ours(id, entry) => (id, entry.state == State::Running),
                Look::Foreign | Look::Missing => {
                    return Err(RuntimeError::Failed(
                        "failed to take a snapshot of the container: there is none".to_owned(),
                    ));
                }
            }
        };
        if ran {
            self.containers().set_state(&id, State::Paused);
        }
        let keep = |containers: &mut super::containers::Containers| {
            containers.snapshots.push(snapshot.clone());
            Ok(())
        };
        let taken = self.step(Point::Snapshot, Some(&container.sandbox), keep).await;
        // An engine thaws it, even if it was frozen meanwhile.
        let mut containers = self.containers();
        if ran && containers.get(&id).is_some_and(|entry| entry.state == State::Paused) {
            containers.set_state(&id, State::Running);
        }
        taken
    }

    async fn all(&self) -> Result<Vec<Snapshot>, RuntimeError> {
        self.step(Point::List, None, |containers| Ok(containers.snapshots.clone())).await
    }

    async fn discard(&self, id: &SnapshotId) -> Result<bool, RuntimeError> {
        self.step(Point::Remove, None, |containers| {
            let before = containers.snapshots.len();
            containers.snapshots.retain(|snapshot| snapshot.id != *id);
            Ok(containers.snapshots.len() < before)
        })
        .await
    }

    async fn clear(&self) -> Result<(), RuntimeError> {
        self.containers().must_be_up()
    }
}
