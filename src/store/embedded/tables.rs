//! The tables of the file, and the effect of each write.

use std::{ops::Bound, time::Duration};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::error::Failure;
use crate::{
    domain::{EpochSeconds, SandboxId},
    ports::store::{Cursor, Found, Page, Quarantined, Stored, Write},
    random,
};

/// The layout that this version writes.
pub(super) const FORMAT: u64 = 1;

/// `format`: the layout's number. `id`: the store's unique id. `grace_spent`: how much of the grace after a restart is used up,
/// in milliseconds; removed when a run outlives the grace. `stopped`: the time of a clean stop, in milliseconds since the
/// epoch; removed when the lease is next taken.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// A table of members with a time and a record.
type Records = TableDefinition<'static, &'static [u8], (EpochSeconds, &'static [u8])>;

/// The active set, with the times of the last activity.
pub(super) const SANDBOXES: Records = TableDefinition::new("sandboxes");
/// The tombstones, with the times of their expiry.
pub(super) const TOMBSTONES: Records = TableDefinition::new("tombstones");
/// Records of members that left the active set without an end.
const FORGOTTEN: Records = TableDefinition::new("forgotten");
/// The quarantine: time, reason and bytes.
const QUARANTINE: TableDefinition<'_, &[u8], (EpochSeconds, &str, &[u8])> = TableDefinition::new("quarantine");

/// Creates all tables, so that none is ever missing, and writes the format.
pub(super) fn create(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    for records in [SANDBOXES, TOMBSTONES, FORGOTTEN] {
        transaction.open_table(records)?;
    }
    transaction.open_table(QUARANTINE)?;
    Ok(transaction.commit()?)
}

/// Reads the store's id; generates it at the first call.
pub(super) fn id(database: &Database) -> Result<String, Failure> {
    let known = database.begin_read()?.open_table(META)?.get("id")?.map(|id| id.value());
    let id = match known {
        Some(id) => id,
        None => {
            let id = random::number();
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert("id", id)?;
            transaction.commit()?;
            id
        }
    };
    Ok(format!("{id:016x}"))
}

/// Notes a clean stop at `stopped`.
pub(super) fn note_stop(database: &Database, stopped: EpochSeconds) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("stopped", (stopped * 1000.0) as u64)?;
    Ok(transaction.commit()?)
}

/// Removes and returns the note of a clean stop. Writes nothing if there is none.
pub(super) fn take_stop_note(database: &Database) -> Result<Option<EpochSeconds>, Failure> {
    if database.begin_read()?.open_table(META)?.get("stopped")?.is_none() {
        return Ok(None);
    }
    let transaction = database.begin_write()?;
    let stopped = transaction.open_table(META)?.remove("stopped")?.map(|stopped| stopped.value() as f64 / 1000.0);
    transaction.commit()?;
    Ok(stopped)
}

/// Reads how much of the grace after a restart is used up.
pub(super) fn grace_spent(database: &Database) -> Result<Duration, Failure> {
    let spent = database.begin_read()?.open_table(META)?.get("grace_spent")?.map(|spent| spent.value());
    Ok(Duration::from_millis(spent.unwrap_or_default()))
}

/// Notes how much of the grace is used up; zero removes the note.
pub(super) fn spend_grace(database: &Database, spent: Duration) -> Result<(), Failure> {
    if spent.is_zero() && grace_spent(database)?.is_zero() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    match u64::try_from(spent.as_millis()).unwrap_or(u64::MAX) {
        0 => _ = transaction.open_table(META)?.remove("grace_spent")?,
        milliseconds => _ = transaction.open_table(META)?.insert("grace_spent", milliseconds)?,
    }
    Ok(transaction.commit()?)
}

