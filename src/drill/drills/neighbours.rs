//! Foreign containers: without our labels under our names, with the reference system's labels, and of a second prefix on the
//! same Docker. None of them is touched; a legacy record is taken over with its own container only.

use super::kit::*;
use crate::domain::{SandboxId, name::container_name};

/// Long enough for several comparisons with Docker.
const WATCHED: Duration = Duration::from_secs(5);
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Compares with Docker every second, and takes containers older than a second for orphans.
const EAGER: [(&str, &str); 3] =
    [("docker.reconcile_interval", "1"), ("docker.orphan_grace", "1"), ("lifecycle.legacy_ttl", "4")];

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let (ledger, hand) = (Ledger::default(), ground.hand());
    let path = ground.directory().join("other.redb").display().to_string();
    let other_prefix = ground.other_prefix();
    let mut eager_other = EAGER.to_vec();
    eager_other.extend([("store.prefix", other_prefix.as_str()), ("store.path", path.as_str())]);

    ground.say("containers of others under our names");
    let (taken, legacy, stranger) = (ground.id("taken"), ground.id("legacy"), ground.id("stranger"));
    let name = container_name(&ground.prefix, &SandboxId::parse(&taken)?);
    let unlabelled = hand.run(&name, &[]).await?;
    let reference =
        |task: &str| [("owner".to_owned(), "executor_manager".to_owned()), ("task_id".to_owned(), task.to_owned())];
    let run = |name: String, labels: [(String, String); 2]| async move {
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        hand.run(&name, &labels).await
    };
    let unrecorded = run(format!("task-{stranger}"), reference(&stranger)).await?;
    let recorded = match &ground.options.redis_url {
        Some(url) => {
            plant_legacy(url, &ground.prefix, &legacy).await?;
            Some(run(format!("task-{legacy}"), reference(&legacy)).await?)
        }
        None => None,
    };
    let (one, other) = tokio::try_join!(ground.serve(&EAGER), ground.serve(&eager_other))?;
    let refused = one.post("/v1/sandboxes", &json!({ "id": taken, "idle_timeout": LONG.as_secs() })).await?;
    findings.expect_refusal("a create under a name that is taken", &refused, 502, "start_failed");

    ground.say("two prefixes on one Docker");
    let (mine, theirs) = (ground.id("mine"), ground.id("theirs"));
    let created = ledger.begin(&one, &mine, LONG).await?;
    let container = created["container_id"].as_str().unwrap_or_default().to_owned();
    let others = Ledger::default();
    others.begin(&other, &theirs, LONG).await?;
    let same = others.begin(&other, &mine, LONG).await?;
    findings.expect(same["container_id"] != container.as_str(), || "two prefixes share a container".to_owned());
    others.end(&other, &mine).await?;
    sleep(WATCHED).await;
    findings.expect(hand.runs(&container).await?, || format!("{mine} was hit by the supervisor of another prefix"));
    let unknown = one.sandbox(&theirs).await?;
    findings.expect(unknown.status == 404, || format!("{theirs} is known to the other prefix: {}", unknown.body));
    // Containers of another prefix are left alone even while its supervisor is down.
    other.kill().await?;
    sleep(WATCHED / 2).await;
    let there = hand.containers_of_prefix(&other_prefix).await?;
    findings.expect(there.len() == 1, || format!("{} containers of the other prefix are left, not 1", there.len()));
    let other = ground.serve(&eager_other).await?;
    let pinged = others.ping(&other, &theirs).await?;
    findings.expect(pinged.status == 200, || format!("{theirs} is not back: {}", pinged.body));

    if let Some(recorded) = &recorded {
        ground.say("a legacy record ends by the fallback");
        let ended = one.until(&legacy, "terminated", GONE_WITHIN).await?;
        findings.expect(ended["reason"] == "idle", || format!("the legacy record ended otherwise: {ended}"));
        findings.expect(hand.inspect(recorded).await?.is_none(), || "a legacy record's container is left".to_owned());
    }
    for (container, whose) in [(&unlabelled, "without labels"), (&unrecorded, "of the reference system, unrecorded")] {
        findings.expect(hand.runs(container).await?, || format!("a container {whose} was touched"));
    }
    others.end(&other, &theirs).await?;
    other.stop().await?;
    findings.leaked += hand.containers_of_prefix(&other_prefix).await?.len();
    ledger.end(&one, &mine).await?;
    ground.settle(one, &ledger, GONE_WITHIN, &mut findings).await?;
    let legacy = if recorded.is_some() { "with a legacy record" } else { "no legacy record without Redis" };
    findings.done = format!("containers of others under our names and labels, {legacy}; two prefixes on one Docker");
    Ok(findings)
}

/// Writes a record as the reference system does, without the times that the idle rule needs.
async fn plant_legacy(url: &str, prefix: &str, id: &str) -> anyhow::Result<()> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let record = json!({
        "sandbox_id": id, "container_name": format!("task-{id}"), "base_url": null, "status": "running",
        "error_message": null, "created_at": wall_seconds(), "started_at": wall_seconds(), "shell_type": "shell",
        "user_id": 1, "user_name": "drill", "executor_namespace": null, "metadata": { "task_id": id },
    });
    let key = format!("{prefix}-session:{id}");
    ::redis::cmd("HSET").arg(key).arg("__sandbox__").arg(record.to_string()).query_async::<()>(&mut connection).await?;
    let active = format!("{prefix}:active");
    ::redis::cmd("ZADD").arg(active).arg(wall_seconds()).arg(id).query_async::<()>(&mut connection).await?;
    Ok(())
}
