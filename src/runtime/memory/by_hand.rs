//! For tests: inspects and changes containers past the port. Changes return whether the sandbox has a container.

use super::{
    Memory,
    containers::{Containers, Mark},
};
use crate::{
    domain::{SandboxId, sandbox::Container as State},
    ports::runtime::{ContainerRef, Labels, Stranger},
};

impl Memory {
    /// Applies `change` to the sandbox's container. Returns whether there is one.
    fn by_hand(&self, sandbox: &SandboxId, change: impl FnOnce(&mut Containers, &str)) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| change(&mut containers, &id)).is_some()
    }

    /// The number of containers, including foreign ones.
    pub fn len(&self) -> usize {
        self.containers().len()
    }

    /// Whether there is no container.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of the sandbox's container, if it has one.
    pub fn state_of(&self, sandbox: &SandboxId) -> Option<State> {
        let containers = self.containers();
        let id = containers.of_sandbox(sandbox)?;
        containers.get(id).map(|entry| entry.state)
    }

    /// The state of the container with this id, including foreign ones.
    pub fn state_of_id(&self, container_id: &str) -> Option<State> {
        self.containers().get(container_id).map(|entry| entry.state)
    }

    /// Ends the sandbox's container with this exit code.
    pub fn exit(&self, sandbox: &SandboxId, code: i64) -> bool {
        self.set_state(sandbox, State::Stopped(Some(code)))
    }

    /// Ends the sandbox's container as if it had run out of memory.
    pub fn exhaust_memory(&self, sandbox: &SandboxId) -> bool {
        self.by_hand(sandbox, |containers, id| containers.exhaust_memory(id))
    }

    /// Starts, freezes, thaws or stops the sandbox's container.
    pub fn set_state(&self, sandbox: &SandboxId, state: State) -> bool {
        self.by_hand(sandbox, |containers, id| containers.set_state(id, state))
    }

    /// Renames the sandbox's container.
    pub fn rename(&self, sandbox: &SandboxId, name: &str) -> bool {
        self.by_hand(sandbox, |containers, id| containers.rename(id, name))
    }

    /// Removes the sandbox's container.
    pub fn vanish(&self, sandbox: &SandboxId) -> bool {
        self.by_hand(sandbox, |containers, id| containers.remove(id))
    }

    /// Sets the output of the sandbox's container.
    pub fn write_output(&self, sandbox: &SandboxId, output: &str) -> bool {
        self.by_hand(sandbox, |containers, id| containers.write(id, output))
    }

    /// Gives the sandbox's container other ports, as a reconnect to its network does.
    pub fn move_ports(&self, sandbox: &SandboxId) -> bool {
        self.by_hand(sandbox, |containers, id| containers.move_ports(id))
    }

    /// Shuts the engine down: it takes no more calls, stops its containers, and sends the events to open streams.
    pub fn engine_stops(&self) {
        self.containers().go_down();
    }

    /// Kills the engine; its containers keep running.
    pub fn engine_dies(&self) {
        self.containers().die();
    }

    /// Starts the engine again, without its memory of events. It stops running containers unless told to `keep` them.
    pub fn engine_starts(&self, keep: bool) {
        self.containers().come_up(keep);
    }

    /// Adds a running container without labels; returns its id.
    pub fn put_foreign(&self, name: &str) -> String {
        self.containers().put(None, name, Labels::default(), State::Running)
    }

    /// Adds a container with the labels of `owner`, whose id is ignored; returns its id.
    pub fn put(&self, owner: &ContainerRef, name: &str, labels: Labels, state: State) -> String {
        self.containers().put(Some(Mark::of(owner)), name, labels, state)
    }

    /// Adds a running container that is not ours despite the labels of `owner`; returns its id.
    pub fn put_stranger(&self, why: Stranger, owner: &ContainerRef, name: &str, labels: Labels) -> String {
        self.containers().put_stranger(why, Mark::of(owner), name, labels)
    }
}
