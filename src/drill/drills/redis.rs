//! Redis is down for a minute under pings, comes back empty, and answers slowly.

use super::kit::*;
use crate::drill::ground::clear_redis;

/// Falls due during the outage.
const SHORT: Duration = Duration::from_secs(3);
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
const PING_EVERY: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_millis(200);
const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let url = ground.options.redis_url.clone().context("this drill needs a Redis")?;
    let relay = Relay::to_redis(&url).await?;
    let relayed = relay.redis_url(&url)?;
    let settings = [("store.redis_url", relayed.as_str())];
    let (ledger, mut findings) = (Ledger::default(), Findings::default());

    ground.say("starting without Redis");
    relay.set(Fault::Down);
    let mut instance = ground.spawn_on(StoreChoice::Redis, &settings)?;
    instance.until_it_says("the start waits", NOTICED_WITHIN).await?;
    relay.set(Fault::None);
    instance.wait_until_ready().await?;
    let ids = ids(&ground, "used", 8);
    create_all(&instance, &ledger, &ids, LONG).await?;
    let due = ground.id("due");
    ledger.begin(&instance, &due, SHORT).await?;
    ledger.ping(&instance, &due).await?;

    ground.say(format!("Redis is gone for {:?}", ground.outage()));
    relay.set(Fault::Down);
    let outage = ground.outage();
    let (pings, most) = ping_for(&instance, &ledger, &ids, (outage, PING_EVERY), &mut findings).await?;
    // For each sandbox, one write in flight and one that came since.
    let bound = 2 * (ids.len() + 1);
    findings.expect(most <= bound as f64, || format!("{most} writes waited for {} sandboxes", ids.len() + 1));
    until_reported(&instance, "store", NOTICED_WITHIN, &mut findings).await?;
    create_is_refused(&instance, &ground.id("meanwhile"), "store_unavailable", &mut findings).await?;
    let waits = instance.sandbox(&due).await?.body;
    findings.expect(waits["status"] == "terminating", || format!("what is due does not wait for the store: {waits}"));
    let there = ground.hand().containers_of(&due).await?.len();
    findings.expect(there == 1, || "what is due was removed before its end was recorded".to_owned());
    relay.set(Fault::None);
    ledger.excuse_until(wall_seconds());
    instance.until_without(None, NOTICED_WITHIN).await?;
    until_written(&instance).await?;
    let instance = restarted(&ground, instance, &settings, &ids, &ledger, &mut findings).await?;
    // Ends are not written again after a loss, so judge this one before.
    let ended = instance.until(&due, "terminated", GONE_WITHIN).await?;
    ledger.judge(&ended, &mut findings);
    ledger.forget(&due);

    ground.say("Redis comes back empty");
    until_written(&instance).await?;
    relay.set(Fault::Down);
    instance.until_without(Some("store"), NOTICED_WITHIN).await?;
    // The other half is written only because of the loss.
    ledger.ping_all(&instance, &ids[..ids.len() / 2]).await?;
    clear_redis(&url, &ground.prefix).await?;
    relay.set(Fault::None);
    instance.until_without(None, NOTICED_WITHIN).await?;
    let began = Instant::now();
    let written = records_of(&url, &ground.prefix, &ids, NOTICED_WITHIN).await?;
    findings.expect(written == ids.len(), || format!("{written} of {} were written again", ids.len()));
    findings.measured("all written again", format!("{:.2} s", began.elapsed().as_secs_f64()));
    until_written(&instance).await?;
    let instance = restarted(&ground, instance, &settings, &ids, &ledger, &mut findings).await?;

    ground.say("Redis is slow");
    relay.set(Fault::Slow(SLOW));
    let began = Instant::now();
    let slow = ground.id("slow");
    ledger.begin(&instance, &slow, SHORT).await?;
    findings.measured("create on a slow Redis", format!("{:.2} s", began.elapsed().as_secs_f64()));
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let answered = ledger.ping_all(&instance, &ids).await?;
        findings.expect(answered == ids.len(), || "a ping was refused on a slow Redis".to_owned());
        slowest = slowest.max(began.elapsed());
        sleep(PING_EVERY).await;
    }
    findings.measured("slowest batch of pings on it", format!("{:.1} ms", slowest.as_secs_f64() * 1000.0));
    instance.until(&slow, "terminated", GONE_WITHIN).await?;
    relay.set(Fault::None);

    for id in &ids {
        ledger.end(&instance, id).await?;
    }
    findings.done =
        format!("Redis missing at the start, gone for {outage:?} with {pings} pings, emptied, and slow by {SLOW:?}");
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Waits until the journal has nothing left to write.
async fn until_written(instance: &Instance) -> anyhow::Result<()> {
    let until = Instant::now() + NOTICED_WITHIN;
    while instance.metric("sandglass_journal_backlog").await? > 0.0 {
        anyhow::ensure!(Instant::now() < until, "the journal has not caught up within {NOTICED_WITHIN:?}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits until all of these have a record in Redis, and returns how many have one at the end.
async fn records_of(url: &str, prefix: &str, ids: &[String], within: Duration) -> anyhow::Result<usize> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let until = Instant::now() + within;
    loop {
        let mut found = 0;
        for id in ids {
            let mut question = ::redis::cmd("HEXISTS");
            question.arg(format!("{prefix}-session:{id}")).arg("__sandbox__");
            let there: bool = question.query_async(&mut connection).await?;
            let mut question = ::redis::cmd("ZSCORE");
            let score: Option<f64> =
                question.arg(format!("{prefix}:active")).arg(id).query_async(&mut connection).await?;
            found += usize::from(there && score.is_some());
        }
        if found == ids.len() || Instant::now() > until {
            return Ok(found);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Kills the instance and starts another one, which has to keep every promise.
async fn restarted(
    ground: &Ground,
    instance: Instance,
    settings: &[(&str, &str)],
    ids: &[String],
    ledger: &Ledger,
    findings: &mut Findings,
) -> anyhow::Result<Instance> {
    instance.kill().await?;
    let instance = ground.serve_on(StoreChoice::Redis, settings).await?;
    for id in ids {
        ledger.is_kept(&instance, id, findings).await?;
    }
    let value = instance.post("/v1/activity", &json!({ "ids": ids })).await?.body;
    for answer in value["results"].as_array().map_or(&[][..], Vec::as_slice) {
        findings.expect(answer["ok"] == Value::Bool(true), || format!("a ping after kill -9: {answer}"));
        ledger.acknowledged(answer);
    }
    Ok(instance)
}
