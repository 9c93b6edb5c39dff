//! The engine's address, and a client for it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, errors::Error};

use super::settings::Settings;
use crate::ports::runtime::RuntimeError;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The files for TLS, named as by the Docker client.
const CA: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// The header with a registry's login.
const LOGIN: &str = "X-Registry-Auth";

/// The library's own timeout of a call, in seconds. Ours is much shorter; this one only ends abandoned creates.
const OUTER_TIMEOUT_SECONDS: u64 = 3600;

/// The engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Unix(String),
    Http(String),
    Https { authority: String, certificates: PathBuf },
}

impl Host {
    /// The configured address, else that of `DOCKER_HOST`, else the default socket. Fails if the address is not supported or
    /// its certificates cannot be read.
    pub(super) fn resolve(settings: &Settings) -> Result<Self, RuntimeError> {
        let environment = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let host = match settings.host.as_deref().or(environment.as_deref()) {
            Some(address) => Self::parse(address, settings)?,
            None => Self::Unix(DEFAULT_SOCKET.to_owned()),
        };
        if let Self::Https { certificates, .. } = &host {
            check_certificates(certificates)?;
        }
        Ok(host)
    }

    fn parse(address: &str, settings: &Settings) -> Result<Self, RuntimeError> {
        let (scheme, place) = match address.split_once("://") {
            None if address.starts_with('/') => ("unix", address),
            split => split.ok_or_else(|| unsupported(address))?,
        };
        let authority = place.trim_end_matches('/').to_owned();
        match scheme {
            _ if authority.is_empty() => Err(unsupported(address)),
            "unix" => Ok(Self::Unix(place.to_owned())),
            "http" => Ok(Self::Http(authority)),
            "tcp" if !settings.tls => Ok(Self::Http(authority)),
            "tcp" | "https" => Ok(Self::Https { authority, certificates: settings.cert_path.clone() }),
            _ => Err(unsupported(address)),
        }
    }

