//! The two ways to the firewall of the engine's host: from this process, or through a helper container.

use std::sync::{Arc, Mutex, PoisonError};

use sandglass_agent::walls::{self, Answer, Request};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use super::helper::Helper;

/// A way to the firewall.
pub(super) enum Firewall {
    Local(Arc<Mutex<walls::Firewall>>),
    Helper(Box<Helper>),
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The firewall has refused it.
    Refused(walls::WallsError),
    /// The way to it is broken, and has to be opened again.
    Broken(String),
}

impl Trouble {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Refused(error) => &error.message,
            Self::Broken(message) => message,
        }
    }
}

impl Firewall {
    /// Has a request done. Must not be dropped before it is: the next answer would be taken for another request's.
    pub(super) async fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, Trouble> {
        let answer = match self {
            Self::Local(firewall) => {
                let firewall = Arc::clone(firewall);
                let done = spawn_blocking(move || {
                    request.perform(&mut firewall.lock().unwrap_or_else(PoisonError::into_inner))
                });
                match done.await.map_err(|error| Trouble::Broken(format!("the firewall failed: {error}")))? {
                    Ok(ok) => Answer::Ok { ok },
                    Err(error) => Answer::Error(error),
                }
            }
            Self::Helper(helper) => {
                let line = serde_json::to_string(&request).map_err(|error| Trouble::Broken(error.to_string()))?;
                let answer = helper.ask(&line).await.map_err(Trouble::Broken)?;
                serde_json::from_str(&answer)
                    .map_err(|error| Trouble::Broken(format!("the firewall's helper answered {answer:?}: {error}")))?
            }
        };
        answer.into_result().map_err(Trouble::Refused)
    }
}
