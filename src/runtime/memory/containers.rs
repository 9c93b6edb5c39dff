//! The containers, and what they are found by.

use std::collections::{BTreeMap, HashMap};

use crate::{
    domain::{SandboxId, lifecycle::Container as State},
    ports::runtime::{ContainerRef, Inspected, Labels, Owner, RuntimeError, Start, Started},
};

/// Published ports lie here; nothing listens on them.
const FIRST_HOST_PORT: u64 = 20_000;
const HOST_PORTS: u64 = 40_000;

/// What the owner's labels prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    Sandglass(SandboxId),
    Reference(String),
}

impl Mark {
    pub(super) fn of(container: &ContainerRef) -> Self {
        match &container.owner {
            Owner::Sandglass => Self::Sandglass(container.sandbox.clone()),
            Owner::Reference { task_id } => Self::Reference(task_id.clone()),
        }
    }
}

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// `None`: it is somebody else's.
    mark: Option<Mark>,
    number: u64,
    name: String,
    image: String,
    ports: Vec<u16>,
    labels: Labels,
}

/// What was found under a reference.
pub(super) enum Look<'a> {
    Ours(String, &'a mut Entry),
    Foreign,
    Missing,
}

/// All containers.
#[derive(Default)]
pub(super) struct Containers {
    by_id: HashMap<String, Entry>,
    by_mark: HashMap<Mark, String>,
    by_name: HashMap<String, String>,
    created: u64,
}

impl Containers {
    pub(super) fn create(&mut self, start: &Start) -> Result<String, RuntimeError> {
        let mark = Mark::Sandglass(start.id.clone());
        if let Some(holder) = self.by_name.get(&start.name).cloned() {
            if self.by_id.get(&holder).is_none_or(|entry| entry.mark.as_ref() != Some(&mark)) {
                return Err(RuntimeError::Failed(format!("the container name {:?} is taken", start.name)));
            }
            self.remove(&holder);
        }
        let (spec, state) = (&start.spec, State::Stopped(None));
        let entry = Entry {
            state,
            mark: Some(mark),
            number: 0,
            name: start.name.clone(),
            image: spec.image.clone(),
            ports: spec.ports.clone(),
            labels: start.labels.clone(),
        };
        Ok(self.insert(entry))
    }

    /// A container that was there before.
    pub(super) fn put(&mut self, mark: Option<Mark>, name: &str, labels: Labels, state: State) -> String {
        let (name, image) = (name.to_owned(), "busybox:stable".to_owned());
        self.insert(Entry { state, mark, number: 0, name, image, ports: Vec::new(), labels })
    }

    fn insert(&mut self, mut entry: Entry) -> String {
        self.created += 1;
        entry.number = self.created;
        let id = format!("{:012x}", self.created);
        if let Some(mark) = entry.mark.clone() {
            self.by_mark.insert(mark, id.clone());
        }
        self.by_name.insert(entry.name.clone(), id.clone());
        self.by_id.insert(id.clone(), entry);
        id
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(entry) = self.by_id.remove(id) else { return };
        if self.by_name.get(&entry.name).is_some_and(|holder| holder == id) {
            self.by_name.remove(&entry.name);
        }
        if let Some(mark) = entry.mark
            && self.by_mark.get(&mark).is_some_and(|holder| holder == id)
        {
            self.by_mark.remove(&mark);
        }
    }

    /// By its id, else by its labels, and never by its name.
    pub(super) fn look(&mut self, container: &ContainerRef) -> Look<'_> {
        let mark = Mark::of(container);
        let id = container.container_id.clone().or_else(|| self.by_mark.get(&mark).cloned());
        match id.and_then(|id| self.by_id.get_mut(&id).map(|entry| (id, entry))) {
            None => Look::Missing,
            Some((id, entry)) if entry.mark.as_ref() == Some(&mark) => Look::Ours(id, entry),
            Some(_) => Look::Foreign,
        }
    }

    pub(super) fn of_sandbox(&mut self, id: &SandboxId) -> Option<(String, &mut Entry)> {
        let container_id = self.by_mark.get(&Mark::Sandglass(id.clone()))?.clone();
        let entry = self.by_id.get_mut(&container_id)?;
        Some((container_id, entry))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.by_id.get(id)
    }

    pub(super) fn set_state(&mut self, id: &str, state: State) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.state = state;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Entry {
    pub(super) fn started(&self, id: &str) -> Started {
        let address = |index: usize| {
            let port = FIRST_HOST_PORT + (self.number * 8 + index as u64) % HOST_PORTS;
            format!("127.0.0.1:{port}")
        };
        let published: BTreeMap<_, _> =
            self.ports.iter().enumerate().map(|(index, port)| (port.to_string(), address(index))).collect();
        // An engine shows no ports of a container that does not run.
        let up = matches!(self.state, State::Running | State::Paused);
        Started {
            container_id: id.to_owned(),
            base_url: self.ports.first().filter(|_| up).map(|_| format!("http://{}", address(0))),
            ports: if up { published } else { BTreeMap::new() },
        }
    }

    pub(super) fn inspected(&self, id: &str) -> Inspected {
        Inspected {
            state: self.state,
            started: self.started(id),
            name: self.name.clone(),
            image: Some(self.image.clone()),
            labels: match self.mark {
                Some(Mark::Sandglass(_)) => self.labels.clone(),
                _ => Labels::default(),
            },
        }
    }
}
