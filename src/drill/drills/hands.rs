//! Somebody removes, stops, kills and pauses containers by hand, and the kernel kills one for want of memory.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::drill::{Findings, Ground, Instance, Ledger};

const LONG: u64 = 600;
const SEEN_WITHIN: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Doubles a text until there is no more memory, with nothing but a shell.
const GREEDY: &str = "sleep 1; x=0123456789; while true; do x=$x$x$x$x; done";

/// What happens to a container, and how its sandbox ends by it.
const FATES: &[(&str, &str, &str)] = &[
    ("removed", "failed", "vanished"),
    ("stopped", "failed", "exited"),
    ("killed", "failed", "exited"),
    ("greedy", "failed", "oom_killed"),
    ("done", "succeeded", "exited"),
];

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let rounds = ground.rounds(10);
    let instance = ground.serve(&[]).await?;
    let ledger = Ledger::default();
    let mut findings = Findings::new(format!(
        "{rounds} times removed, stopped, killed, paused, thawed by hand, out of memory, and ended by itself"
    ));
    for round in 0..rounds {
        ground.say(format!("round {} of {rounds}", round + 1));
        once(&ground, &instance, &ledger, round, &mut findings).await?;
    }
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

async fn once(
    ground: &Ground,
    instance: &Instance,
    ledger: &Ledger,
    round: usize,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let id = |name: &str| ground.id(&format!("{name}-{round}"));
    let create = |name: &str| {
        let mut body = json!({ "id": id(name), "idle_timeout": LONG });
        match name {
            "greedy" => {
                body["command"] = json!(["sh", "-c", GREEDY]);
                body["limits"] = json!({ "memory_mb": 16 });
            }
            "done" => body["command"] = json!(["sh", "-c", "sleep 1"]),
            _ => {}
        }
        async move { ledger.must_create(instance, &body).await }
    };
    let names = FATES.iter().map(|(name, ..)| *name).chain(["frozen"]);
    let created = try_join_all(names.map(create)).await?;
    let container = |index: usize| created[index]["container_id"].as_str().unwrap_or_default();
    let hand = ground.hand();
    for (name, _, reason) in FATES {
        ledger.allow(&id(name), &[reason]);
    }
    hand.remove(container(0)).await?;
    hand.stop(container(1)).await?;
    hand.kill(container(2)).await?;
    hand.pause(container(5)).await?;
    instance.until(&id("frozen"), "paused", SEEN_WITHIN).await?;
    hand.unpause(container(5)).await?;
    let thawed = instance.until(&id("frozen"), "running", SEEN_WITHIN).await?;
    ledger.acknowledged(&thawed);
    for (name, status, reason) in FATES {
        let ended = instance.until(&id(name), status, SEEN_WITHIN).await?;
        findings
            .expect(ended["reason"] == *reason, || format!("a container was {name}, and the sandbox tells {ended}"));
    }
    // A stop by hand, and a frozen container: the sandbox itself is ended by its owner.
    ledger.allow(&id("frozen"), &["requested"]);
    hand.pause(container(5)).await?;
    let ended = instance.delete(&format!("/v1/sandboxes/{}?wait=20", id("frozen"))).await?;
    findings.expect(ended.body["status"] == "terminated", || format!("a frozen one did not end: {}", ended.body));
    let pinged = instance.post(&format!("/v1/sandboxes/{}/activity", id("removed")), &Value::Null).await?;
    findings.expect(pinged.status == 410, || format!("a ping of a removed one was answered with {}", pinged.body));
    Ok(())
}
