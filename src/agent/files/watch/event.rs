//! What a client is told about changes.

use serde::Serialize;

use crate::files::entry::Entry;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// The path below the directory that is watched; `.` is the directory itself.
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// What stands there now, if the client has asked for it and anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<Box<Entry>>,
}

/// Kinds of changes. A file that is moved is `Rename` under its old name and `Create` under its new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Kind {
    #[serde(rename = "EVENT_TYPE_CREATE")]
    Create,
    #[serde(rename = "EVENT_TYPE_WRITE")]
    Write,
    #[serde(rename = "EVENT_TYPE_REMOVE")]
    Remove,
    #[serde(rename = "EVENT_TYPE_RENAME")]
    Rename,
    #[serde(rename = "EVENT_TYPE_CHMOD")]
    Chmod,
}
