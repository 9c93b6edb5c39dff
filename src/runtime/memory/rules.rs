//! The rules of containers for what they may reach.

use std::collections::HashMap;

use crate::{
    domain::egress::Egress,
    ports::{runtime::RuntimeError, walls::Blocked},
};

/// The rules of containers on isolated networks.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) by_container: HashMap<String, Wall>,
    /// Why none can be set, if so.
    pub(super) unable: Option<String>,
}

/// The rules of a container.
#[derive(Default)]
pub(super) struct Wall {
    /// What a restart puts in force.
    pub(super) known: Egress,
    /// `None` if somebody has flushed it.
    pub(super) in_force: Option<Egress>,
    pub(super) blocked: Blocked,
}

impl Rules {
    /// Fails if rules are asked for that cannot be set.
    pub(super) fn can_have(&self, egress: &Egress) -> Result<(), RuntimeError> {
        match &self.unable {
            Some(why) if !egress.is_empty() => Err(RuntimeError::Failed(why.clone())),
            _ => Ok(()),
        }
    }

    pub(super) fn put(&mut self, container: &str, egress: &Egress) {
        let wall = self.by_container.entry(container.to_owned()).or_default();
        wall.known = egress.clone();
        wall.in_force = self.unable.is_none().then(|| egress.clone());
    }

    /// Puts in force what is known, before the container runs again.
    pub(super) fn renew(&mut self, container: &str) {
        if let Some(wall) = self.by_container.get_mut(container) {
            wall.in_force = self.unable.is_none().then(|| wall.known.clone());
        }
    }

    pub(super) fn remove(&mut self, container: &str) {
        self.by_container.remove(container);
    }
}
