//! The firewall for a caller in another process: a line of JSON for each request, and one for its answer.

use std::{
    io::{self, BufRead, Write},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    error::{Kind, WallsError},
    firewall::Firewall,
    table::{Rules, Table},
};

/// A request: a method of [`Firewall`] and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// [`Firewall::replace`], answered with `null`.
    Replace {
        /// The table.
        table: Table,
    },
    /// [`Firewall::put`], answered with `null`.
    Put {
        /// The sandbox.
        address: Ipv4Addr,
        /// What it may reach.
        #[serde(default)]
        rules: Rules,
    },
    /// [`Firewall::remove`], answered with `null`.
    Remove {
        /// The sandbox.
        address: Ipv4Addr,
    },
    /// [`Firewall::check`], answered with its sentences.
    Check,
    /// [`Firewall::blocked`], answered with [`Blocked`](super::Blocked).
    Blocked {
        /// The sandbox.
        address: Ipv4Addr,
    },
    /// [`Firewall::tables`], answered with names.
    Tables,
    /// [`Firewall::delete`], answered with `null`.
    Delete {
        /// The table.
        name: String,
    },
}

impl Request {
    /// Does it, in this process.
    ///
    /// # Errors
    ///
    /// Those of the method.
    pub fn perform(self, firewall: &mut Firewall) -> Result<Value, WallsError> {
        match self {
            Self::Replace { table } => firewall.replace(table).map(|()| Value::Null),
            Self::Put { address, rules } => firewall.put(address, rules).map(|()| Value::Null),
            Self::Remove { address } => firewall.remove(address).map(|()| Value::Null),
            Self::Check => firewall.check().and_then(value),
            Self::Blocked { address } => firewall.blocked(address).and_then(value),
            Self::Tables => firewall.tables().and_then(value),
            Self::Delete { name } => firewall.delete(&name).map(|()| Value::Null),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// What was asked for.
    Ok {
        /// The method's result.
        ok: Value,
    },
    /// Why it could not be done.
    Error(WallsError),
}

impl Answer {
    /// The result, as what the request's documentation says.
    ///
    /// # Errors
    ///
    /// The answer's own, or one that says that the answer is something else.
    pub fn into_result<T: DeserializeOwned>(self) -> Result<T, WallsError> {
        match self {
            Self::Ok { ok } => serde_json::from_value(ok).map_err(|why| {
                WallsError::new(Kind::Failed, format!("the answer of the firewall's helper makes no sense: {why}"))
            }),
            Self::Error(error) => Err(error),
        }
    }
}

fn value(result: impl Serialize) -> Result<Value, WallsError> {
    serde_json::to_value(result).map_err(|why| WallsError::new(Kind::Failed, why.to_string()))
}

/// Answers requests until their end.
///
/// # Errors
///
/// If requests cannot be read or answers not be written.
pub fn serve(requests: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut firewall = None;
    for line in requests.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match answer(&mut firewall, &line) {
            Ok(ok) => Answer::Ok { ok },
            Err(error) => Answer::Error(error),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        answers.write_all(&line)?;
        answers.flush()?;
    }
    Ok(())
}

fn answer(firewall: &mut Option<Firewall>, line: &str) -> Result<Value, WallsError> {
    let request: Request = serde_json::from_str(line)
        .map_err(|why| WallsError::new(Kind::Invalid, format!("the request makes no sense: {why}")))?;
    // Opened here, so that the caller is told why it cannot be.
    let firewall = match firewall {
        Some(firewall) => firewall,
        None => firewall.insert(Firewall::open()?),
    };
    request.perform(firewall)
}
