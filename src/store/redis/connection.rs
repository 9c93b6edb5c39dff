//! The connection, which all calls share. Opened on demand, and again after a failure.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Pipeline, RedisError, RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::source::{Source, TlsFiles};
use crate::ports::store::StoreError;

/// The answer to one command of a pipeline.
pub(super) type Answer = RedisResult<Value>;

/// A connection to one server.
pub(super) struct Connection {
    source: Source,
    /// Host and port for error messages; never the URL, which may contain a password.
    server: String,
    database: i64,
    call_timeout: Duration,
    manager: Mutex<Option<ConnectionManager>>,
}

impl Connection {
    /// Prepares a connection without opening it.
    pub(super) fn new(url: &str, tls: &TlsFiles, call_timeout: Duration) -> Result<Self, StoreError> {
        let (source, server, database) = Source::of(url, tls)?;
        Ok(Self { source, server, database, call_timeout, manager: Mutex::new(None) })
    }

    /// Describes the server and its database.
    pub(super) fn place(&self) -> String {
        format!("Redis at {}, database {}", self.server, self.database)
    }

    /// Converts the error of a command; `what` begins the message.
    pub(super) fn failed(&self, what: &str, error: &RedisError) -> StoreError {
        let words = match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            _ => error.to_string(),
        };
        self.unavailable(&format!("{what}: {words}"))
    }

    pub(super) fn unavailable(&self, words: &str) -> StoreError {
        StoreError::Unavailable(format!("Redis at {}: {words}", self.server))
    }

    /// Awaits a call with a timeout, after which the connection is dropped: it may be dead.
    pub(super) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.call_timeout, call).await {
            Ok(done) => done,
            Err(_) => {
                self.forget();
                Err(self.unavailable(&format!("no answer within {:?}", self.call_timeout)))
            }
        }
    }

    /// Sends a pipeline and returns an answer per command, including the commands' errors.
    ///
    /// Opens a new connection and sends the pipeline again if the connection was closed, as some servers and proxies do with
    /// idle ones, or if the server cannot serve any more: after a fail-over, another one may answer at the same address. All
    /// pipelines may be applied twice.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<Answer>, StoreError> {
        let mut result = self.attempt(pipeline).await;
        if result.as_ref().is_err_and(|error| error.is_connection_dropped() && !error.is_connection_refusal()) {
            result = self.attempt(pipeline).await;
        }
        if result.as_ref().is_ok_and(|answers| answers.iter().any(is_of_no_use)) {
            self.forget();
            result = self.attempt(pipeline).await;
            if result.as_ref().is_ok_and(|answers| answers.iter().any(is_of_no_use)) {
                self.forget();
            }
        }
        result.map_err(|error| self.failed("failed to talk to it", &error))
    }

    async fn attempt(&self, pipeline: &Pipeline) -> RedisResult<Vec<Answer>> {
        let mut manager = self.manager().await?;
        let result = pipeline.query_async(&mut manager).await;
        if result.is_err() {
            // This manager would return its last failure to the next call, or keep a rejected password.
            self.forget();
        }
        result
    }

    async fn manager(&self) -> RedisResult<ConnectionManager> {
        if let Some(manager) = self.current().as_ref() {
            return Ok(manager.clone());
        }
        let client = self.source.client().await?;
        let mut current = self.current();
        // Another call may have been faster.
        if let Some(manager) = &*current {
            return Ok(manager.clone());
        }
        // Calls have their own timeout and retries; this timeout ends attempts that no call waits for any more.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(self.call_timeout * 2))
            .set_response_timeout(None);
        let fresh = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(current.insert(fresh).clone())
    }

    fn current(&self) -> MutexGuard<'_, Option<ConnectionManager>> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        *self.current() = None;
    }
}

/// Whether an answer shows that this server is a replica or has no data to serve.
fn is_of_no_use(answer: &Answer) -> bool {
    let Err(error) = answer else { return false };
    let code = error.code().unwrap_or_default();
    // Old servers wrap errors within scripts.
    let wrapped = error.detail().is_some_and(|detail| detail.contains("-READONLY"));
    matches!(code, "READONLY" | "MASTERDOWN" | "LOADING") || wrapped
}

/// A pipeline that returns an answer per command even if some fail.
pub(super) fn pipeline() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    pipeline
}
