//! Docker is down when the instance starts and comes later, is restarted in mid-life, and is gone for a minute while
//! sandboxes fall due.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};

use super::together::{create_all, keep_alive};
use crate::{
    clock::wall_seconds,
    drill::{
        findings::Findings,
        ground::Ground,
        instance::Instance,
        ledger::Ledger,
        relay::{Fault, Relay},
    },
};

/// Those that fall due live this long after their last ping.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Those that are used all the time.
const LONG: u64 = 600;
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
const RESTART: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_millis(250);
/// Retries wait for up to a minute.
const GONE_WITHIN: Duration = Duration::from_secs(150);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let count = ground.rounds(50);
    let mut findings = Findings::default();
    let ledger = Ledger::default();
    let relay = Relay::to_docker(&ground.options.docker_host).await?;
    let host = relay.docker_host();

    ground.say("starting without Docker");
    relay.set(Fault::Down);
    let instance = ground.serve(&[("docker.host", &host), ("docker.call_timeout", "10")]).await?;
    let told = instance.until_without(Some("runtime"), NOTICED_WITHIN).await?;
    findings.expect(told["reasons"][0]["since"].is_f64(), || format!("/readyz does not say since when: {told}"));
    refused(&instance, &ground, "too-soon", &mut findings).await?;
    relay.set(Fault::None);
    instance.until_without(None, NOTICED_WITHIN).await?;
    let used: Vec<_> = (0..3).map(|number| ground.id(&format!("used-{number}"))).collect();
    for id in &used {
        ledger.must_create(&instance, &json!({ "id": id, "idle_timeout": LONG })).await?;
        ledger.allow(id, &["requested"]);
    }

    ground.say("restarting Docker");
    relay.set(Fault::Down);
    let mut pings = ping_for(&instance, &ledger, &used, RESTART, &mut findings).await?;
    relay.set(Fault::None);
    instance.until_without(None, NOTICED_WITHIN).await?;

    ground.say(format!("creating {count} sandboxes"));
    let ids: Vec<String> = (0..count).map(|number| ground.id(&format!("due-{number}"))).collect();
    tokio::select! {
        created = create_all(&instance, &ledger, &ids, IDLE_TIMEOUT) => created?,
        broken = keep_alive(&instance, &ledger) => broken?,
    }
    ledger.ping_all(&instance, &ids).await?;
    ground.say(format!("Docker is gone for {:?}, and {count} sandboxes fall due", ground.outage()));
    relay.set(Fault::Down);
    let gone = Instant::now();
    let until_all_are_due = IDLE_TIMEOUT + Duration::from_secs(1);
    pings += ping_for(&instance, &ledger, &used, until_all_are_due, &mut findings).await?;
    for id in &ids {
        still_there(&instance, id, &mut findings).await?;
    }
    instance.until_without(Some("runtime"), NOTICED_WITHIN).await?;
    refused(&instance, &ground, "meanwhile", &mut findings).await?;
    let rest = ground.outage().saturating_sub(gone.elapsed());
    pings += ping_for(&instance, &ledger, &used, rest, &mut findings).await?;
    let there = ground.hand().containers().await?.len();
    findings.expect(there == count + used.len(), || format!("{there} containers outlived the outage"));
    relay.set(Fault::None);
    ledger.excuse_until(wall_seconds());
    instance.until_without(None, NOTICED_WITHIN).await?;
    let back = Instant::now();

    ground.say("Docker is back");
    while ground.hand().containers().await?.len() > used.len() && back.elapsed() < GONE_WITHIN {
        ledger.ping_all(&instance, &used).await?;
        sleep(Duration::from_millis(200)).await;
    }
    findings.measured("all gone after the outage", format!("{:.1} s", back.elapsed().as_secs_f64()));
    for id in &used {
        instance.delete(&format!("/v1/sandboxes/{id}?wait=30")).await?;
    }
    let outage = ground.outage();
    findings.done = format!(
        "Docker down at the start, restarted, and gone for {outage:?} while {count} fell due; {pings} pings meanwhile"
    );
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// A create is refused, and says why.
async fn refused(instance: &Instance, ground: &Ground, name: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let answer = instance.post("/v1/sandboxes", &json!({ "id": ground.id(name) })).await?;
    findings.expect(answer.status == 503 && answer.code() == "runtime_unavailable", || {
        format!("a create without Docker was answered with {}: {}", answer.status, answer.body)
    });
    Ok(())
}

/// Pings these for a while, each of which has to be acknowledged. How many were.
async fn ping_for(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    time: Duration,
    findings: &mut Findings,
) -> anyhow::Result<usize> {
    let until = Instant::now() + time;
    let mut ticks = interval(PING_EVERY);
    let mut acknowledged = 0;
    while Instant::now() < until {
        ticks.tick().await;
        let now = ledger.ping_all(instance, ids).await?;
        findings.expect(now == ids.len(), || format!("{now} of {} pings were acknowledged", ids.len()));
        acknowledged += now;
    }
    Ok(acknowledged)
}

/// What is due and cannot be removed is visible, on its way out, and refuses pings.
async fn still_there(instance: &Instance, id: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let sandbox = instance.get(&format!("/v1/sandboxes/{id}")).await?.body;
    findings.expect(sandbox["status"] == "terminating", || format!("{id} is due, and is {}", sandbox["status"]));
    let ping = instance.post(&format!("/v1/sandboxes/{id}/activity"), &Value::Null).await?;
    findings.expect(ping.status == 409 && ping.code() == "terminating", || {
        format!("a ping of {id}, which is due, was answered with {}: {}", ping.status, ping.body)
    });
    let why = instance.get(&format!("/v1/sandboxes/{id}/why")).await?.body;
    findings.expect(why["removal"].is_object(), || format!("{id} does not say how its removal goes: {why}"));
    Ok(())
}