/// Returns those of `ids` that are not in the active set.
pub(super) fn missing(database: &Database, ids: &[SandboxId]) -> Result<Vec<SandboxId>, Failure> {
    let sandboxes = database.begin_read()?.open_table(SANDBOXES)?;
    let mut missing = Vec::new();
    for id in ids {
        if sandboxes.get(id.as_str().as_bytes())?.is_none() {
            missing.push(id.clone());
        }
    }
    Ok(missing)
}

/// Applies all writes durably, or none. Tombstones expire relative to `now`.
pub(super) fn apply(database: &Database, batch: &[Write], now: EpochSeconds) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    apply_in(&transaction, batch, now)?;
    Ok(transaction.commit()?)
}

fn apply_in(transaction: &WriteTransaction, batch: &[Write], now: EpochSeconds) -> Result<(), Failure> {
    let mut sandboxes = transaction.open_table(SANDBOXES)?;
    let mut tombstones = transaction.open_table(TOMBSTONES)?;
    let mut forgotten = transaction.open_table(FORGOTTEN)?;
    let mut quarantine = transaction.open_table(QUARANTINE)?;
    for write in batch {
        match write {
            Write::Put { id, record, last_activity } => {
                let member = id.as_str().as_bytes();
                sandboxes.insert(member, (*last_activity, &record[..]))?;
                tombstones.remove(member)?;
                forgotten.remove(member)?;
            }
            Write::Bury { id, record, retention } => {
                let member = id.as_str().as_bytes();
                tombstones.insert(member, (now + retention.as_secs_f64(), &record[..]))?;
                sandboxes.remove(member)?;
                forgotten.remove(member)?;
            }
            Write::Deactivate { member } => {
                if let Some(left) = sandboxes.remove(&member[..])? {
                    forgotten.insert(&member[..], left.value())?;
                }
            }
            Write::Quarantine { member, bytes, reason, at } => {
                quarantine.insert(&member[..], (*at, &reason[..], &bytes[..]))?;
            }
        }
    }
    Ok(())
}

/// Drops expired tombstones.
pub(super) fn expire(database: &Database, now: EpochSeconds) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(TOMBSTONES)?.retain(|_, (expires, _)| expires > now)?;
    Ok(transaction.commit()?)
}

/// Reads a member of the active set.
pub(super) fn get(database: &Database, id: &SandboxId) -> Result<Option<Stored>, Failure> {
    let member = id.as_str().as_bytes();
    let row = database.begin_read()?.open_table(SANDBOXES)?.get(member)?;
    Ok(row.map(|row| stored(member, row.value())))
}

/// Reads a page of a table, sorted by member.
pub(super) fn page(
    database: &Database,
    records: Records,
    from: Option<&Cursor>,
    limit: usize,
) -> Result<Page, Failure> {
    let table = database.begin_read()?.open_table(records)?;
    let start = from.map_or(Bound::Unbounded, |cursor| Bound::Excluded(&cursor.0[..]));
    let mut rows = table.range::<&[u8]>((start, Bound::Unbounded))?;
    let mut entries = Vec::new();
    for row in rows.by_ref().take(limit.max(1)) {
        let (member, value) = row?;
        entries.push(stored(member.value(), value.value()));
    }
    let more = rows.next().transpose()?.is_some();
    let next = entries.last().filter(|_| more).map(|last| Cursor(last.member.clone()));
    Ok(Page { entries, next })
}

fn stored(member: &[u8], (score, record): (EpochSeconds, &[u8])) -> Stored {
    Stored { member: member.to_vec(), score, found: Found::Record(record.to_vec()) }
}

/// Reads the quarantine.
pub(super) fn quarantined(database: &Database) -> Result<Vec<Quarantined>, Failure> {
    let table = database.begin_read()?.open_table(QUARANTINE)?;
    let mut entries = Vec::new();
    for row in table.iter()? {
        let (member, value) = row?;
        let (at, reason, bytes) = value.value();
        let (member, bytes) = (member.value().to_vec(), bytes.to_vec());
        entries.push(Quarantined { member, bytes, reason: reason.to_owned(), at });
    }
    Ok(entries)
}
