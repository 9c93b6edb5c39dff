//! What tests do behind the port's back: look at the containers, and be somebody else who touches them.

use super::{Memory, containers::Mark};
use crate::{
    domain::{SandboxId, sandbox::Container as State},
    ports::runtime::{ContainerRef, Labels, Stranger},
};

impl Memory {
    /// How many containers there are, foreign ones included.
    pub fn len(&self) -> usize {
        self.containers().len()
    }

    /// Whether there is no container at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the sandbox's container does; `None`: it has none.
    pub fn state_of(&self, sandbox: &SandboxId) -> Option<State> {
        let containers = self.containers();
        let id = containers.of_sandbox(sandbox)?;
        containers.get(id).map(|entry| entry.state)
    }

    /// What the container with this id does, whoever it belongs to.
    pub fn state_of_id(&self, container_id: &str) -> Option<State> {
        self.containers().get(container_id).map(|entry| entry.state)
    }

    /// The sandbox's container ends by itself with this exit code. Whether there was one.
    pub fn exit(&self, sandbox: &SandboxId, code: i64) -> bool {
        self.set_state(sandbox, State::Stopped(Some(code)))
    }

    /// The kernel kills the sandbox's container for want of memory. Whether there was one.
    pub fn exhaust_memory(&self, sandbox: &SandboxId) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.exhaust_memory(&id)).is_some()
    }

    /// Somebody starts, freezes, thaws or stops the sandbox's container by hand. Whether there was one.
    pub fn set_state(&self, sandbox: &SandboxId, state: State) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.set_state(&id, state)).is_some()
    }

    /// Somebody gives the sandbox's container another name. Whether there was one.
    pub fn rename(&self, sandbox: &SandboxId, name: &str) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.rename(&id, name)).is_some()
    }

    /// The sandbox's container is removed by somebody else. Whether there was one.
    pub fn vanish(&self, sandbox: &SandboxId) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.remove(&id)).is_some()
    }

    /// The sandbox's container has written this, and nothing else. Whether there was one.
    pub fn write_output(&self, sandbox: &SandboxId, output: &str) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.write(&id, output)).is_some()
    }

    /// The sandbox's container is connected to its network anew, which gives it other ports. Whether there was one.
    pub fn move_ports(&self, sandbox: &SandboxId) -> bool {
        let mut containers = self.containers();
        let id = containers.of_sandbox(sandbox).map(str::to_owned);
        id.map(|id| containers.move_ports(&id)).is_some()
    }

    /// The engine ends as it is told to: it takes no calls any more, stops its containers, and tells that to those who
    /// listen already.
    pub fn engine_stops(&self) {
        self.containers().go_down();
    }

    /// The engine is killed, and its containers go on without it.
    pub fn engine_dies(&self) {
        self.containers().die();
    }

    /// The engine is started again. It remembers no events, and stops what it finds running, unless it shall `keep` that.
    pub fn engine_starts(&self, keep: bool) {
        self.containers().come_up(keep);
    }

    /// A running container of somebody else's; its id.
    pub fn put_foreign(&self, name: &str) -> String {
        self.containers().put(None, name, Labels::default(), State::Running)
    }

    /// A container with the labels of `owner` that is there from before; its id. Whatever id `owner` has is ignored.
    pub fn put(&self, owner: &ContainerRef, name: &str, labels: Labels, state: State) -> String {
        self.containers().put(Some(Mark::of(owner)), name, labels, state)
    }

    /// A running container that is not ours although it carries the labels of `owner`; its id.
    pub fn put_stranger(&self, why: Stranger, owner: &ContainerRef, name: &str, labels: Labels) -> String {
        self.containers().put_stranger(why, Mark::of(owner), name, labels)
    }
}
