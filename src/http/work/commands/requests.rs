//! What clients ask of commands.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    domain::leaf::{EnvName, Leaf, Text, Timeout, Whole, object_or_null},
    http::error::ApiError,
    work::{Command, Program, Tty},
};

/// A command to be run: either `command` or `shell`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct CommandRequest {
    /// A program and its arguments.
    #[schema(value_type = Option<Vec<String>>)]
    pub(super) command: Option<Vec<Text>>,
    /// A line for the shell: bash where the image has one, else sh.
    #[schema(value_type = Option<String>)]
    pub(super) shell: Option<Text>,
    /// Environment variables, beside and over the container's.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub(super) env: Option<BTreeMap<EnvName, Text>>,
    /// The directory that it runs in; left out: the container's own.
    #[schema(value_type = Option<String>)]
    pub(super) cwd: Option<Text>,
    /// Who runs it: a name or `UID[:GID]`; left out: whom the image names.
    #[schema(value_type = Option<String>)]
    pub(super) user: Option<Text>,
    /// Seconds after which it is ended, more than 0, or a duration such as "10m"; left out: never.
    #[schema(value_type = Option<f64>)]
    pub(super) timeout: Option<Timeout>,
    /// Its standard input; left out: none.
    #[schema(value_type = Option<String>)]
    pub(super) stdin: Option<String>,
    /// Whether its standard input stays open after that, for `…/input`.
    #[serde(default)]
    pub(super) stdin_open: bool,
    /// Whether the answer does not wait for its end: 202 with its `command_id`.
    #[serde(default)]
    pub(super) background: bool,
    /// The terminal that it runs in; left out: none.
    #[serde(default, deserialize_with = "object_or_null")]
    pub(super) tty: Option<TtySize>,
}

/// A number of columns or rows.
type Cells = Whole<u16, 1, 65_535>;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct TtySize {
    /// Columns.
    #[schema(value_type = u16, minimum = 1)]
    pub(super) cols: Cells,
    /// Rows.
    #[schema(value_type = u16, minimum = 1)]
    pub(super) rows: Cells,
}

impl TtySize {
    pub(super) fn tty(self) -> Tty {
        Tty { cols: self.cols.plain(), rows: self.rows.plain() }
    }
}

/// Input for a command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct InputRequest {
    /// The input as text.
    pub(super) text: Option<String>,
    /// The input as base64, for bytes that are no text.
    pub(super) base64: Option<String>,
    /// Whether its standard input ends after that.
    #[serde(default)]
    pub(super) eof: bool,
}

/// A signal for a command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct SignalRequest {
    /// Its name, such as `SIGINT` or `TERM`.
    pub(super) signal: String,
}

impl CommandRequest {
    /// The command, its first input, and whether that is all of its input.
    pub(super) fn into_command(self) -> Result<(Command, Option<Vec<u8>>, bool), ApiError> {
        let program = match (self.command.plain(), self.shell.plain()) {
            (Some(_), Some(_)) => return Err(ApiError::field("shell", "either this or command, not both")),
            (Some(argv), None) => Program::Argv(argv),
            (None, Some(line)) => Program::Shell(line),
            (None, None) => return Err(ApiError::field("command", "missing; give either command or shell")),
        };
        let stdin = self.stdin.map(String::into_bytes);
        let command = Command {
            program,
            env: self.env.unwrap_or_default().plain(),
            cwd: self.cwd.plain(),
            user: self.user.plain(),
            timeout: self.timeout.plain(),
            stdin: stdin.is_some() || self.stdin_open,
            tty: self.tty.map(TtySize::tty),
        };
        let ends = !self.stdin_open;
        Ok((command, stdin, ends))
    }
}
