//! The agents of an engine in memory, which run in this process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sandglass_agent::{Agent, Setup};

/// The agents, by the ids of their containers.
#[derive(Default)]
pub(super) struct Agents(Mutex<HashMap<String, Agent>>);

impl Agents {
    pub(super) fn of(&self, id: &str) -> Agent {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = agents
            .entry(id.to_owned())
            .or_insert_with(|| Agent::new(Setup { environment: std::env::vars_os().collect(), ..Setup::default() }));
        agent.clone()
    }

    /// What runs in a container ends with it.
    pub(super) fn end(&self, id: &str) {
        if let Some(agent) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            agent.end();
        }
    }
}
