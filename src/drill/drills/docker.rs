//! Docker is down while the instance starts, is restarted later, and is down for a minute while sandboxes fall due.

use super::kit::*;

/// Of the sandboxes that fall due.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
const RESTART: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_millis(250);
/// Retries wait up to a minute.
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
    until_reported(&instance, "runtime", NOTICED_WITHIN, &mut findings).await?;
    create_is_refused(&instance, &ground.id("too-soon"), "runtime_unavailable", &mut findings).await?;
    relay.set(Fault::None);
    instance.until_without(None, NOTICED_WITHIN).await?;
    let used = ids(&ground, "used", 3);
    create_all(&instance, &ledger, &used, LONG).await?;

    ground.say("restarting Docker");
    relay.set(Fault::Down);
    let (mut pings, _) = ping_for(&instance, &ledger, &used, (RESTART, PING_EVERY), &mut findings).await?;
    relay.set(Fault::None);
    instance.until_without(None, NOTICED_WITHIN).await?;

    ground.say(format!("creating {count} sandboxes"));
    let due = ids(&ground, "due", count);
    create_crowd(&instance, &ledger, &due, IDLE_TIMEOUT).await?;
    ground.say(format!("Docker is gone for {:?}, and {count} sandboxes fall due", ground.outage()));
    relay.set(Fault::Down);
    let gone = Instant::now();
    let until_all_are_due = IDLE_TIMEOUT + Duration::from_secs(1);
    pings += ping_for(&instance, &ledger, &used, (until_all_are_due, PING_EVERY), &mut findings).await?.0;
    for id in &due {
        still_there(&instance, id, &mut findings).await?;
    }
    instance.until_without(Some("runtime"), NOTICED_WITHIN).await?;
    create_is_refused(&instance, &ground.id("meanwhile"), "runtime_unavailable", &mut findings).await?;
    let rest = ground.outage().saturating_sub(gone.elapsed());
    pings += ping_for(&instance, &ledger, &used, (rest, PING_EVERY), &mut findings).await?.0;
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
        ledger.end(&instance, id).await?;
    }
    let outage = ground.outage();
    findings.done = format!(
        "Docker down at the start, restarted, and gone for {outage:?} while {count} fell due; {pings} pings meanwhile"
    );
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Expects that a sandbox whose container cannot be removed is terminating, refuses pings, and says why.
async fn still_there(instance: &Instance, id: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let sandbox = instance.sandbox(id).await?.body;
    findings.expect(sandbox["status"] == "terminating", || format!("{id} is due, and is {}", sandbox["status"]));
    let ping = instance.act(id, "activity").await?;
    findings.expect_refusal(&format!("a ping of {id}, which is due,"), &ping, 409, "terminating");
    let why = instance.get(&format!("/v1/sandboxes/{id}/why")).await?.body;
    findings.expect(why["removal"].is_object(), || format!("{id} does not say how its removal goes: {why}"));
    Ok(())
}
