//! The supervisor's HTTP interface, as the commands for people use it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::{args::Server, watch::Refused};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A connection to a supervisor.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    api_key: Option<String>,
}

/// The server refused a request, or could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failed {
    pub(super) message: String,
    /// The server's word for it.
    pub(super) code: String,
    /// The exit code that the answer asks for: of a program that cannot be run.
    pub(super) exit_code: Option<u8>,
    /// Whether trying again may help: the server could not be reached, is not ready, or failed.
    pub(super) again: bool,
    /// Whether the server has certainly done nothing, so that the same request can be sent again.
    pub(super) undone: bool,
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Self {
        Self(failed.message)
    }
}

impl Client {
    pub(super) fn new(server: &Server) -> anyhow::Result<Self> {
        let refused = |why: &str| Refused(format!("--url {}: {why}", server.url));
        let mut base = Url::parse(&server.url)
            .map_err(|error| refused(&format!("{error}; expected one such as http://127.0.0.1:8080")))?;
        if base.scheme() != "http" {
            return Err(refused("has to begin with http://; for TLS, put a proxy or an SSH tunnel in between").into());
        }
        // A proxy may serve the interface below a path.
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        let http = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).build()?;
        Ok(Self { http, base, api_key: server.api_key.clone() })
    }

    /// A request for something below a sandbox: `parts` are the rest of the path.
    pub(super) fn request(&self, method: Method, sandbox: &str, parts: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "sandboxes", sandbox]).extend(parts);
        }
        let request = self.http.request(method, url);
        match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request; every answer but a good one is an error.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let answer = request.send().await.map_err(|error| Failed {
            message: format!(
                "cannot reach {}: {}{}",
                self.base.origin().ascii_serialization(),
                with_causes(&error),
                if error.is_connect() { "; --url or SANDGLASS_URL says where the supervisor listens" } else { "" }
            ),
            code: String::new(),
            exit_code: None,
            again: true,
            undone: error.is_connect(),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body: Value = answer.json().await.unwrap_or_default();
        let message =
            body["error"]["message"].as_str().map_or_else(|| format!("the server answers {status}"), str::to_owned);
        let message =
            if status == 401 { format!("{message}: set SANDGLASS_HTTP__API_KEY, or --api-key") } else { message };
        let exit_code = body["error"]["details"]["exit_code"].as_u64().and_then(|code| u8::try_from(code).ok());
        let code = body["error"]["code"].as_str().unwrap_or_default().to_owned();
        let undone = !status.is_server_error() || status == 503;
        Err(Failed { message, code, exit_code, again: status.is_server_error(), undone })
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    // The first one only says that something failed, and where.
    let causes = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string);
    causes.last().unwrap_or_else(|| error.to_string())
}
