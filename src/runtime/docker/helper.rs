//! The conversation with the helper: a line for each request, and one for its answer.

use std::time::Duration;

use bollard::container::LogOutput;
use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::stdio::{Input, Messages};

/// After how many bytes of its complaints nothing more is kept.
const MOST_SAID: usize = 2048;

/// A running helper, attached to.
pub(super) struct Helper {
    id: String,
    messages: Messages,
    input: Input,
    /// What was received and is not read yet.
    received: BytesMut,
    /// What it has written to its standard error.
    said: String,
    limit: Duration,
}

impl Helper {
    /// `limit` is how long an answer may take.
    pub(super) fn new(id: String, messages: Messages, input: Input, limit: Duration) -> Self {
        Self { id, messages, input, received: BytesMut::new(), said: String::new(), limit }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Sends a line and waits for the line that answers it. After an error the helper is of no use any more.
    pub(super) async fn ask(&mut self, line: &str) -> Result<String, String> {
        let limit = self.limit;
        let answered = timeout(limit, async {
            let request = format!("{line}\n");
            let sent = async {
                self.input.write_all(request.as_bytes()).await?;
                self.input.flush().await
            };
            if let Err(error) = sent.await {
                return Err(self.gone(&error.to_string()));
            }
            self.line().await
        });
        answered.await.unwrap_or_else(|_elapsed| Err(format!("the firewall's helper did not answer within {limit:?}")))
    }

    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received.split_to(end);
                self.received.advance(1);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            match self.messages.next().await {
                None => return Err(self.gone("it ended")),
                Some(Err(error)) => return Err(self.gone(&error.to_string())),
                Some(Ok(LogOutput::StdErr { message })) => {
                    if self.said.len() < MOST_SAID {
                        self.said.push_str(&String::from_utf8_lossy(&message));
                    }
                }
                Some(Ok(message)) => self.received.extend_from_slice(&message.into_bytes()),
            }
        }
    }

    fn gone(&self, why: &str) -> String {
        match self.said.trim() {
            "" => format!("the firewall's helper is gone: {why}"),
            said => format!("the firewall's helper is gone: {said}"),
        }
    }
}
