//! What a person types, or a pipe has, on its way to a command.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::{Instant, sleep_until},
};

use super::{
    super::client::{Client, Failed},
    exit::{BY_INTERRUPT, ExitWith, OWN_FAILURE},
    follow::AGAIN,
    terminal::{self, tell_person},
};

/// As terminals send it.
const CTRL_C: u8 = 3;

/// Sends to a command.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) sandbox: String,
    pub(super) command: String,
}

impl Sender {
    /// Sends what may be lost. A command that has ended takes no more, which its own event tells.
    pub(super) async fn send(&self, what: &str, body: &Value) {
        if let Err(failed) = self.try_send(what, body).await {
            tracing::debug!(what, failed.message, "not sent");
        }
    }

    async fn try_send(&self, what: &str, body: &Value) -> Result<(), Failed> {
        let request = self.client.request(Method::POST, &self.sandbox, &["commands", &self.command, what]);
        self.client.send(request.json(body)).await.map(drop)
    }
}

/// Passes standard input on to a command.
pub(super) struct Typing {
    pub(super) sender: Sender,
    pub(super) tty: bool,
    /// Takes the reason why the session ends although the command goes on.
    pub(super) leave: mpsc::Sender<ExitWith>,
    /// What was typed while something before it waits.
    pub(super) held_back: VecDeque<Vec<u8>>,
}

/// Nothing is passed on any more.
struct Over;

impl Typing {
    pub(super) async fn run(mut self) {
        let mut keys = terminal::keys();
        loop {
            let bytes = match self.held_back.pop_front() {
                Some(bytes) => bytes,
                None => match keys.recv().await {
                    Some(bytes) => bytes,
                    None => break,
                },
            };
            if self.pass_on(&json!({"base64": STANDARD.encode(bytes)}), &mut keys).await.is_err() {
                return;
            }
        }
        let _ = self.pass_on(&json!({"eof": true}), &mut keys).await;
    }

    /// Sends until it has arrived: while the server is away or the sandbox is paused, input waits.
    async fn pass_on(&mut self, input: &Value, keys: &mut Receiver<Vec<u8>>) -> Result<(), Over> {
        let mut said = false;
        loop {
            let failed = match self.sender.try_send("input", input).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let refuses = ["paused", "inactive"].contains(&failed.code.as_str());
            if refuses && !said {
                tell_person(self.tty, &format!("{}; what is typed waits until then", failed.message));
                said = true;
            }
            if (failed.again && failed.undone) || refuses {
                self.wait(keys).await?;
            } else if !failed.again {
                // The command has ended, or reads no more.
                return Err(Over);
            } else if self.tty {
                // Who types sees what has arrived, and types it again.
                return Ok(());
            } else {
                let message = format!("{}; a part of the input may be lost; ", failed.message);
                return self.leave(OWN_FAILURE, message).await;
            }
        }
    }

    /// Waits until the next try. On a terminal, Ctrl-C leaves meanwhile: nothing else could.
    async fn wait(&mut self, keys: &mut Receiver<Vec<u8>>) -> Result<(), Over> {
        let until = Instant::now() + AGAIN;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                Some(typed) = keys.recv(), if self.tty => {
                    if typed.contains(&CTRL_C) {
                        return self.leave(BY_INTERRUPT, String::new()).await;
                    }
                    self.held_back.push_back(typed);
                }
            }
        }
    }

    async fn leave(&self, code: u8, message: String) -> Result<(), Over> {
        let _ = self.leave.send(ExitWith { code, message }).await;
        Err(Over)
    }
}
