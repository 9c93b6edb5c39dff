//! Docker refuses to stop and to remove containers, says that another request is doing it, or does not answer. Every removal
//! is retried until it succeeds, is visible meanwhile, and does not hold up other calls.

use super::kit::*;

/// `docker.concurrency`, less than the removals that hang.
const CONCURRENCY: &str = "4";
const HANGING: usize = 6;
const CALL_TIMEOUT: &str = "5";
const FAILED_WITHIN: Duration = Duration::from_secs(60);
const CREATED_WITHIN: Duration = Duration::from_secs(15);
/// Retries wait up to a minute.
const GONE_WITHIN: Duration = Duration::from_secs(150);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let relay = Relay::to_docker(&ground.options.docker_host).await?;
    let host = relay.docker_host();
    let settings = [
        ("docker.host", host.as_str()),
        ("docker.concurrency", CONCURRENCY),
        ("docker.call_timeout", CALL_TIMEOUT),
        ("docker.stop_grace", "0"),
    ];
    let instance = ground.serve(&settings).await?;
    let drill = Stubborn { ground: &ground, relay: &relay, instance: &instance, ledger: Ledger::default() };
    let (stop, remove) = (vec!["POST ", "/stop"], vec!["DELETE ", "/containers/"]);
    let refuse = |parts: &Vec<&'static str>, status, message| Fault::Refuse { parts: parts.clone(), status, message };
    let mut findings = Findings::default();
    let moment = Duration::from_secs(1);
    for (name, fault, fails, time) in [
        ("stop-500", refuse(&stop, 500, "cannot stop it"), false, moment),
        ("stop-409", refuse(&stop, 409, "it is busy"), false, moment),
        ("remove-500", refuse(&remove, 500, "device or resource busy"), true, moment),
        ("remove-409", refuse(&remove, 409, "removal of container is already in progress"), true, moment),
        ("stop-hangs", Fault::HangOn { parts: stop.clone() }, false, moment),
        ("remove-hangs", Fault::HangOn { parts: remove.clone() }, true, ground.outage()),
    ] {
        let count = if name == "remove-hangs" { HANGING } else { 2 };
        drill.once(name, &fault, fails, count, time, &mut findings).await?;
    }
    findings.done = format!(
        "stop and remove answered 409 and 500, or hung for {:?}, with {CONCURRENCY} calls at most",
        ground.outage()
    );
    let ledger = drill.ledger;
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

struct Stubborn<'a> {
    ground: &'a Ground,
    relay: &'a Relay,
    instance: &'a Instance,
    ledger: Ledger,
}

impl Stubborn<'_> {
    /// Deletes `count` sandboxes under a fault that lasts for `time`, and creates one more meanwhile. `fails` says whether
    /// removals cannot succeed under this fault.
    async fn once(
        &self,
        name: &str,
        fault: &Fault,
        fails: bool,
        count: usize,
        time: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        self.ground.say(format!("{name}, for {time:?}"));
        let ids = ids(self.ground, name, count);
        create_all(self.instance, &self.ledger, &ids, LONG).await?;
        self.relay.set(fault.clone());
        let began = Instant::now();
        for id in &ids {
            self.ledger.allow(id, &["requested"]);
            let answer = self.instance.delete(&format!("/v1/sandboxes/{id}")).await?;
            findings.expect(answer.status == 202, || format!("{name}: a delete was answered with {answer}"));
        }
        if fails {
            for id in ids.iter().take(2) {
                self.is_seen_to_fail(name, id, findings).await?;
            }
        }
        let among = self.ground.id(&format!("{name}-among"));
        let asked = Instant::now();
        self.ledger.begin(self.instance, &among, LONG).await?;
        let took = asked.elapsed();
        findings.expect(took < CREATED_WITHIN, || format!("{name}: a create in the middle took {took:?}"));
        sleep(time.saturating_sub(began.elapsed())).await;
        if fails {
            let left = self.ground.hand().containers().await?.len();
            findings.expect(left > count, || format!("{name}: {left} containers are left, and none can have gone"));
        }
        self.relay.set(Fault::None);
        self.ledger.allow(&among, &["requested"]);
        self.instance.delete(&format!("/v1/sandboxes/{among}")).await?;
        let healed = Instant::now();
        for id in ids.iter().chain([&among]) {
            self.instance.until(id, "terminated", GONE_WITHIN).await?;
        }
        let (took, gone) = (took.as_secs_f64(), healed.elapsed().as_secs_f64());
        findings.measured(name, format!("create among them {took:.1} s, gone {gone:.1} s later"));
        Ok(())
    }

    /// Expects that a sandbox says how often its removal failed and why, and that it refuses pings.
    async fn is_seen_to_fail(&self, name: &str, id: &str, findings: &mut Findings) -> anyhow::Result<()> {
        let until = Instant::now() + FAILED_WITHIN;
        loop {
            let why = self.instance.get(&format!("/v1/sandboxes/{id}/why")).await?.body;
            let removal = &why["removal"];
            if removal["failed_attempts"].as_u64() > Some(0) {
                let told = why["status"] == "terminating" && removal["last_error"].is_string();
                findings.expect(told, || format!("{name}: it does not tell what fails: {why}"));
                break;
            }
            if why["status"] == "terminated" || Instant::now() > until {
                findings.wrong(format!("{name}: no removal has failed, as it must: {why}"));
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let ping = self.instance.act(id, "activity").await?;
        findings.expect(ping.status == 409, || format!("{name}: a ping was answered with {ping}"));
        Ok(())
    }
}
