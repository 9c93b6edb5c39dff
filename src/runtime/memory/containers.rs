//! The containers, their indexes, and their changes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{log::Log, rules::Rules};
use crate::{
    domain::{EpochSeconds, SandboxId, egress::Network, sandbox::Container as State, snapshot::Snapshot, spec::Limits},
    ports::runtime::{
        ContainerEvent, ContainerEventKind as Kind, ContainerRef, EndAccount, Inspected, Labels, Listed, Owner,
        RuntimeError, Start, Started, Stranger,
    },
    runtime::labels,
};

/// Tells the wall-clock time. An argument, so that tests decide how old a container is.
pub type WallClock = Arc<dyn Fn() -> EpochSeconds + Send + Sync>;

/// The range of published ports. Nothing listens on them.
const FIRST_HOST_PORT: u64 = 20_000;
const HOST_PORTS: u64 = 40_000;

/// The exit code of a process that SIGTERM ended.
pub(super) const TERMINATED: i64 = 143;
/// The exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;

/// The owner's labels.
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

    /// The container with this id and these labels, if they name a valid sandbox.
    fn reference(&self, id: &str) -> Option<ContainerRef> {
        let (sandbox, owner) = match self {
            Self::Sandglass(sandbox) => (sandbox.clone(), Owner::Sandglass),
            Self::Reference(task_id) => {
                (SandboxId::parse(task_id).ok()?, Owner::Reference { task_id: task_id.clone() })
            }
        };
        Some(ContainerRef { sandbox, container_id: Some(id.to_owned()), name: None, owner })
    }
}

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// The run of the engine in which it last ended.
    ended_in: u64,
    output: Option<String>,
    /// How often it got other ports.
    moved: u64,
    oom_killed: bool,
    created_at: EpochSeconds,
    /// `None` for a foreign container.
    mark: Option<Mark>,
    number: u64,
    name: String,
    /// Why it is not ours despite its mark.
    stranger: Option<Stranger>,
    image: String,
    ports: Vec<u16>,
    pub(super) limits: Limits,
    labels: Labels,
}

/// Encodes and decodes labels, as other engines do.
fn through_text(written: Labels) -> Labels {
    labels::read(&Owner::Sandglass, &labels::write(written).collect())
}

/// The result of a search.
pub(super) enum Look<'a> {
    Ours(String, &'a Entry),
    Foreign,
    Missing,
}

/// All containers.
pub(super) struct Containers {
    pub(super) log: Log,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) rules: Rules,
    now: WallClock,
    /// Sorted, so that listings are deterministic.
    by_id: BTreeMap<String, Entry>,
    by_mark: HashMap<Mark, String>,
    by_name: HashMap<String, String>,
    created: u64,
    /// How often the engine was started or killed.
    run: u64,
    is_down: bool,
}

impl Containers {
    pub(super) fn new(now: WallClock) -> Self {
        let (by_mark, by_name) = Default::default();
        Self {
            log: Log::default(),
            snapshots: Vec::new(),
            rules: Rules::default(),
            now,
            by_id: BTreeMap::new(),
            by_mark,
            by_name,
            created: 0,
            run: 0,
            is_down: false,
        }
    }

    /// How often the engine was started or killed.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// Fails if the engine is down.
    pub(super) fn must_be_up(&self) -> Result<(), RuntimeError> {
        match self.is_down {
            true => Err(RuntimeError::Unreachable("the engine is down".to_owned())),
            false => Ok(()),
        }
    }

    pub(super) fn go_down(&mut self) {
        self.is_down = true;
        self.stop_all();
    }

    pub(super) fn die(&mut self) {
        self.is_down = true;
        self.run += 1;
        self.log.forget();
    }

    pub(super) fn come_up(&mut self, keep: bool) {
        self.run += 1;
        self.log.forget();
        if !keep {
            self.run -= 1;
            self.stop_all();
            self.run += 1;
        }
        self.is_down = false;
    }

