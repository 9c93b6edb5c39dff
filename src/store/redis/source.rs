//! Finds the server: at a fixed address, with or without TLS, or by asking Sentinel for the primary.

use std::{fs, path::PathBuf};

use futures_util::future::BoxFuture;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::ports::store::StoreError;

/// Sentinel's default port.
const SENTINEL_PORT: u16 = 26_379;

/// The certificates for `rediss://`: PEM files that are read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities for the server's certificate; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Creates clients of the server.
pub(super) enum Source {
    Server(Client),
    Sentinel(Mutex<SentinelClient>),
}

impl Source {
    /// Parses `url`. Returns the source, its name in messages (never the URL, which may contain a password), and the number of
    /// the database.
    pub(super) fn of(url: &str, tls: &TlsFiles) -> Result<(Self, String, i64), StoreError> {
        let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match &*scheme {
            "redis+sentinel" => sentinel(url),
            "rediss" | "valkeys" => {
                let certificates = tls.read()?;
                let client = Client::build_with_tls(url, certificates).map_err(|error| unusable(&error))?;
                Ok(Self::server(client))
            }
            _ => Ok(Self::server(Client::open(url).map_err(|error| unusable(&error))?)),
        }
    }

    fn server(client: Client) -> (Self, String, i64) {
        let info = client.get_connection_info();
        let (name, database) = (info.addr().to_string(), info.redis_settings().db());
        (Self::Server(client), name, database)
    }

    /// A client of the current server. Asks Sentinel each time, since the primary may have changed.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Server(client) => Ok(client.clone()),
            Self::Sentinel(sentinel) => {
                // Boxed, since the compiler's recursion limit is too low for the type.
                let asked: BoxFuture<'_, _> = Box::pin(async { sentinel.lock().await.async_get_client().await });
                asked.await
            }
        }
    }
}

impl TlsFiles {
    fn read(&self) -> Result<TlsCertificates, StoreError> {
        let read = |path: &PathBuf, setting: &str| {
            let failed = |error| {
                StoreError::Unavailable(format!("failed to read {} (`store.{setting}`): {error}", path.display()))
            };
            fs::read(path).map_err(failed)
        };
        let root_cert = self.ca.as_ref().map(|path| read(path, "redis_ca")).transpose()?;
        let client = |(cert, key): &(PathBuf, PathBuf)| {
            let (client_cert, client_key) = (read(cert, "redis_cert")?, read(key, "redis_key")?);
            Ok::<_, StoreError>(ClientTlsConfig { client_cert, client_key })
        };
        Ok(TlsCertificates { client_tls: self.client.as_ref().map(client).transpose()?, root_cert })
    }
}

/// Parses `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]`; the login is for the server.
fn sentinel(url: &str) -> Result<(Source, String, i64), StoreError> {
    let malformed = || {
        StoreError::Unavailable(
            "the Redis URL is not usable: expected redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE], with \
             the addresses of the sentinels"
                .to_owned(),
        )
    };
    let rest = url.split_once("://").map(|(_, rest)| rest).ok_or_else(malformed)?;
    let (authority, path) = rest.split_once('/').ok_or_else(malformed)?;
    let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    let mut path = path.split('/');
    let service = path.next().filter(|name| !name.is_empty()).ok_or_else(malformed)?;
    let database: i64 = match path.next() {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| malformed())?,
    };
    let mut addresses = Vec::new();
    for host in hosts.split(',') {
        // The crate parses addresses, including IPv6 ones.
        let info = format!("redis://{host}/").into_connection_info().map_err(|_| malformed())?;
        let ConnectionAddr::Tcp(name, port) = info.addr() else { return Err(malformed()) };
        let named = host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) && host.contains(':');
        addresses.push(ConnectionAddr::Tcp(name.clone(), if named { *port } else { SENTINEL_PORT }));
    }
    let name = format!("{service} by the sentinels {hosts}");
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)
        .map_err(|error| unusable(&error))?
        .set_client_to_redis_db(database);
    if let Some(login) = login {
        // Percent-encoded, as in every URL.
        let info = format!("redis://{login}@host/").into_connection_info().map_err(|_| malformed())?;
        if let Some(user) = info.redis_settings().username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = info.redis_settings().password() {
            builder = builder.set_client_to_redis_password(password);
        }
    }
    let client = builder.build().map_err(|error| unusable(&error))?;
    Ok((Source::Sentinel(Mutex::new(client)), name, database))
}

/// Repeats only the fixed part of the error, since its detail could quote the URL.
fn unusable(error: &redis::RedisError) -> StoreError {
    let problem = error.to_string();
    let problem = problem.split(" - ").next().unwrap_or_default();
    StoreError::Unavailable(format!(
        "the Redis URL is not usable ({problem}): expected redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE], with special \
         characters in the password percent-encoded"
    ))
}
