//! Containers are removed, stopped, killed and paused by hand, and the kernel kills one that is out of memory. Others are
//! restarted, committed, or reconnected to their network by hand, and go on.

use futures_util::future::try_join_all;

use super::kit::*;

const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// Longer than the engine takes to commit, in seconds.
const STOOD_STILL: f64 = 20.0;
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Quadruples a string until the memory is exhausted.
const GREEDY: &str = "sleep 1; x=0123456789; while true; do x=$x$x$x$x; done";

/// What happens to a container, and the status and reason with which its sandbox ends.
const FATES: &[(&str, &str, &str)] = &[
    ("removed", "failed", "vanished"),
    ("stopped", "failed", "exited"),
    ("killed", "failed", "exited"),
    ("greedy", "failed", "oom_killed"),
    ("done", "succeeded", "exited"),
];

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let rounds = ground.rounds(10);
    let instance = ground.serve(&[("templates.base.ports", "[80]")]).await?;
    let ledger = Ledger::default();
    let mut findings = Findings::new(format!(
        "{rounds} times removed, stopped, killed, paused, thawed, restarted, committed and connected anew by hand, out of \
         memory, and ended by itself"
    ));
    for round in 0..rounds {
        ground.say(format!("round {} of {rounds}", round + 1));
        once(&ground, &instance, &ledger, round, &mut findings).await?;
        it_goes_on(&ground, &instance, &ledger, round, &mut findings).await?;
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
        let mut body = json!({ "id": id(name), "idle_timeout": LONG.as_secs() });
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
    hand.pause(container(5)).await?;
    let ended = ledger.end(instance, &id("frozen")).await?;
    findings.expect(ended.body["status"] == "terminated", || format!("a frozen one did not end: {}", ended.body));
    let pinged = instance.act(&id("removed"), "activity").await?;
    findings.expect(pinged.status == 410, || format!("a ping of a removed one was answered with {pinged}"));
    Ok(())
}

/// Expects that changes of a container that do not end it neither end its sandbox nor count as activity, and move its clock
/// only by the time in which it was frozen.
async fn it_goes_on(
    ground: &Ground,
    instance: &Instance,
    ledger: &Ledger,
    round: usize,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let (hand, id) = (ground.hand(), ground.id(&format!("lives-{round}")));
    let before = ledger.begin(instance, &id, LONG).await?;
    let container = before["container_id"].as_str().unwrap_or_default();
    hand.commit(container).await?;
    hand.restart(container).await?;
    let restarted = instance.until_it_is_at(&id, &hand.address(container).await?, SEEN_WITHIN).await;
    findings.expect(restarted.is_ok(), || format!("after a restart by hand {id} is told to be elsewhere"));
    hand.connect_anew(container).await?;
    let moved = instance.until_it_is_at(&id, &hand.address(container).await?, SEEN_WITHIN).await;
    findings.expect(moved.is_ok(), || format!("with its network connected anew {id} is told to be elsewhere"));
    let after = instance.sandbox(&id).await?.body;
    findings.expect(after["status"] == "running", || format!("{id} did not go on: {after}"));
    let deadline = |sandbox: &Value| sandbox["idle_deadline"].as_f64().unwrap_or_default();
    let moved = deadline(&after) - deadline(&before);
    findings.expect(moved < STOOD_STILL, || format!("its idle deadline moved by {moved} s without use"));
    for name in ["expires_at", "last_activity_by"] {
        findings.expect(after[name] == before[name], || format!("{name} of {id} is another one without use: {after}"));
    }
    ledger.end(instance, &id).await?;
    Ok(())
}
