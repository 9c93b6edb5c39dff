//! The port [`Walls`] in memory: rules are kept, and block nothing.

use std::{collections::HashMap, net::IpAddr};

use async_trait::async_trait;

use super::{
    Memory, Point,
    containers::{Containers, Look},
    rules::Wall,
};
use crate::{
    domain::{SandboxId, egress::Egress},
    ports::{
        runtime::{ContainerRef, RuntimeError},
        walls::{Blocked, Walls, WallsError},
    },
};

impl Memory {
    /// The rules in force for the sandbox's container; `None` if it has none.
    pub fn rules_of(&self, sandbox: &SandboxId) -> Option<Egress> {
        let containers = self.containers();
        containers.rules.by_container.get(containers.of_sandbox(sandbox)?)?.in_force.clone()
    }

    /// How many containers there are rules of.
    pub fn count_rules(&self) -> usize {
        self.containers().rules.by_container.len()
    }

    /// Takes all rules out of force, as somebody does who flushes the firewall.
    pub fn flush_rules(&self) {
        self.containers().rules.by_container.values_mut().for_each(|wall| wall.in_force = None);
    }

    /// Notes packets that the sandbox sent in vain.
    pub fn block(&self, sandbox: &SandboxId, to: IpAddr, packets: u64) {
        let mut containers = self.containers();
        let Some(id) = containers.of_sandbox(sandbox).map(str::to_owned) else { return };
        if let Some(wall) = containers.rules.by_container.get_mut(&id) {
            wall.blocked.packets += packets;
            wall.blocked.recent.insert(0, (to, packets));
        }
    }

    /// From now on no rules can be set, for this reason.
    pub fn lose_walls(&self, why: &str) {
        self.containers().rules.unable = Some(why.to_owned());
    }

    async fn with_walls<T>(
        &self,
        container: &ContainerRef,
        effect: impl FnOnce(&mut Wall) -> T + Send,
    ) -> Result<T, WallsError> {
        let able = |containers: &mut Containers| Ok(containers.rules.unable.clone());
        if let Some(why) =
            self.step(Point::Walls, Some(&container.sandbox), able).await.map_err(|error| failed(&error))?
        {
            return Err(WallsError::Unable(why));
        }
        let mut containers = self.containers();
        let id = match containers.look(container) {
            Look::Ours(id, _) => Some(id),
            Look::Foreign | Look::Missing => None,
        };
        let wall = id.and_then(|id| containers.rules.by_container.get_mut(&id));
        wall.map(effect).ok_or_else(|| WallsError::NoWalls("there is none, or it is on no isolated network".to_owned()))
    }
}

#[async_trait]
impl Walls for Memory {
    async fn set(&self, container: &ContainerRef, egress: &Egress) -> Result<(), WallsError> {
        let set = |wall: &mut Wall| {
            wall.known = egress.clone();
            wall.in_force = Some(egress.clone());
        };
        self.with_walls(container, set).await
    }

    async fn blocked(&self, container: &ContainerRef) -> Result<Blocked, WallsError> {
        self.with_walls(container, |wall| wall.blocked.clone()).await
    }

    async fn tend(&self, expected: HashMap<String, Egress>) -> Result<(), WallsError> {
        let tend = |containers: &mut Containers| {
            // Rules go with their container, so nothing is left over to be dropped.
            for (container, egress) in &expected {
                if containers.get(container).is_some() {
                    containers.rules.put(container, egress);
                }
            }
            Ok(containers.rules.unable.clone())
        };
        match self.step(Point::Walls, None, tend).await.map_err(|error| failed(&error))? {
            Some(why) if expected.values().any(|egress| !egress.is_empty()) => Err(WallsError::Unable(why)),
            _ => Ok(()),
        }
    }

    fn gap(&self) -> Option<String> {
        self.containers().rules.unable.clone()
    }
}

fn failed(error: &RuntimeError) -> WallsError {
    WallsError::Failed(error.to_string())
}
