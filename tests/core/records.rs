//! Any bytes in the place of a record are either decoded or refused with a reason, and a decoded record can be encoded
//! and decoded again.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use sandglass::domain::{
    EpochSeconds, Moment, Now, OnTimeout, Rules, Sandbox, SandboxId,
    record::{self, Damaged, Record},
    restore::{Fallbacks, restore},
    sandbox::RuleClock,
};
use serde_json::value::RawValue;

use crate::support::mutations::mutated;

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// About when the records of the corpus were written.
fn now() -> Now {
    Now { moment: Moment::from_nanos(1_000_000_000_000), epoch_offset: 1_794_999_100_000_000_000 }
}

fn restored(record: Record, score: EpochSeconds) -> Result<Sandbox, Damaged> {
    restored_after(None, record, score)
}

/// `idle_slack`: what an unclean stop may have lost.
fn restored_after(idle_slack: Option<Duration>, record: Record, score: EpochSeconds) -> Result<Sandbox, Damaged> {
    let rules = Rules::new(Duration::from_secs(1800), OnTimeout::Deactivate);
    let fallbacks = Fallbacks {
        rules: rules.with(RuleClock::Idle, Duration::from_secs(7200)),
        legacy_ttl: Duration::from_secs(86_400),
        idle_slack,
        not_before: Moment::DISTANT_PAST,
    };
    let id = SandboxId::parse("a").expect("an id");
    restore(&id, record, score, &fallbacks, now()).map(|restored| restored.sandbox)
}

fn written(sandbox: &Sandbox) -> Vec<u8> {
    record::encode(sandbox, sandbox.last_activity(), FLUSH_INTERVAL, &now())
}

fn corpus() -> Vec<Vec<u8>> {
    let lines = include_str!("../fixtures/fuzz/records.jsonl").lines();
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

fn texts<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Box<RawValue>)>) -> Vec<(String, String)> {
    fields.into_iter().map(|(name, raw)| (name.to_owned(), raw.get().to_owned())).collect()
}

fn json(text: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(text).expect("an object")
}

/// Whether two records are the same to the byte, but for the rounding of a time to nanoseconds.
fn same(one: &BTreeMap<String, Box<RawValue>>, other: &BTreeMap<String, Box<RawValue>>) -> bool {
    let number = |raw: &RawValue| serde_json::from_str::<f64>(raw.get()).ok();
    let close = |one: f64, other: f64| (one - other).abs() < 1e-6;
    let alike = |(one, other): (&RawValue, &RawValue)| {
        one.get() == other.get() || number(one).zip(number(other)).is_some_and(|(one, other)| close(one, other))
    };
    one.keys().eq(other.keys()) && one.values().map(AsRef::as_ref).zip(other.values().map(AsRef::as_ref)).all(alike)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_record_that_can_be_written_and_read_again_or_are_refused(
        bytes in mutated(corpus()),
        score in prop_oneof![Just(1_795_000_010.0), any::<f64>()],
    ) {
        let Ok(record) = Record::parse(&bytes) else { return Ok(()) };
        let unknown = texts(record.extra.iter().map(|(name, raw)| (name.as_str(), raw)));
        let Ok(sandbox) = restored(record, score) else { return Ok(()) };

        let first = written(&sandbox);
        let text = String::from_utf8_lossy(&first).into_owned();
        let read = Record::parse(&first).map_err(|damaged| TestCaseError::fail(format!("{damaged}: {text}")))?;
        prop_assert_eq!(texts(read.extra.iter().map(|(name, raw)| (name.as_str(), raw))), unknown, "{}", text);
        let again = restored(read, f64::NAN).map_err(|damaged| TestCaseError::fail(format!("{damaged}: {text}")))?;
        let second = String::from_utf8_lossy(&written(&again)).into_owned();
        prop_assert!(same(&json(&second), &json(&text)), "{}\n{}", text, second);
    }
}

#[test]
fn slack_is_carried_by_each_record_until_it_is_used_up_and_never_adds_up() {
    const LONG: Duration = Duration::from_secs(5);
    let read = |bytes: &[u8]| Record::parse(bytes).expect("a record");
    let fresh = read(&corpus()[0]);
    let clean = restored(fresh.clone(), f64::NAN).expect("sound");
    assert_eq!(clean.idle_slack(), Duration::ZERO);
    assert!(!String::from_utf8_lossy(&written(&clean)).contains("idle_slack"));

    let mut sandbox = restored_after(Some(LONG), fresh, f64::NAN).expect("sound");
    let promised = sandbox.idle_deadline();
    for stop in [None, Some(FLUSH_INTERVAL), None, None, Some(LONG)] {
        sandbox = restored_after(stop, read(&written(&sandbox)), f64::NAN).expect("sound");
        assert_eq!((sandbox.idle_slack(), sandbox.idle_deadline()), (LONG, promised), "{stop:?}");
    }
    // The journal knows of a later ping, of which nothing is lost.
    let pinged = record::encode(&sandbox, sandbox.last_activity().plus(FLUSH_INTERVAL), FLUSH_INTERVAL, &now());
    assert_eq!(restored(read(&pinged), f64::NAN).expect("sound").idle_slack(), Duration::ZERO);
}