    fn stop_all(&mut self) {
        let ids: Vec<_> = self.by_id.keys().cloned().collect();
        for id in ids {
            if self.by_id.get(&id).is_some_and(|entry| entry.state == State::Paused) {
                self.set_state(&id, State::Running);
            }
            if self.by_id.get(&id).is_some_and(|entry| entry.state == State::Running) {
                self.set_state(&id, State::Stopped(Some(TERMINATED)));
            }
        }
    }

    pub(super) fn write(&mut self, id: &str, output: &str) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.output = Some(output.to_owned());
        }
    }

    pub(super) fn move_ports(&mut self, id: &str) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.moved += 1;
        }
    }

    pub(super) fn create(&mut self, start: &Start) -> Result<String, RuntimeError> {
        let mark = Mark::Sandglass(start.id.clone());
        self.rules.can_have(&start.spec.egress)?;
        if let Some(holder) = self.by_name.get(&start.name).cloned() {
            if self
                .by_id
                .get(&holder)
                .is_none_or(|entry| entry.stranger.is_some() || entry.mark.as_ref() != Some(&mark))
            {
                return Err(RuntimeError::Failed(format!("the container name {:?} is taken", start.name)));
            }
            self.remove(&holder);
        }
        let (spec, mut entry) = (&start.spec, self.entry(Some(mark), &start.name, start.labels.clone()));
        entry.image.clone_from(&spec.image);
        entry.ports.clone_from(&spec.ports);
        entry.limits = spec.limits;
        let id = self.insert(entry);
        if spec.network == Network::Isolated {
            self.rules.put(&id, &spec.egress);
        }
        Ok(id)
    }

    pub(super) fn put_stranger(&mut self, why: Stranger, mark: Mark, name: &str, labels: Labels) -> String {
        let entry = Entry { stranger: Some(why), ..self.entry(Some(mark), name, labels) };
        let id = self.insert(entry);
        self.set_state(&id, State::Running);
        id
    }

    /// Renames the container; its labels keep the old name.
    pub(super) fn rename(&mut self, id: &str, name: &str) {
        let Some(entry) = self.by_id.get_mut(id) else { return };
        self.by_name.remove(&entry.name);
        self.by_name.insert(name.to_owned(), id.to_owned());
        name.clone_into(&mut entry.name);
        entry.stranger = Some(Stranger::Copy);
        if let Some(mark) = &entry.mark {
            self.by_mark.remove(mark);
        }
    }

    pub(super) fn put(&mut self, mark: Option<Mark>, name: &str, labels: Labels, state: State) -> String {
        let entry = self.entry(mark, name, labels);
        let id = self.insert(entry);
        self.set_state(&id, state);
        id
    }

    /// A container that has never run.
    fn entry(&mut self, mark: Option<Mark>, name: &str, labels: Labels) -> Entry {
        self.created += 1;
        Entry {
            state: State::Stopped(None),
            ended_in: 0,
            output: None,
            moved: 0,
            oom_killed: false,
            created_at: (self.now)(),
            mark,
            number: self.created,
            name: name.to_owned(),
            stranger: None,
            image: "busybox:stable".to_owned(),
            ports: Vec::new(),
            limits: Limits::default(),
            labels: through_text(labels),
        }
    }

    fn insert(&mut self, entry: Entry) -> String {
        let id = format!("{:012x}", entry.number);
        if let Some(mark) = entry.mark.clone()
            && entry.stranger.is_none()
        {
            self.by_mark.insert(mark, id.clone());
        }
        self.by_name.insert(entry.name.clone(), id.clone());
        self.by_id.insert(id.clone(), entry);
        id
    }

    /// Removes the container, killing it if it runs.
    pub(super) fn remove(&mut self, id: &str) {
        self.set_state(id, State::Stopped(Some(KILLED)));
        self.tell(id, Kind::Destroyed);
        self.rules.remove(id);
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

    /// Finds a container by its labels and its id, or the recorded name, or else the name in its labels.
    pub(super) fn look(&self, container: &ContainerRef) -> Look<'_> {
        let mark = Mark::of(container);
        let id = match (&container.container_id, &container.name) {
            (Some(id), _) => Some(id),
            (None, Some(name)) => {
                self.by_name.get(name).filter(|id| self.by_id.get(*id).is_some_and(|entry| entry.is_named_by(&mark)))
            }
            (None, None) => self.by_mark.get(&mark),
        };
        match id.and_then(|id| self.by_id.get(id).map(|entry| (id, entry))) {
            None => Look::Missing,
            Some((id, entry)) if entry.mark.as_ref() == Some(&mark) => Look::Ours(id.clone(), entry),
            Some(_) => Look::Foreign,
        }
    }

    pub(super) fn of_sandbox(&self, id: &SandboxId) -> Option<&str> {
        self.by_mark.get(&Mark::Sandglass(id.clone())).map(String::as_str)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.by_id.get(id)
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        self.by_id.iter().filter_map(|(id, entry)| entry.listed(id)).collect()
    }

    /// Sets the container's state and logs the events.
    pub(super) fn set_state(&mut self, id: &str, state: State) {
        let run = self.run;
        let Some(entry) = self.by_id.get_mut(id) else { return };
        let before = std::mem::replace(&mut entry.state, state);
        if matches!(before, State::Running | State::Paused) {
            entry.ended_in = run;
        }
        let kinds: &[Kind] = match (before, state) {
            (State::Running, State::Paused) => &[Kind::Paused],
            (State::Paused, State::Running) => &[Kind::Unpaused],
            (State::Running | State::Paused, State::Stopped(exit_code)) => &[Kind::Died { exit_code }],
            (State::Stopped(_), State::Running) => &[Kind::Started],
            (State::Stopped(_), State::Paused) => &[Kind::Started, Kind::Paused],
            _ => &[],
        };
        if kinds.contains(&Kind::Started) {
            entry.oom_killed = false;
            entry.moved += 1;
        }
        for kind in kinds {
            self.tell(id, *kind);
        }
    }

    pub(super) fn exhaust_memory(&mut self, id: &str) {
        let Some(entry) = self.by_id.get_mut(id) else { return };
        entry.oom_killed = true;
        self.tell(id, Kind::OutOfMemory);
        self.set_state(id, State::Stopped(Some(KILLED)));
    }

    fn tell(&mut self, id: &str, kind: Kind) {
        let Some(entry) = self.by_id.get(id) else { return };
        let (mark, stranger) = (entry.mark.as_ref(), entry.stranger);
        if let Some(container) = mark.and_then(|mark| mark.reference(id)) {
            self.log.push(ContainerEvent { at: (self.now)(), container, kind, stranger });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Entry {
    /// Whether a record can mean this container by its name.
    fn is_named_by(&self, mark: &Mark) -> bool {
        self.mark.as_ref() == Some(mark) && self.stranger != Some(Stranger::OfAnotherStore)
    }

    pub(super) fn started(&self, id: &str) -> Started {
        let address = |index: usize| {
            let port = FIRST_HOST_PORT + (self.number * 8 + self.moved * 100 + index as u64) % HOST_PORTS;
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

    /// What the engine knows about the end, in the given run.
    pub(super) fn account(&self, run: u64) -> EndAccount {
        EndAccount { stayed_up: self.ended_in == run, out_of_memory: self.oom_killed, last_output: self.output.clone() }
    }

    pub(super) fn inspected(&self, id: &str) -> Inspected {
        Inspected {
            state: self.state,
            oom_killed: self.oom_killed,
            started: self.started(id),
            name: self.name.clone(),
            image: Some(self.image.clone()),
            labels: self.shown_labels(),
        }
    }

    fn listed(&self, id: &str) -> Option<Listed> {
        Some(Listed {
            container: self.mark.as_ref()?.reference(id)?,
            state: match self.state {
                State::Stopped(_) => State::Stopped(None),
                other => other,
            },
            name: self.name.clone(),
            image: Some(self.image.clone()),
            labels: self.shown_labels(),
            ports: self.started(id).ports,
            created_at: self.created_at,
            stranger: self.stranger,
        })
    }

    fn shown_labels(&self) -> Labels {
        match self.mark {
            Some(Mark::Sandglass(_)) => self.labels.clone(),
            _ => Labels::default(),
        }
    }
}
