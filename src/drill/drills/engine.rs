//! The engine is stopped, killed and restarted under running and paused sandboxes, also together with Sandglass, as when the
//! host reboots. The drill does this to an engine of its own, not to the user's.

use super::kit::*;
use crate::drill::{hand::Hand, options::Options, own_engine::OwnEngine, runner::LeftOut};

/// Shorter than the engine is away.
const SHORT: Duration = Duration::from_secs(6);
const AWAY: Duration = Duration::from_secs(8);
const BACK_WITHIN: Duration = Duration::from_secs(60);
const SEEN_WITHIN: Duration = Duration::from_secs(20);
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// What happens to the engine.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// SIGTERM, as in an upgrade.
    Stopped,
    /// `kill -9`, after which it stops its containers when it comes back.
    Killed,
    /// `kill -9` of Sandglass, and SIGTERM for the engine.
    WithSandglass,
}

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let Ok(mut engine) = OwnEngine::start(&[]).await else {
        return Err(
            LeftOut("needs an engine of its own: run it as root, where dockerd, ip, unshare and nsenter are").into()
        );
    };
    engine.take_image(ground.hand().docker()?, &ground.options.image).await?;
    let host = engine.host();
    let hand = Hand::new(&Options { docker_host: host.clone(), ..ground.options.clone() }, &ground.prefix);
    let (ledger, mut findings) = (Ledger::default(), Findings::default());
    let settings = [("docker.host", host.as_str()), ("templates.base.ports", "[80]")];
    let mut instance = ground.serve(&settings).await?;
    let rounds = ground.rounds(3);
    for round in 0..rounds {
        for fate in [Fate::Stopped, Fate::Killed, Fate::WithSandglass] {
            ground.say(format!("round {} of {rounds}: the engine is {fate:?}", round + 1));
            let ids = Ids::of(&ground, &format!("{fate:?}-{round}").to_lowercase());
            let before = ids.create(&instance, &ledger).await?;
            if matches!(fate, Fate::WithSandglass) {
                instance.kill().await?;
                engine.stop().await?;
                sleep(AWAY).await;
                engine.begin().await?;
                instance = ground.serve(&settings).await?;
            } else {
                match fate {
                    Fate::Killed => engine.kill().await?,
                    _ => engine.stop().await?,
                }
                sleep(AWAY).await;
                // Clients can ping all the time.
                let pinged = ledger.ping_all(&instance, std::slice::from_ref(&ids.used)).await?;
                findings.expect(pinged == 1, || format!("a ping was refused while the engine was {fate:?}"));
                engine.begin().await?;
            }
            ledger.excuse_until(wall_seconds());
            ids.are_back(&instance, &hand, &before, fate, &mut findings).await?;
            for id in [&ids.used, &ids.frozen] {
                ledger.end(&instance, id).await?;
            }
        }
    }
    ground.say("containers that end by themselves, or by hand, while the engine stays up");
    ends(&ground, &instance, &ledger, &hand, &mut findings).await?;
    findings.done =
        format!("{rounds} times stopped, killed, and stopped with Sandglass, under running and paused ones");
    ledger.settle(&instance, GONE_WITHIN, &mut findings).await?;
    instance.stop().await?;
    findings.leaked += hand.containers().await?.len();
    Ok(findings)
}

/// The sandboxes of one outage.
struct Ids {
    used: String,
    frozen: String,
    short: String,
}

impl Ids {
    fn of(ground: &Ground, name: &str) -> Self {
        let id = |which: &str| ground.id(&format!("{which}-{name}"));
        Self { used: id("used"), frozen: id("frozen"), short: id("short") }
    }

    /// Creates the sandboxes, and returns them in the order of the fields.
    async fn create(&self, instance: &Instance, ledger: &Ledger) -> anyhow::Result<[Value; 3]> {
        let used = ledger.begin(instance, &self.used, LONG).await?;
        let frozen = ledger.begin(instance, &self.frozen, LONG).await?;
        instance.act(&self.frozen, "pause").await?;
        instance.until(&self.frozen, "paused", SEEN_WITHIN).await?;
        let short = ledger.begin(instance, &self.short, SHORT).await?;
        Ok([used, frozen, short])
    }

    /// Expects that the sandboxes are as before, with their containers and current addresses, and that the short one ended
    /// only after its time.
    async fn are_back(
        &self,
        instance: &Instance,
        hand: &Hand,
        before: &[Value; 3],
        fate: Fate,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        for (id, before, frozen) in [(&self.used, &before[0], false), (&self.frozen, &before[1], true)] {
            let container = before["container_id"].as_str().context("a container")?;
            let until = Instant::now() + BACK_WITHIN;
            let as_it_was = async || -> anyhow::Result<bool> {
                Ok(hand.runs(container).await? && hand.is_frozen(container).await? == frozen)
            };
            while !as_it_was().await? && Instant::now() < until {
                sleep(Duration::from_millis(100)).await;
            }
            findings.expect(as_it_was().await?, || format!("{id} did not come back after the engine was {fate:?}"));
            let after = instance.until(id, if frozen { "paused" } else { "running" }, SEEN_WITHIN).await?;
            findings.expect(after["container_id"] == before["container_id"], || {
                format!("{id} has another container, and not its files: {after}")
            });
            let address = hand.address(container).await?;
            let told = instance.until_it_is_at(id, &address, SEEN_WITHIN).await;
            findings
                .expect(told.is_ok(), || format!("{id} is at {address}, and is told to be at {}", after["base_url"]));
        }
        // Its clock stood still during the outage.
        let short = instance.until(&self.short, "terminated", BACK_WITHIN).await?;
        findings.expect(short["reason"] == "idle", || format!("{} ended otherwise: {short}", self.short));
        Ok(())
    }
}

/// Expects that a container's end ends its sandbox while the engine stays up.
async fn ends(
    ground: &Ground,
    instance: &Instance,
    ledger: &Ledger,
    hand: &Hand,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let (exits, stopped) = (ground.id("exits"), ground.id("stopped"));
    for id in [&exits, &stopped] {
        ledger.allow(id, &["exited"]);
    }
    let command = ["sh", "-c", "echo the last words; sleep 1; exit 3"];
    ledger.must_create(instance, &json!({ "id": exits, "idle_timeout": LONG.as_secs(), "command": command })).await?;
    let by_hand = ledger.begin(instance, &stopped, LONG).await?;
    hand.stop(by_hand["container_id"].as_str().context("a container")?).await?;
    for id in [&exits, &stopped] {
        let ended = instance.until(id, "failed", SEEN_WITHIN).await?;
        findings.expect(ended["reason"] == "exited", || format!("{id} ended otherwise: {ended}"));
        if *id == exits {
            findings.expect(ended["exit_code"] == 3 && ended["last_output"] == "the last words", || {
                format!("{id} does not tell how it ended: {ended}")
            });
        }
    }
    Ok(())
}
