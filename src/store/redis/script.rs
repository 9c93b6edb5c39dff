//! Runs scripts by their hash, and loads them if the server does not know them.

use redis::{Cmd, ErrorKind, Pipeline, ServerErrorKind, ToRedisArgs, Value};

use super::connection::{Answer, Connection, pipeline};
use crate::ports::store::StoreError;

/// A script; `purpose` begins the message of an error.
pub(super) struct Script {
    code: &'static str,
    hash: String,
    purpose: &'static str,
}

impl Script {
    pub(super) fn new(code: &'static str, purpose: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned(), purpose }
    }

    /// A call with these keys; the caller adds the arguments.
    pub(super) fn call(&self, keys: &[&str]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }

    /// Runs one call.
    pub(super) async fn run(&self, connection: &Connection, call: Cmd) -> Result<Reply, StoreError> {
        self.run_all(connection, vec![call]).await
    }

    /// Runs all calls or none in one round trip, and returns the last reply.
    pub(super) async fn run_all(&self, connection: &Connection, calls: Vec<Cmd>) -> Result<Reply, StoreError> {
        let mut transaction = pipeline();
        if calls.len() > 1 {
            transaction.atomic();
        }
        for call in calls {
            transaction.add_command(call);
        }
        let mut answers = connection.send(&transaction).await?;
        if answers.iter().any(is_unknown_script) {
            self.load(connection).await?;
            answers = connection.send(&transaction).await?;
        }
        let mut last = None;
        for answer in answers {
            last = Some(answer.map_err(|error| connection.failed(self.purpose, &error))?);
        }
        let reply = last.and_then(Reply::from_value);
        reply.ok_or_else(|| connection.unavailable(&format!("{}: an unexpected answer", self.purpose)))
    }

    async fn load(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut load: Pipeline = pipeline();
        load.cmd("SCRIPT").arg("LOAD").arg(self.code);
        for answer in connection.send(&load).await? {
            answer.map_err(|error| connection.failed("failed to load a script", &error))?;
        }
        Ok(())
    }
}

fn is_unknown_script(answer: &Answer) -> bool {
    matches!(answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// Adds an argument.
pub(super) fn with(mut call: Cmd, argument: impl ToRedisArgs) -> Cmd {
    call.arg(argument);
    call
}

/// A script's reply: a word and its details.
pub(super) struct Reply {
    pub(super) word: String,
    details: Vec<Value>,
}

impl Reply {
    fn from_value(value: Value) -> Option<Self> {
        let Value::Array(mut parts) = value else { return None };
        if parts.is_empty() {
            return None;
        }
        let word = text_of(&parts.remove(0));
        Some(Self { word, details: parts })
    }

    /// The text at `index`; empty when there is none.
    pub(super) fn text(&self, index: usize) -> String {
        self.details.get(index).map(text_of).unwrap_or_default()
    }

    /// All details as texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.details.iter().map(text_of)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Okay => "OK".to_owned(),
        _ => String::new(),
    }
}