    /// The host's name or address, at which published ports are reached, too.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Unix(_) => "127.0.0.1",
            Self::Http(authority) | Self::Https { authority, .. } => match authority.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => authority,
            },
        }
    }

    /// A client that opens a connection per call, before the API version is negotiated. Fails if the socket is missing.
    pub(super) fn client(&self) -> Result<bollard::Docker, Error> {
        match self {
            Self::Unix(path) => bollard::Docker::connect_with_unix(path, OUTER_TIMEOUT_SECONDS, API_DEFAULT_VERSION),
            Self::Http(authority) => {
                bollard::Docker::connect_with_http(authority, OUTER_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
            Self::Https { authority, certificates } => {
                let [ca, certificate, key] = [CA, CERTIFICATE, KEY].map(|name| certificates.join(name));
                let (timeout, version) = (OUTER_TIMEOUT_SECONDS, API_DEFAULT_VERSION);
                bollard::Docker::connect_with_ssl(authority, &key, &certificate, &ca, timeout, version)
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{path}"),
            Self::Http(authority) => write!(formatter, "tcp://{authority}"),
            Self::Https { authority, .. } => write!(formatter, "https://{authority}"),
        }
    }
}

fn unsupported(address: &str) -> RuntimeError {
    RuntimeError::Failed(format!(
        "failed to understand the Docker host {address:?}: give unix://PATH, tcp://HOST:PORT, http://HOST:PORT or \
         https://HOST:PORT"
    ))
}

/// Checks that the authority's certificate is readable, and the client's certificate and key unless both are missing. They
/// are read again for each connection, so that they can be renewed.
fn check_certificates(directory: &Path) -> Result<(), RuntimeError> {
    let read = |name| fs::read(directory.join(name)).map(|_| ());
    let (certificate, key) = (read(CERTIFICATE), read(KEY));
    let own = match (&certificate, &key) {
        (Err(one), Err(other)) if is_missing(one) && is_missing(other) => [Ok(()), Ok(())],
        _ => [certificate, key],
    };
    let [certificate, key] = own;
    for (name, outcome) in [(CA, read(CA)), (CERTIFICATE, certificate), (KEY, key)] {
        outcome.map_err(|error| {
            let path = directory.join(name);
            RuntimeError::Failed(format!(
                "failed to read {}: {error}; docker.cert_path says where the certificates for the Docker host are",
                path.display()
            ))
        })?;
    }
    Ok(())
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Corrects each request of the library.
///
/// - Adds the API version to the path. The library negotiates a version but does not send it, and engines then use their
///   newest one.
/// - Converts a registry's login to the base64 alphabet that the engine reads; it silently ignores a login in the library's
///   alphabet. Also marks the header as sensitive.
pub(super) fn adjust_requests(client: bollard::Docker, version: ClientVersion) -> bollard::Docker {
    let prefix = format!("/v{version}");
    client.with_request_modifier(move |mut request: BollardRequest| {
        let path = request.uri().path();
        if !path.starts_with("/v1.") {
            let uri = request.uri().to_string();
            // A socket's authority is its path in hexadecimal digits, without a slash.
            let at = uri.find("://").and_then(|scheme| uri[scheme + 3..].find('/').map(|slash| scheme + 3 + slash));
            if let Some(Ok(pinned)) = at.map(|at| format!("{}{prefix}{}", &uri[..at], &uri[at..]).parse()) {
                *request.uri_mut() = pinned;
            }
        }
        if let Some(login) = request.headers_mut().get_mut(LOGIN) {
            if let Ok(readable) = for_urls(login.as_bytes()).try_into() {
                *login = readable;
            }
            login.set_sensitive(true);
        }
        request
    })
}

/// Converts base64 to the alphabet for URLs.
fn for_urls(base64: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    base64.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::settings::{Firewall, Ports, Registries},
        *,
    };

    fn settings(host: &str, tls: bool, cert_path: &Path) -> Settings {
        Settings {
            host: Some(host.to_owned()),
            tls,
            cert_path: cert_path.to_owned(),
            ports: Ports::default(),
            subnets: "10.213.0.0/16".parse().unwrap(),
            firewall: Firewall::Off,
            isolated: false,
            registries: Registries::default(),
            prefix: String::new(),
            concurrency: 2,
            stop_grace: Duration::ZERO,
            call_timeout: Duration::ZERO,
            pull_timeout: Duration::ZERO,
        }
    }

    #[test]
    fn hosts_are_sockets_or_http_plain_or_over_tls() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(CA), "").unwrap();
        let https = |authority: &str| Host::Https {
            authority: authority.to_owned(),
            certificates: directory.path().to_owned(),
        };
        for (address, tls, host, name) in [
            ("unix:///run/docker.sock", true, Host::Unix("/run/docker.sock".into()), "127.0.0.1"),
            ("/run/docker.sock", false, Host::Unix("/run/docker.sock".into()), "127.0.0.1"),
            ("tcp://10.0.0.7:2375", false, Host::Http("10.0.0.7:2375".into()), "10.0.0.7"),
            ("http://engine:2375/", true, Host::Http("engine:2375".into()), "engine"),
            ("tcp://engine:2376", true, https("engine:2376"), "engine"),
            ("https://[::1]:2376/", false, https("[::1]:2376"), "[::1]"),
        ] {
            let resolved = Host::resolve(&settings(address, tls, directory.path()));
            assert_eq!(resolved.as_ref(), Ok(&host));
            assert_eq!(host.name(), name);
        }
    }

    #[test]
    fn a_certificate_that_is_missing_is_named_with_the_setting_that_says_where_it_should_be() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = || Host::resolve(&settings("tcp://engine:2376", true, directory.path())).unwrap_err().to_string();
        assert!(refusal().contains("/ca.pem") && refusal().contains("docker.cert_path"), "{}", refusal());
        for name in [CA, CERTIFICATE] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert!(refusal().contains("/key.pem"), "{}", refusal());
        assert!(Host::resolve(&settings("tcp://engine:2375", false, directory.path())).is_ok());
    }

    #[test]
    fn other_hosts_are_refused_with_the_kinds_that_are_taken() {
        for address in ["ssh://me@engine", "npipe:////./pipe/docker_engine", "engine", "unix://", "https://", "tcp:///"]
        {
            let refusal = Host::resolve(&settings(address, false, Path::new("/"))).unwrap_err().to_string();
            assert!(refusal.contains(address) && refusal.contains("tcp://HOST:PORT"), "{refusal}");
        }
    }

    #[test]
    fn a_login_is_written_in_the_letters_that_the_engine_reads() {
        assert_eq!(for_urls(b"Pz8+/w=="), b"Pz8-_w==");
    }
}
