//! Everything that is known of a sandbox besides its state.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    super::{
        egress::{Egress, Network},
        fields::Fields,
        id::SandboxId,
        time::{EpochSeconds, Moment},
        words::ActivitySource,
    },
    rules::Rules,
};

/// Fields of a JSON object as they were written: names, and values byte for byte, so that no number loses a digit and no
/// text an escape.
pub type RawFields = Fields<Box<RawValue>>;

/// How many holds of clients a sandbox can have.
pub const MOST_HOLDS: usize = 16;
/// How many commands can hold a sandbox at once.
pub const MOST_COMMAND_HOLDS: usize = 64;
/// What the name of a command's hold begins with; a client's own holds cannot have such names.
const COMMAND: &str = "command:";

/// How much of a command's line a sentence has, in characters.
const MOST_LINE: usize = 60;

/// A hold on a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What its owner calls it.
    pub name: Box<str>,
    /// What it is for, in its owner's words.
    pub reason: Option<Box<str>>,
    /// When it was taken.
    pub since: Moment,
    /// When it is over, unless it is renewed.
    pub until: Moment,
}

impl Hold {
    /// The command that holds it, if one does.
    pub fn command(&self) -> Option<&str> {
        command_of(&self.name)
    }

    /// What people are told that holds it: a command by its line, anything else by its name.
    pub fn holder(&self) -> String {
        holder(&self.name, self.reason.as_deref())
    }
}

/// A request to take or renew a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRequest {
    /// What its owner calls it.
    pub name: Box<str>,
    /// How long it lasts from now on.
    pub ttl: Duration,
    /// What it is for.
    pub reason: Option<Box<str>>,
}

impl HoldRequest {
    /// The hold of a command that runs, for at most `longest`.
    pub fn of_command(command: &str, longest: Duration, reason: Box<str>) -> Self {
        Self { name: command_hold(command), ttl: longest, reason: Some(reason) }
    }
}

/// The name of a command's hold.
pub fn command_hold(command: &str) -> Box<str> {
    format!("{COMMAND}{command}").into()
}

/// The command whose hold has this name.
pub fn command_of(name: &str) -> Option<&str> {
    name.strip_prefix(COMMAND)
}

/// What people are told that holds a sandbox, of a hold's name and reason: "ci", or "command make test".
pub fn holder(name: &str, reason: Option<&str>) -> String {
    let Some(id) = command_of(name) else { return name.to_owned() };
    // One line, of a script too.
    let line = reason.unwrap_or(id).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST_LINE) {
        Some((end, _)) => format!("command {}…", &line[..end]),
        None => format!("command {line}"),
    }
}

/// Work that somebody wants to do in a sandbox, through Sandglass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What kind of work.
    pub source: ActivitySource,
    /// The hold of a command, which lasts as long as that runs.
    pub hold: Option<HoldRequest>,
}

/// Everything that is known of a sandbox besides its state. It changes only at transitions, and is shared by the actor, the
/// journal and readers.
#[derive(Clone, Debug)]
pub struct Details {
    /// Its identifier.
    pub id: SandboxId,
    /// The rules that it lives by.
    pub rules: Rules,
    /// The holds on it, in the order of their names.
    pub holds: Box<[Hold]>,
    /// The template it was made from.
    pub template: Option<Box<str>>,
    /// The image it runs.
    pub image: Option<Box<str>>,
    /// The container's name; empty if a record of the reference system lacks it.
    pub container_name: Box<str>,
    /// The container's id, once it has one.
    pub container_id: Option<Box<str>>,
    /// Where its first port is reached.
    pub base_url: Option<Box<str>>,
    /// Container ports and the addresses where they are reached: `{"80": "127.0.0.1:32768"}`.
    pub ports: Fields<Box<str>>,
    /// The last error.
    pub error_message: Option<Box<str>>,
    /// When it was requested.
    pub created_at: EpochSeconds,
    /// When its container started.
    pub started_at: Option<EpochSeconds>,
    /// The metadata of its owner.
    pub metadata: RawFields,
    /// The reference system's name for a template.
    pub shell_type: Option<Box<str>>,
    /// Its owner's identifier: a number or a text, byte for byte.
    pub user_id: Option<Box<RawValue>>,
    /// Its owner's name.
    pub user_name: Option<Box<str>>,
    /// Kept for the reference system.
    pub executor_namespace: Option<Box<str>>,
    /// Whether the record was taken over from the reference system, whose containers carry other labels.
    pub taken_over: bool,
    /// Whether work in it while it is paused resumes it first; `None`: as its template says.
    pub wake: Option<bool>,
    /// Whether its ports answer requests without its token.
    pub public_traffic: bool,
    /// The `Host` that its ports see in requests; `${PORT}` in it stands for the port. `None`: the one that was sent.
    pub mask_request_host: Option<Box<str>>,
    /// The network that it joined; `None` if that is not known, as of one that was made before there were walls.
    pub network: Option<Network>,
    /// What it may reach, if that is [`Network::Isolated`]; `None`: all that the walls leave open.
    pub egress: Option<Box<Egress>>,
    /// Fields of the record that Sandglass does not know.
    pub extra: RawFields,
    /// The end of what its container wrote, if that ended by itself: at most 20 lines and 4 KiB.
    pub last_output: Option<Box<str>>,
    /// The error of the last attempt to remove or restart its container; not written to the record.
    pub engine_error: Option<Box<str>>,
}

impl Details {
    /// The details of a sandbox of which only these are known.
    pub fn new(id: SandboxId, container_name: impl Into<Box<str>>, created_at: EpochSeconds, rules: Rules) -> Self {
        Self {
            container_name: container_name.into(),
            id,
            rules,
            holds: Box::default(),
            template: None,
            image: None,
            container_id: None,
            base_url: None,
            ports: Fields::new(),
            error_message: None,
            created_at,
            started_at: None,
            metadata: RawFields::new(),
            shell_type: None,
            user_id: None,
            user_name: None,
            executor_namespace: None,
            taken_over: false,
            wake: None,
            public_traffic: false,
            mask_request_host: None,
            network: None,
            egress: None,
            extra: RawFields::new(),
            last_output: None,
            engine_error: None,
        }
    }
}
