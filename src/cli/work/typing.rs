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
            let is = |codes: &[&str]| codes.contains(&failed.code.as_str());
            let refuses = is(&["paused", "inactive", "limit_reached"]);
            if refuses && !said {
                tell_person(self.tty, &format!("{}; what is typed waits until then", failed.message));
                said = true;
            }
            if (failed.again && failed.undone) || refuses {
                self.wait(keys).await?;
            } else if is(&["conflict", "not_found", "gone", "terminating"]) {
                // The command has ended, or reads no more.
                return self.watch(keys).await;
            } else if self.tty {
                // Who types sees what has arrived, and types it again.
                return Ok(());
            } else {
                let message = format!("{}; a part of the input may be lost; ", failed.message);
                return self.leave(OWN_FAILURE, message).await;
            }
        }
    }

    /// Passes nothing on any more. On a terminal, Ctrl-C still leaves.
    async fn watch(&mut self, keys: &mut Receiver<Vec<u8>>) -> Result<(), Over> {
        while self.tty
            && let Some(typed) = keys.recv().await
        {
            if typed.contains(&CTRL_C) {
                return self.leave(BY_INTERRUPT, String::new()).await;
            }
        }
        Err(Over)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::cli::args::Server;

    /// A server that gives these answers in turn, each with its code.
    async fn server(answers: &'static [(u16, &str)]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for (status, code) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                let body = json!({"error": {"code": code, "message": "no"}}).to_string();
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Client::new(&Server { url, api_key: None }).unwrap()
    }

    #[tokio::test]
    async fn a_terminal_types_on_after_a_failure_and_ctrl_c_leads_out_after_the_end() {
        let client = server(&[(502, "runtime_failed"), (200, ""), (409, "conflict")]).await;
        let sender = Sender { client, sandbox: "s".to_owned(), command: "c".to_owned() };
        let (leave, mut leaves) = mpsc::channel(1);
        let mut typing = Typing { sender, tty: true, leave, held_back: VecDeque::new() };
        let (typed, mut keys) = mpsc::channel(1);
        let types = async {
            for _ in 0..2 {
                assert!(typing.pass_on(&json!({}), &mut keys).await.is_ok());
            }
            typed.send(vec![b'a', CTRL_C]).await.unwrap();
            assert!(typing.pass_on(&json!({}), &mut keys).await.is_err());
            assert_eq!(leaves.recv().await.unwrap().code, BY_INTERRUPT);
        };
        tokio::time::timeout(Duration::from_secs(20), types).await.expect("in time");
    }
}
