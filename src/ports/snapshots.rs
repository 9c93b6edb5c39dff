//! The interface to the engine's images of containers ([design: snapshots](crate::design::engine::snapshots)).

use async_trait::async_trait;

use super::{container::ContainerRef, error::RuntimeError};
use crate::domain::snapshot::{Snapshot, SnapshotId};

/// Makes, lists and discards images of containers' files.
///
/// Implementations touch only the images of this supervisor ([design: ours only](crate::design::engine::ours_only)): those
/// whose labels name it, and whose own reference is the one that the labels name.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Makes an image of the container's files. The container stands still meanwhile, and goes on afterwards unless it was
    /// frozen before; what runs in it and its memory are not part of the image. Takes as long as copying what the container
    /// has written.
    ///
    /// # Errors
    /// When the image is not confirmed to exist. It may appear later.
    async fn take(&self, container: &ContainerRef, snapshot: &Snapshot) -> Result<(), RuntimeError>;

    /// Lists all images, in no particular order.
    ///
    /// # Errors
    /// When the list is not complete.
    async fn all(&self) -> Result<Vec<Snapshot>, RuntimeError>;

    /// Discards an image; false if there is none. From then on it is not listed, and nothing can be made from it. If containers
    /// were made from it, its bytes stay until [`Snapshots::clear`] is called after their end.
    ///
    /// # Errors
    /// When it is not confirmed to be discarded.
    async fn discard(&self, id: &SnapshotId) -> Result<bool, RuntimeError>;

    /// Removes the bytes of discarded images that no container needs any more.
    ///
    /// # Errors
    /// When that is not known of all.
    async fn clear(&self) -> Result<(), RuntimeError>;
}
