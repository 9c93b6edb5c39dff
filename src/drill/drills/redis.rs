//! Redis is gone for a minute while pings flow, comes back empty, and comes back slow.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};

use crate::{
    clock::wall_seconds,
    drill::{
        findings::Findings,
        ground::{Ground, StoreChoice, clear_redis},
        instance::Instance,
        ledger::Ledger,
        relay::{Fault, Relay},
    },
};

const LONG: u64 = 600;
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
    let ids: Vec<_> = (0..8).map(|number| ground.id(&format!("used-{number}"))).collect();
    for id in &ids {
        ledger.must_create(&instance, &json!({ "id": id, "idle_timeout": LONG })).await?;
        ledger.allow(id, &["requested"]);
    }
    let due = ground.id("due");
    ledger.must_create(&instance, &json!({ "id": due, "idle_timeout": SHORT.as_secs() })).await?;
    ledger.ping(&instance, &due).await?;

    ground.say(format!("Redis is gone for {:?}", ground.outage()));
    relay.set(Fault::Down);
    let (pings, most) = ping_through(&instance, &ledger, &ids, ground.outage(), &mut findings).await?;
    // Of each, one that is on its way and one that has come since.
    let bound = 2 * (ids.len() + 1);
    findings.expect(most <= bound as f64, || format!("{most} writes waited for {} sandboxes", ids.len() + 1));
    let told = instance.until_without(Some("store"), NOTICED_WITHIN).await?;
    findings.expect(told["reasons"][0]["since"].is_f64(), || format!("/readyz does not say since when: {told}"));
    let refused = instance.post("/v1/sandboxes", &json!({ "id": ground.id("meanwhile") })).await?;
    findings.expect(refused.status == 503 && refused.code() == "store_unavailable", || {
        format!("a create without Redis was answered with {}: {}", refused.status, refused.body)
    });
    let waits = instance.get(&format!("/v1/sandboxes/{due}")).await?.body;
    findings.expect(waits["status"] == "terminating", || format!("what is due does not wait for the store: {waits}"));
    let there = ground.hand().containers_of(&due).await?.len();
    findings.expect(there == 1, || "what is due was removed before its end was recorded".to_owned());
    relay.set(Fault::None);
    ledger.excuse_until(wall_seconds());
    instance.until_without(None, NOTICED_WITHIN).await?;
    until_written(&instance).await?;
    let instance = restarted(&ground, instance, &settings, &ids, &ledger, &mut findings).await?;
    // What has ended is not written again after a loss, so it is judged before that.
    let ended = instance.until(&due, "terminated", GONE_WITHIN).await?;
    ledger.judge(&ended, &mut findings);
    ledger.forget(&due);

    ground.say("Redis comes back empty");
    until_written(&instance).await?;
    relay.set(Fault::Down);
    instance.until_without(Some("store"), NOTICED_WITHIN).await?;
    // Of the other half nothing is written but for the loss.
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
    ledger.must_create(&instance, &json!({ "id": slow, "idle_timeout": SHORT.as_secs() })).await?;
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
        instance.delete(&format!("/v1/sandboxes/{id}?wait=30")).await?;
    }
    findings.done = format!(
        "Redis missing at the start, gone for {:?} with {pings} pings, emptied, and slow by {SLOW:?}",
        ground.outage()
    );
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Pings that go on for this time, all of which have to be acknowledged. How many there were, and the most writes that
/// waited meanwhile.
async fn ping_through(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    time: Duration,
    findings: &mut Findings,
) -> anyhow::Result<(usize, f64)> {
    let until = Instant::now() + time;
    let (mut pings, mut most) = (0, 0.0_f64);
    let mut ticks = interval(PING_EVERY);
    while Instant::now() < until {
        ticks.tick().await;
        let answered = ledger.ping_all(instance, ids).await?;
        findings.expect(answered == ids.len(), || format!("{answered} of {} pings were acknowledged", ids.len()));
        pings += answered;
        most = most.max(instance.metric("sandglass_journal_backlog").await?);
    }
    Ok((pings, most))
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

/// How many of these have a record in Redis, as soon as all have, or after this time.
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

/// `kill -9`, and a new instance that has every promise.
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
        let back = instance.get(&format!("/v1/sandboxes/{id}")).await?;
        findings.lost += usize::from(back.status == 404);
        let (has, promised) = (back.body["idle_deadline"].as_f64(), ledger.deadline(id));
        findings.expect(back.status == 200 && back.body["status"] == "running", || {
            format!("after kill -9, {id} is {}: {}", back.status, back.body)
        });
        findings.expect(has.zip(promised).is_some_and(|(has, promised)| has >= promised - 1e-6), || {
            format!("{id} was promised {promised:?}, and has {has:?} after kill -9")
        });
    }
    let value = instance.post("/v1/activity", &json!({ "ids": ids })).await?.body;
    for answer in value["results"].as_array().map_or(&[][..], Vec::as_slice) {
        findings.expect(answer["ok"] == Value::Bool(true), || format!("a ping after kill -9: {answer}"));
        ledger.acknowledged(answer);
    }
    Ok(instance)
}
