//! A connection to the stream that reconnects by itself.

use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use reqwest::Url;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, Response, header::AUTHORIZATION},
    },
};

use super::super::args::Watch;
use crate::domain::retry::Backoff;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(400), most: Duration::from_secs(5) };
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Three times the interval of the server's pings.
const SILENCE: Duration = Duration::from_secs(45);

/// The server refuses this request, and a retry would not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::cli) struct Refused(pub(in crate::cli) String);

/// What comes from the connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message and its text.
    Message(Value, String),
    /// The connection is lost or could not be made, and will be retried.
    Trouble(String),
}

/// The address of the requested stream.
pub(super) fn stream_url(args: &Watch) -> anyhow::Result<Url> {
    let refused = |why: &str| Refused(format!("--url {}: {why}", args.server.url));
    let mut base = Url::parse(&args.server.url)
        .map_err(|error| refused(&format!("{error}; expected one such as http://127.0.0.1:8080")))?;
    if base.scheme() != "http" {
        return Err(refused("has to begin with http://; for TLS, put a proxy or an SSH tunnel in between").into());
    }
    // A proxy may serve the interface below a path.
    base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
    let mut url = base.join("v1/stream").map_err(|error| refused(&error.to_string()))?;
    url.set_scheme("ws").map_err(|()| refused("has no host"))?;
    {
        let mut query = url.query_pairs_mut();
        for id in &args.id {
            query.append_pair("id", id);
        }
        for status in &args.status {
            query.append_pair("status", status);
        }
        for pair in &args.metadata {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| Refused(format!("--metadata {pair}: has to be KEY=VALUE")))?;
            query.append_pair(&format!("metadata.{key}"), value);
        }
    }
    Ok(url)
}

pub(super) struct Connection {
    url: Url,
    api_key: Option<String>,
    stream: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    /// Where to continue in the server's history.
    epoch: Option<String>,
    seq: Option<u64>,
    failures: u32,
}

impl Connection {
    pub(super) fn new(url: Url, api_key: Option<String>) -> Self {
        Self { url, api_key, stream: None, epoch: None, seq: None, failures: 0 }
    }

    /// Waits for the next message, or for trouble with the connection. Fails when a retry would not help.
    pub(super) async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            let Some(stream) = &mut self.stream else {
                if let Some(trouble) = self.connect().await? {
                    return Ok(Heard::Trouble(trouble));
                }
                continue;
            };
            let trouble = match timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    let message: Value =
                        serde_json::from_str(&text).context("the server said something else than JSON")?;
                    self.note(&message);
                    return Ok(Heard::Message(message, text.to_string()));
                }
                // The library answers pings while it reads.
                Ok(Some(Ok(Message::Close(Some(frame))))) => format!("the server closed the stream: {}", frame.reason),
                Ok(Some(Ok(Message::Close(None))) | None) => "the server closed the stream".to_owned(),
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => format!("the connection is lost: {error}"),
                Err(_) => "the connection is lost: nothing was heard any more".to_owned(),
            };
            self.stream = None;
            return Ok(Heard::Trouble(trouble));
        }
    }

    /// Connects. Returns what went wrong if a retry may help, and fails otherwise.
    async fn connect(&mut self) -> anyhow::Result<Option<String>> {
        if self.failures > 0 {
            sleep(BACKOFF.jittered_wait(self.failures)).await;
        }
        let mut url = self.url.clone();
        if let (Some(epoch), Some(seq)) = (&self.epoch, self.seq) {
            url.query_pairs_mut().append_pair("since", &format!("{epoch}:{seq}"));
        }
        let mut request = url.as_str().into_client_request()?;
        if let Some(key) = &self.api_key {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Refused("the API key is no key".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.failures += 1;
        match timeout(CONNECT_WITHIN, connect_async(request)).await {
            Ok(Ok((stream, _))) => {
                self.stream = Some(stream);
                Ok(None)
            }
            Ok(Err(Error::Http(response))) => refusal(&response),
            Ok(Err(error)) => Ok(Some(format!("cannot reach {}: {error}", self.url.origin().ascii_serialization()))),
            Err(_) => Ok(Some(format!("{} does not answer", self.url.origin().ascii_serialization()))),
        }
    }

    fn note(&mut self, message: &Value) {
        self.failures = 0;
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        match message["type"].as_str() {
            Some("hello") => {
                let resumed = message["resumed"] == true;
                self.epoch = text("epoch");
                // Only a complete snapshot is a place to continue from.
                self.seq = self.seq.filter(|_| resumed);
            }
            Some("snapshot") if message["last"] == true => self.seq = message["seq"].as_u64(),
            Some("event" | "position") => self.seq = message["seq"].as_u64(),
            Some("lagged") => self.seq = None,
            _ => {}
        }
    }
}

/// The message of a refusal that a retry may help against, since the server is not ready or full; an error for others.
fn refusal(response: &Response<Option<Vec<u8>>>) -> anyhow::Result<Option<String>> {
    let body: Value = response.body().as_deref().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let status = response.status();
    let message =
        body["error"]["message"].as_str().map_or_else(|| format!("the server answers {status}"), str::to_owned);
    match status.as_u16() {
        429 | 500..=599 => Ok(Some(message)),
        401 => Err(Refused(format!("{message}: set SANDGLASS_HTTP__API_KEY, or --api-key")).into()),
        _ => Err(Refused(message).into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Asked {
        #[command(flatten)]
        watch: Watch,
    }

    fn url(arguments: &[&str]) -> String {
        let asked = Asked::parse_from([&["watch"], arguments].concat());
        stream_url(&asked.watch).map_or_else(|error| error.to_string(), String::from)
    }

    #[test]
    fn the_stream_is_below_the_path_where_the_supervisor_is() {
        for (base, stream) in [
            ("http://a:8080", "ws://a:8080/v1/stream"),
            ("http://a:8080/", "ws://a:8080/v1/stream"),
            ("http://a/sand", "ws://a/sand/v1/stream"),
            ("http://a/sand/", "ws://a/sand/v1/stream"),
        ] {
            assert_eq!(url(&["--url", base]).trim_end_matches('?'), stream);
        }
        let filtered = url(&["--url", "http://a/sand/?x=1", "--id", "b", "--metadata", "team=blue"]);
        assert_eq!(filtered, "ws://a/sand/v1/stream?id=b&metadata.team=blue");
        assert!(url(&["--url", "https://a"]).contains("has to begin with http://"));
    }
}
