//! What version 0.1.0 has written is taken over: its records, and its containers' labels.

use std::{fs, path::Path, time::Duration};

use sandglass::domain::{
    Moment, Now, OnTimeout, Rules, Sandbox, SandboxId,
    record::{self, Record},
    restore::{Fallbacks, FromRecord, restore, restore_tombstone},
    sandbox::{Action, RuleClock},
};
use serde_json::{Map, Value, json};

const FLUSH: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Now {
    Now { moment: Moment::from_nanos(seconds * 1_000_000_000), epoch_offset: 1_795_000_000_000_000_000 }
}

fn restored(bytes: &[u8], is_tombstone: bool) -> (Sandbox, bool) {
    let record = Record::parse(bytes).expect("a sound record");
    let id = SandboxId::parse(record.sandbox_id.as_deref().expect("an id")).expect("a valid id");
    let rules = Rules::new(Duration::from_secs(1800), OnTimeout::Terminate);
    let fallbacks = Fallbacks {
        rules: rules.with(RuleClock::Idle, Duration::from_secs(7200)),
        legacy_ttl: Duration::from_secs(86400),
        idle_slack: Some(FLUSH),
        not_before: at(160).moment,
    };
    if is_tombstone {
        return (restore_tombstone(&id, record, &fallbacks, at(100)).expect("its own record"), false);
    }
    let back = restore(&id, record, 1_795_000_020.5, &fallbacks, at(100));
    let FromRecord { sandbox, completed, .. } = back.expect("its own record");
    (sandbox, completed)
}

/// Everything of a sandbox that is read from its record, in words that do not depend on how it is kept.
fn told(sandbox: &Sandbox, completed: bool) -> Value {
    let nanos = |moment: Option<Moment>| moment.map(Moment::as_nanos);
    let next = sandbox.next_action().map(|(at, action)| {
        let what = match action {
            Action::End(rule) => format!("end {}", rule.clock.end_reason()),
            Action::Pause(_) => "pause".to_owned(),
            Action::Retry => "retry".to_owned(),
        };
        json!([at.as_nanos(), what])
    });
    let clocks = [RuleClock::Idle, RuleClock::Paused, RuleClock::Active, RuleClock::Heartbeat];
    let timeouts = clocks.map(|clock| {
        let after = sandbox.rules().after(clock).map(|after| after.as_secs_f64());
        (clock.timeout_name().to_owned(), json!(after))
    });
    let mut policy = Map::from_iter(timeouts);
    policy.insert("on_timeout".to_owned(), json!(sandbox.rules().on_timeout()));
    let written = record::encode(sandbox, sandbox.last_activity(), FLUSH, &at(100));
    let written = String::from_utf8(written).expect("JSON");
    // 0.1.0 kept what is owed after an unclean stop in memory alone.
    let owed = format!(r#","idle_slack":{:?}"#, sandbox.idle_slack().as_secs_f64());
    assert_eq!(written.contains(&owed), sandbox.is_alive(), "{written}");
    json!({
        "status": sandbox.status(), "policy": policy, "idle_deadline": nanos(sandbox.idle_deadline()),
        "heartbeat_deadline": nanos(sandbox.heartbeat_deadline()), "expires_at": sandbox.expires_at().as_nanos(),
        "terminates_at": nanos(sandbox.terminates_at()), "next": next,
        "last_activity": sandbox.last_activity().as_nanos(), "completed": completed,
        "record": written.replacen(&owed, "", 1),
    })
}

/// `restored.json` was made by version 0.1.0 from the same records.
#[test]
fn every_record_of_0_1_0_is_restored_to_the_same_sandbox_and_written_as_before() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0");
    let expected = fs::read(directory.join("restored.json")).expect("what 0.1.0 made of them");
    let expected: Map<String, Value> = serde_json::from_slice(&expected).expect("JSON");
    assert_eq!(fs::read_dir(directory.join("records")).expect("the records").count(), expected.len());
    for (name, expected) in &expected {
        let bytes = fs::read(directory.join(format!("records/{name}.json"))).expect("a record");
        let is_tombstone = name.contains("tombstone") || name.starts_with("terminated");
        let (sandbox, completed) = restored(&bytes, is_tombstone);
        assert_eq!(told(&sandbox, completed), *expected, "{name}");
    }
}
