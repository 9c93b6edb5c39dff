//! What most drills import, and steps that several of them take.

pub(super) use std::{sync::Arc, time::Duration};

pub(super) use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
pub(super) use serde_json::{Value, json};
use tokio::time::interval;
pub(super) use tokio::time::{Instant, sleep};

pub(super) use crate::{
    clock::wall_seconds,
    drill::{
        clients::Clients,
        findings::Findings,
        ground::{Ground, StoreChoice},
        instance::{Answer, Instance},
        ledger::Ledger,
        relay::{Fault, Relay},
    },
};

/// The idle timeout of sandboxes that do not fall due during a drill.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// How many creates are asked for at once.
const AT_ONCE: usize = 8;
const KEPT_EVERY: Duration = Duration::from_millis(500);

/// `count` ids that begin with `name`.
pub(super) fn ids(ground: &Ground, name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| ground.id(&format!("{name}-{number}"))).collect()
}

/// Creates all of these.
pub(super) async fn create_all(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    idle_timeout: Duration,
) -> anyhow::Result<()> {
    let creates: Vec<_> = ids.iter().map(|id| ledger.begin(instance, id, idle_timeout)).collect();
    stream::iter(creates).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

/// Creates all of these, and pings them until the last one exists, so that all fall due at the same moment.
pub(super) async fn create_crowd(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    idle_timeout: Duration,
) -> anyhow::Result<()> {
    let keep_alive = async {
        let mut ticks = interval(KEPT_EVERY);
        loop {
            ticks.tick().await;
            ledger.ping_all(instance, &ledger.ids()).await?;
        }
    };
    tokio::select! {
        created = create_all(instance, ledger, ids, idle_timeout) => created?,
        broken = keep_alive => return broken,
    }
    ledger.ping_all(instance, ids).await?;
    Ok(())
}

/// Pings these for a while; each ping has to be acknowledged. Returns how many were, and the longest backlog of the journal.
pub(super) async fn ping_for(
    instance: &Instance,
    ledger: &Ledger,
    ids: &[String],
    (time, every): (Duration, Duration),
    findings: &mut Findings,
) -> anyhow::Result<(usize, f64)> {
    let until = Instant::now() + time;
    let (mut pings, mut backlog) = (0, 0.0_f64);
    let mut ticks = interval(every);
    while Instant::now() < until {
        ticks.tick().await;
        let acknowledged = ledger.ping_all(instance, ids).await?;
        findings
            .expect(acknowledged == ids.len(), || format!("{acknowledged} of {} pings were acknowledged", ids.len()));
        pings += acknowledged;
        backlog = backlog.max(instance.metric("sandglass_journal_backlog").await?);
    }
    Ok((pings, backlog))
}

/// Waits until `/readyz` reports this part, which has to say since when.
pub(super) async fn until_reported(
    instance: &Instance,
    part: &str,
    within: Duration,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let told = instance.until_without(Some(part), within).await?;
    findings.expect(told["reasons"][0]["since"].is_f64(), || format!("/readyz does not say since when: {told}"));
    Ok(())
}

/// Expects that a create is refused with 503 and this code.
pub(super) async fn create_is_refused(
    instance: &Instance,
    id: &str,
    code: &str,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let answer = instance.post("/v1/sandboxes", &json!({ "id": id })).await?;
    findings.expect_refusal("a create during an outage", &answer, 503, code);
    Ok(())
}
