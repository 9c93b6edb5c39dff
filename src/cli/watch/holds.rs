//! Events show the holds on a sandbox as they are; this compares them with what was seen before.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::line::seconds;
use crate::domain::sandbox::{command_of, holder};

/// A hold that ends less than this many seconds later than before was not renewed: its time was rounded.
const ROUNDING: f64 = 0.5;

/// The holds that were seen last, by sandbox and by the name of the hold.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<String, BTreeMap<String, Held>>);

#[derive(Debug)]
struct Held {
    until: f64,
    /// Who holds it, in words.
    holder: String,
    is_command: bool,
}

impl Holds {
    /// Forgets what was seen of a sandbox, so that all holds on it are new.
    pub(super) fn forget(&mut self, sandbox: &Value) {
        self.0.remove(id_of(sandbox));
    }

    /// What is different about the holds on `sandbox` at `time`, in words that follow a comma; empty if nothing is.
    pub(super) fn changes(&mut self, time: &Value, sandbox: &Value) -> String {
        let before = self.0.remove(id_of(sandbox)).unwrap_or_default();
        // An end is the end of all holds.
        if !sandbox["reason"].is_null() {
            return String::new();
        }
        let now = time.as_f64().unwrap_or_default();
        let (mut told, mut after) = (String::new(), BTreeMap::new());
        for hold in sandbox["holds"].as_array().into_iter().flatten() {
            let (name, until) = (hold["name"].as_str().unwrap_or_default(), hold["until"].as_f64().unwrap_or_default());
            let held =
                Held { until, holder: holder(name, hold["reason"].as_str()), is_command: command_of(name).is_some() };
            if before.get(name).is_none_or(|known| (until - known.until).abs() > ROUNDING) {
                told += &format!(", held by {}", held.holder);
                if !held.is_command {
                    let why = hold["reason"].as_str().map_or_else(String::new, |reason| format!(" ({reason})"));
                    told += &format!("{why} for {}", seconds(until - now));
                }
            }
            after.insert(name.to_owned(), held);
        }
        for (_, gone) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            let Held { until, holder, is_command } = gone;
            told += &match (*until <= now + ROUNDING, is_command) {
                (true, _) => format!(", no longer held by {holder}"),
                (false, true) => format!(", {holder} has ended"),
                (false, false) => format!(", released by {holder}"),
            };
        }
        if !after.is_empty() {
            self.0.insert(id_of(sandbox).to_owned(), after);
        }
        told
    }
}

fn id_of(sandbox: &Value) -> &str {
    sandbox["sandbox_id"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_that_holds_is_told_by_its_line_when_it_begins_and_when_it_has_ended() {
        let mut holds = Holds::default();
        let list = json!([{ "name": "command:c1", "reason": "make\n  test", "since": 1.0, "until": 90_000.0 }]);
        let mut told = |time: f64, list: Value| {
            holds.changes(&json!(time), &json!({ "sandbox_id": "a", "reason": null, "holds": list }))
        };
        assert_eq!(told(1.0, list.clone()), ", held by command make test");
        assert_eq!(told(2.0, Value::Null), ", command make test has ended");
        assert_eq!(told(3.0, list), ", held by command make test");
        assert_eq!(told(90_000.0, Value::Null), ", no longer held by command make test");
    }

    #[test]
    fn holds_that_are_taken_renewed_released_or_over_are_told_once_each() {
        let mut holds = Holds::default();
        let ci = |until: f64| json!({ "name": "ci", "reason": "nightly", "since": 1.0, "until": until });
        let mut told = |time: f64, list: Value| {
            holds.changes(&json!(time), &json!({ "sandbox_id": "a", "reason": null, "holds": list }))
        };
        assert_eq!(told(10.0, json!([ci(70.0)])), ", held by ci (nightly) for 60 s");
        assert_eq!(told(11.0, json!([ci(70.0001)])), "");
        let agent = json!({ "name": "agent", "since": 12.0, "until": 20.0 });
        assert_eq!(told(12.0, json!([agent, ci(90.0)])), ", held by agent for 8 s, held by ci (nightly) for 78 s");
        assert_eq!(told(20.0, json!([ci(90.0)])), ", no longer held by agent");
        assert_eq!(told(21.0, Value::Null), ", released by ci");
        assert_eq!(told(22.0, json!([ci(90.0)])), ", held by ci (nightly) for 68 s");
        let ended = json!({ "sandbox_id": "a", "reason": "requested" });
        assert_eq!(holds.changes(&json!(23.0), &ended), "");
        assert!(holds.0.is_empty(), "nothing is kept of a sandbox without holds");
    }
}
