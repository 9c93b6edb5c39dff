//! Where the engine is, and a client for it.

use std::fmt;

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, errors::Error};

use crate::ports::runtime::RuntimeError;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The library's own bound on a call, in seconds. Each call is bounded much closer by ours; this one only keeps an
/// abandoned create from waiting for ever.
const OUTER_TIMEOUT_SECONDS: u64 = 3600;

/// The engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Unix(String),
    Http(String),
}

impl Host {
    /// The configured address, else that of `DOCKER_HOST`, else the usual socket.
    pub(super) fn resolve(configured: Option<&str>) -> Result<Self, RuntimeError> {
        let environment = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        match configured.or(environment.as_deref()) {
            Some(address) => Self::parse(address),
            None => Ok(Self::Unix(DEFAULT_SOCKET.to_owned())),
        }
    }

    fn parse(address: &str) -> Result<Self, RuntimeError> {
        let host = match address.split_once("://") {
            Some(("unix", path)) => Self::Unix(path.to_owned()),
            Some(("tcp" | "http", authority)) => Self::Http(authority.trim_end_matches('/').to_owned()),
            None if address.starts_with('/') => Self::Unix(address.to_owned()),
            _ => return Err(unsupported(address)),
        };
        match &host {
            Self::Unix(place) | Self::Http(place) if place.is_empty() => Err(unsupported(address)),
            _ => Ok(host),
        }
    }

    /// A client that opens a connection per call and asks for no particular API version yet. A missing socket is an
    /// error here already.
    pub(super) fn client(&self) -> Result<bollard::Docker, Error> {
        match self {
            Self::Unix(path) => bollard::Docker::connect_with_unix(path, OUTER_TIMEOUT_SECONDS, API_DEFAULT_VERSION),
            Self::Http(authority) => {
                bollard::Docker::connect_with_http(authority, OUTER_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{path}"),
            Self::Http(authority) => write!(formatter, "tcp://{authority}"),
        }
    }
}

fn unsupported(address: &str) -> RuntimeError {
    RuntimeError::Failed(format!(
        "failed to understand the Docker host {address:?}: give unix://PATH, tcp://HOST:PORT or http://HOST:PORT"
    ))
}

/// Makes `client` ask for `version` of the API in each request's path. The library negotiates a version but leaves it
/// out of its paths, and an engine that is asked for none answers with its newest, whatever that one changed.
pub(super) fn pin_version(client: bollard::Docker, version: ClientVersion) -> bollard::Docker {
    let prefix = format!("/v{version}");
    client.with_request_modifier(move |mut request: BollardRequest| {
        let path = request.uri().path();
        if !path.starts_with("/v1.") {
            let uri = request.uri().to_string();
            // The authority of a socket's address is the socket's path in hexadecimal digits: it holds no slash.
            let at = uri.find("://").and_then(|scheme| uri[scheme + 3..].find('/').map(|slash| scheme + 3 + slash));
            if let Some(Ok(pinned)) = at.map(|at| format!("{}{prefix}{}", &uri[..at], &uri[at..]).parse()) {
                *request.uri_mut() = pinned;
            }
        }
        request
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sockets_or_plain_http() {
        for (address, host) in [
            ("unix:///run/docker.sock", Host::Unix("/run/docker.sock".into())),
            ("/run/docker.sock", Host::Unix("/run/docker.sock".into())),
            ("tcp://127.0.0.1:2375", Host::Http("127.0.0.1:2375".into())),
            ("http://engine:2375/", Host::Http("engine:2375".into())),
        ] {
            assert_eq!(Host::resolve(Some(address)), Ok(host));
        }
    }

    #[test]
    fn other_hosts_are_refused_with_the_kinds_that_are_taken() {
        for address in ["ssh://me@engine", "https://engine:2376", "npipe:////./pipe/docker_engine", "engine", "unix://"]
        {
            let refusal = Host::resolve(Some(address)).unwrap_err().to_string();
            assert!(refusal.contains(address) && refusal.contains("tcp://HOST:PORT"), "{refusal}");
        }
    }
}
