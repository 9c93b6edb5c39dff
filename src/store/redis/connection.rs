//! The connection: made when it is first needed, shared by all calls, and made anew after it failed.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Pipeline, RedisError, RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::source::{Source, TlsFiles};
use crate::ports::store::StoreError;

/// What one command of a pipeline was answered.
pub(super) type Answer = RedisResult<Value>;

/// A connection to one server.
pub(super) struct Connection {
    source: Source,
    /// Host and port for error messages; never the URL, which may hold a password.
    server: String,
    database: i64,
    call_timeout: Duration,
    manager: Mutex<Option<ConnectionManager>>,
}

impl Connection {
    /// Prepares a connection; the server is not asked for anything yet.
    pub(super) fn new(url: &str, tls: &TlsFiles, call_timeout: Duration) -> Result<Self, StoreError> {
        let (source, server, database) = Source::of(url, tls)?;
        Ok(Self { source, server, database, call_timeout, manager: Mutex::new(None) })
    }

    /// The server and its database, in words.
    pub(super) fn place(&self) -> String {
        format!("Redis at {}, database {}", self.server, self.database)
    }

    /// Puts `error`, which `what` was answered, into words.
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

    /// Bounds a call in time. A connection that did not answer in time is given up: it may be dead without knowing.
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

    /// Sends a pipeline and reads one answer for each of its commands; the commands' own errors are among the answers.
    ///
    /// A connection that turns out to have been closed, as idle ones are by some servers and proxies, is replaced at
    /// once and the pipeline sent again: everything that is sent here may be applied twice. So is one to a server that
    /// cannot serve any more: after a fail-over another one may answer at the same address, which is looked up again.
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
            // The manager would answer the next call with the failure of its last attempt, or keep a refused password
            // for ever; a new one tries.
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
        // Somebody else may have been quicker.
        if let Some(manager) = &*current {
            return Ok(manager.clone());
        }
        // Calls bound themselves and retry by themselves; this bound is for attempts that no call waits for any longer.
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

/// Whether an answer says that this server is a replica, or has no data to serve: not the one that is meant.
fn is_of_no_use(answer: &Answer) -> bool {
    let Err(error) = answer else { return false };
    let code = error.code().unwrap_or_default();
    // Old servers wrap what a script ran into.
    let wrapped = error.detail().is_some_and(|detail| detail.contains("-READONLY"));
    matches!(code, "READONLY" | "MASTERDOWN" | "LOADING") || wrapped
}

/// A pipeline whose commands fail one by one.
pub(super) fn pipeline() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    pipeline
}
