//! Reads members and pages of the sets with their records, and the quarantine.

use redis::{ErrorKind, FromRedisValue, RedisError, Value};

use super::{
    connection::{Answer, pipeline},
    keys::RECORD_FIELD,
    quarantine,
    store::RedisStore,
};
use crate::{
    domain::{EpochSeconds, SandboxId},
    ports::store::{Cursor, Found, Page, Quarantined, StoreError, Stored},
};

/// A member and its score.
type Member = (Vec<u8>, EpochSeconds);

impl RedisStore {
    /// Reads a member of the active set, in one round trip.
    pub(super) async fn active_member(&self, id: &SandboxId) -> Result<Option<Stored>, StoreError> {
        let member = id.as_str().as_bytes();
        let mut read = pipeline();
        read.cmd("ZSCORE").arg(&self.keys.active).arg(member);
        read.cmd("HGET").arg(self.keys.session_of(member)).arg(RECORD_FIELD);
        let mut answers = self.connection.send(&read).await?.into_iter();
        let score = self.answer(&format!("failed to read `{}`", self.keys.active), answers.next())?;
        let Some(score) = score else { return Ok(None) };
        let record = answers.next().ok_or_else(|| self.connection.unavailable("fewer answers than questions"))?;
        Ok(Some(Stored { member: member.to_vec(), score, found: self.found(member, record)? }))
    }

    /// Reads a page of the active set: one round trip for the members and one for their records.
    pub(super) async fn active_page(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let (_, next, members) = self.scan(&self.keys.active, from, limit).await?;
        let entries = self.records(members, None).await?;
        Ok(Page { entries, next })
    }

    /// Reads a page of the tombstones, except those that have expired or have no record.
    pub(super) async fn tombstone_page(&self, from: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let (now, next, mut members) = self.scan(&self.keys.tombstones, from, limit).await?;
        let all = members.len();
        members.retain(|(_, expires)| *expires > now);
        let expired = members.len() < all;
        let mut entries = self.records(members, expired.then_some(now)).await?;
        entries.retain(|entry| entry.found != Found::Nothing);
        Ok(Page { entries, next })
    }

    /// Reads a page of members, with the server's time and the next cursor.
    async fn scan(
        &self,
        set: &str,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<(EpochSeconds, Option<Cursor>, Vec<Member>), StoreError> {
        let from = from.map_or_else(|| b"0".to_vec(), |cursor| cursor.0);
        let mut scan = pipeline();
        scan.cmd("TIME").cmd("ZSCAN").arg(set).arg(&from[..]).arg("COUNT").arg(limit.max(1));
        let mut answers = self.connection.send(&scan).await?.into_iter();
        let (seconds, microseconds): (f64, f64) = self.answer("TIME", answers.next())?;
        let (next, members): (Vec<u8>, Vec<Member>) =
            self.answer(&format!("failed to read `{set}`"), answers.next())?;
        let next = (next != b"0").then_some(Cursor(next));
        Ok((seconds + microseconds / 1e6, next, members))
    }

    /// Reads the records of members, in one round trip. Also drops tombstones that have expired at the given time.
    async fn records(&self, members: Vec<Member>, expired_at: Option<EpochSeconds>) -> Result<Vec<Stored>, StoreError> {
        let mut read = pipeline();
        for (member, _) in &members {
            read.cmd("HGET").arg(self.keys.session_of(member)).arg(RECORD_FIELD);
        }
        if let Some(now) = expired_at {
            // By score and not by name, since a member may have been buried again. A failure is harmless, since expired
            // tombstones are never returned.
            read.cmd("ZREMRANGEBYSCORE").arg(&self.keys.tombstones).arg("-inf").arg(now);
        }
        if read.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.connection.send(&read).await?;
        if answers.len() < members.len() {
            return Err(self.connection.unavailable("fewer answers than questions"));
        }
        let found = |((member, score), answer): (Member, Answer)| {
            let found = self.found(&member, answer)?;
            Ok(Stored { member, score, found })
        };
        members.into_iter().zip(answers).map(found).collect()
    }

    /// Converts the answer for a member's record.
    fn found(&self, member: &[u8], answer: Answer) -> Result<Found, StoreError> {
        let key = || String::from_utf8_lossy(&self.keys.session_of(member)).into_owned();
        match answer {
            Ok(Value::BulkString(record)) => Ok(Found::Record(record)),
            Ok(Value::Nil) => Ok(Found::Nothing),
            Ok(_) => Err(self.connection.unavailable(&format!("an unexpected answer for `{}`", key()))),
            Err(error) if error.code() == Some("WRONGTYPE") => {
                Ok(Found::Foreign(format!("the key `{}` is no hash", key())))
            }
            Err(error) => Err(self.connection.failed(&format!("failed to read `{}`", key()), &error)),
        }
    }

    /// Reads the quarantine.
    pub(super) async fn quarantine_entries(&self) -> Result<Vec<Quarantined>, StoreError> {
        let mut read = pipeline();
        read.cmd("HGETALL").arg(&self.keys.quarantine);
        let answer = self.connection.send(&read).await?.into_iter().next();
        let what = format!("failed to read `{}`", self.keys.quarantine);
        let entries: Vec<(Vec<u8>, Vec<u8>)> = self.answer(&what, answer)?;
        Ok(entries.into_iter().map(|(field, value)| quarantine::read(&field, value)).collect())
    }

    /// Converts an answer; `what` begins the message of an error.
    fn answer<T: FromRedisValue>(&self, what: &str, answer: Option<Answer>) -> Result<T, StoreError> {
        let missing = || RedisError::from((ErrorKind::UnexpectedReturnType, "no answer"));
        let typed = answer.unwrap_or_else(|| Err(missing())).and_then(|value| Ok(T::from_redis_value(value)?));
        typed.map_err(|error| self.connection.failed(what, &error))
    }
}
