//! The interface to the walls around sandboxes ([design: walls](crate::design::walls)).

use std::{collections::HashMap, net::IpAddr};

use async_trait::async_trait;

use super::container::ContainerRef;
use crate::domain::egress::Egress;

/// Why rules cannot be set or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WallsError {
    /// Rules cannot be set on this engine. The text says what to do.
    #[error("{0}")]
    Unable(String),
    /// There is no such container, or it is on no isolated network.
    #[error("the container has no walls: {0}")]
    NoWalls(String),
    /// It failed or took too long. The rules may or may not have been set.
    #[error("{0}")]
    Failed(String),
}

/// What a sandbox tried to reach in vain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Blocked {
    /// How many packets were dropped.
    pub packets: u64,
    /// Where they were sent, with how many packets each: at most 16, the most recent or most frequent first.
    pub recent: Vec<(IpAddr, u64)>,
}

/// Sets what sandboxes on isolated networks may reach.
///
/// The rules of a start are in place before its container runs, and go with the container.
#[async_trait]
pub trait Walls: Send + Sync {
    /// Replaces the rules of a living container, atomically.
    ///
    /// # Errors
    /// [`WallsError`]. Unless it is `Failed`, nothing was changed.
    async fn set(&self, container: &ContainerRef, egress: &Egress) -> Result<(), WallsError>;

    /// Reads what was blocked since the rules of the container were first set, as far as that is still known.
    ///
    /// # Errors
    /// [`WallsError`].
    async fn blocked(&self, container: &ContainerRef) -> Result<Blocked, WallsError>;

    /// Compares all rules with those that are to be, mends what differs, and drops the rest. `expected` has the rules of all
    /// living sandboxes on isolated networks by their containers' ids. Containers whose start is under way are left alone.
    /// Later restarts take the rules from here, or from a later [`Walls::set`].
    ///
    /// # Errors
    /// [`WallsError`] when it is not known that all rules are in place.
    async fn tend(&self, expected: HashMap<String, Egress>) -> Result<(), WallsError>;

    /// What is not blocked although sandboxes are on isolated networks, in one sentence; `None` if nothing is left open.
    fn gap(&self) -> Option<String>;
}
