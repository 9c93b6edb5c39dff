//! Records of the reference system, sound and damaged, with their times moved to now.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The recorded file.
#[derive(Deserialize)]
pub struct Fixtures {
    pub session_prefix: String,
    pub field: String,
    pub active_set: String,
    pub recorded_at: f64,
    pub entries: Vec<Entry>,
}

/// A member of the active set with its hash.
#[derive(Clone, Deserialize)]
pub struct Entry {
    pub variant: String,
    pub id: String,
    pub score: f64,
    pub hash: Option<BTreeMap<String, String>>,
    pub ttl: Option<u64>,
}

impl Fixtures {
    /// All records, with their times moved so that the recording was made at `now`.
    pub fn at(now: f64) -> Self {
        let mut fixtures: Self =
            serde_json::from_str(include_str!("../fixtures/reference-records.json")).expect("the fixtures are JSON");
        let shift = now - fixtures.recorded_at;
        for entry in &mut fixtures.entries {
            entry.score += shift;
            for text in entry.hash.iter_mut().flat_map(BTreeMap::values_mut) {
                shift_times(text, shift);
            }
        }
        fixtures
    }

    /// The entries of a variant.
    pub fn of<'a>(&'a self, variant: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.variant == variant)
    }
}

impl Entry {
    /// The record's text, if it has one.
    pub fn record(&self, field: &str) -> Option<&str> {
        self.hash.as_ref()?.get(field).map(String::as_str)
    }

    /// A time in the record.
    pub fn time(&self, name: &str) -> f64 {
        let record: Map<String, Value> =
            serde_json::from_str(self.record("__sandbox__").expect("a record")).expect("JSON");
        record[name].as_f64().expect("a number")
    }
}

/// Damaged texts stay as they are.
fn shift_times(text: &mut String, shift: f64) {
    let Ok(mut record) = serde_json::from_str::<Map<String, Value>>(text) else { return };
    for name in ["created_at", "started_at", "last_activity_at", "expires_at"] {
        if let Some(at) = record.get(name).and_then(Value::as_f64) {
            record.insert(name.to_owned(), (at + shift).into());
        }
    }
    *text = Value::Object(record).to_string();
}
