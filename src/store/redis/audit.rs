//! Looks for lost records and for settings that may lose them, and keeps the note about the grace.

use std::{collections::HashMap, time::Duration};

use redis::Value;

use super::{connection::pipeline, keys::RECORD_FIELD, script::with, store::RedisStore};
use crate::{domain::SandboxId, ports::store::StoreError};

/// A server's settings of its memory.
struct MemorySettings {
    policy: String,
    limited: bool,
}

impl RedisStore {
    /// Returns those of `ids` that have no record or are not in the active set.
    pub(super) async fn missing_records(&self, ids: &[SandboxId]) -> Result<Vec<SandboxId>, StoreError> {
        let mut read = pipeline();
        for id in ids {
            read.cmd("HEXISTS").arg(self.keys.session_of(id.as_str().as_bytes())).arg(RECORD_FIELD);
            read.cmd("ZSCORE").arg(&self.keys.active).arg(id.as_str());
        }
        if read.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.connection.send(&read).await?;
        if answers.len() < ids.len() * 2 {
            return Err(self.connection.unavailable("fewer answers than questions"));
        }
        let mut lost = Vec::new();
        for (id, pair) in ids.iter().zip(answers.chunks_exact(2)) {
            let mut gone = false;
            for answer in pair {
                match answer {
                    Ok(value) => gone |= matches!(value, Value::Nil | Value::Int(0)),
                    // Writing the record again will rename the key of the wrong type.
                    Err(error) if error.code() == Some("WRONGTYPE") => gone = true,
                    Err(error) => return Err(self.connection.failed("failed to look for records", error)),
                }
            }
            if gone {
                lost.push(id.clone());
            }
        }
        Ok(lost)
    }

    /// Describes the server's eviction policy if that may drop keys.
    pub(super) async fn eviction_hazards(&self) -> Result<Vec<String>, StoreError> {
        let Some(MemorySettings { policy, limited }) = self.memory_settings().await? else { return Ok(Vec::new()) };
        if policy == "noeviction" {
            return Ok(Vec::new());
        }
        let when =
            if limited { "when its memory is full" } else { "as soon as `maxmemory` is set and its memory full" };
        let what = if policy.starts_with("allkeys") { "records" } else { "the lease and tombstones" };
        Ok(vec![format!(
            "Redis throws {what} away {when}: its `maxmemory-policy` is {policy}; set it to noeviction, or give Sandglass a \
             server of its own"
        )])
    }

    /// Reads the settings, if the server allows it: managed servers forbid `CONFIG`, and access lists may forbid `INFO`.
    async fn memory_settings(&self) -> Result<Option<MemorySettings>, StoreError> {
        let mut ask = pipeline();
        ask.cmd("CONFIG").arg("GET").arg("maxmemory*").cmd("INFO").arg("memory");
        let mut answers = self.connection.send(&ask).await?.into_iter().map(Result::ok);
        let mut next = || answers.next().flatten().unwrap_or_default();
        let configured: HashMap<String, String> = redis::from_redis_value(next()).unwrap_or_default();
        let told: String = redis::from_redis_value(next()).unwrap_or_default();
        let from_info = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let setting = |name: &str, info: &str| configured.get(name).cloned().or_else(|| from_info(info));
        let Some(policy) = setting("maxmemory-policy", "maxmemory_policy") else { return Ok(None) };
        let limited = setting("maxmemory", "maxmemory").is_none_or(|bytes| bytes != "0");
        Ok(Some(MemorySettings { policy, limited }))
    }

    /// Reads how much of the grace is used up; zero if the value is no number.
    pub(super) async fn read_grace(&self) -> Result<Duration, StoreError> {
        let mut read = pipeline();
        read.cmd("GET").arg(&self.keys.grace);
        match self.connection.send(&read).await?.into_iter().next() {
            Some(Ok(value)) => {
                let milliseconds: Option<u64> = redis::from_redis_value(value).ok();
                Ok(Duration::from_millis(milliseconds.unwrap_or_default()))
            }
            Some(Err(error)) if error.code() != Some("WRONGTYPE") => {
                Err(self.connection.failed(&format!("failed to read `{}`", self.keys.grace), &error))
            }
            _ => Ok(Duration::ZERO),
        }
    }

    /// Notes how much of the grace is used up.
    pub(super) async fn note_grace(&self, spent: Duration) -> Result<(), StoreError> {
        let lease = self.lease()?;
        let call = self.scripts.grace.call(&[&*self.keys.lease, &self.keys.grace]);
        let call = with(with(call, &lease.value), spent.as_millis().to_string());
        let reply = self.scripts.grace.run(&self.connection, call).await?;
        match &*reply.word {
            "noted" => Ok(()),
            // The lease may be missing for a moment; the next renewal finds out whether it is lost.
            _ => Err(self.connection.unavailable("the lease is not there to note the grace under")),
        }
    }
}
