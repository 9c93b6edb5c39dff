//! Sandboxes are created, resumed and deleted while the one before under the same id ends. The removal of the old one never
//! hits the new one.

use futures_util::future::try_join_all;
use rand::RngExt;

use super::kit::*;

/// How many ids are raced for at once.
const LANES: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a create may be refused while the sandbox before is ending.
const FREE_WITHIN: Duration = Duration::from_secs(60);
/// Long enough for a pending removal to hit the wrong sandbox.
const WATCHED: Duration = Duration::from_millis(400);
const GONE_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let rounds = ground.rounds(15).max(3);
    let instance = ground.serve(&[]).await?;
    let ledger = Ledger::default();
    let lane = |number: usize| {
        let lane =
            Lane { ground: &ground, instance: &instance, ledger: &ledger, id: ground.id(&format!("lane-{number}")) };
        async move { lane.run(rounds).await }
    };
    let seen = try_join_all((0..LANES).map(lane)).await?;
    let mut findings = Findings::new(format!("{} ends raced with creates and resumes of the same id", LANES * rounds));
    findings.measured("lived on", seen.iter().map(|seen| seen.reused).sum::<usize>().to_string());
    findings.measured("begun anew", seen.iter().map(|seen| seen.renewed).sum::<usize>().to_string());
    seen.into_iter().for_each(|seen| findings.add(seen.findings));
    ground.settle(instance, &ledger, GONE_WITHIN, &mut findings).await?;
    Ok(findings)
}

#[derive(Default)]
struct Seen {
    reused: usize,
    renewed: usize,
    findings: Findings,
}

struct Lane<'a> {
    ground: &'a Ground,
    instance: &'a Instance,
    ledger: &'a Ledger,
    id: String,
}

impl Lane<'_> {
    async fn run(&self, rounds: usize) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let mut sandbox = self.stand(&mut seen).await?;
        for round in 0..rounds {
            if self.id.starts_with("lane-0") {
                self.ground.say(format!("end {} of {rounds}, in {LANES} lanes", round + 1));
            }
            match round % 3 {
                0 => {
                    let deleted = self.delete().await?;
                    seen.findings
                        .expect(deleted.status == 202, || format!("a delete was answered with {}", deleted.body));
                }
                1 => self.until_about_due(&sandbox).await?,
                _ => {
                    self.post("pause").await?;
                    let (deleted, resumed, created) = tokio::join!(self.delete(), self.post("resume"), self.create());
                    for answer in [deleted?, resumed?, created?] {
                        let known = matches!(answer.status, 200..=202 | 409 | 410);
                        seen.findings.expect(known, || format!("{} was answered with {}", self.id, answer.body));
                    }
                }
            }
            let before = sandbox;
            sandbox = self.stand(&mut seen).await?;
            self.stays(&before, &sandbox, &mut seen).await?;
        }
        Ok(seen)
    }

    /// Creates until a sandbox lives under the id.
    async fn stand(&self, seen: &mut Seen) -> anyhow::Result<Value> {
        let until = Instant::now() + FREE_WITHIN;
        loop {
            let answer = self.create().await?;
            match answer.status {
                201 => {
                    self.ledger.renewed(&answer.body);
                    seen.renewed += 1;
                    return Ok(answer.body);
                }
                200 => {
                    self.ledger.acknowledged(&answer.body);
                    seen.reused += 1;
                    return Ok(answer.body);
                }
                409 => {}
                _ => anyhow::bail!("a create of {} was answered with {answer}", self.id),
            }
            anyhow::ensure!(Instant::now() < until, "{} is not free within {FREE_WITHIN:?}: {}", self.id, answer.body);
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Expects that the sandbox is not hit by the end of the one before, whose container has to be gone.
    async fn stays(&self, before: &Value, sandbox: &Value, seen: &mut Seen) -> anyhow::Result<()> {
        sleep(WATCHED).await;
        let now = self.instance.sandbox(&self.id).await?;
        let container = sandbox["container_id"].as_str().context("what runs has a container")?;
        let same = now.body["container_id"] == *container;
        let promised = sandbox["idle_deadline"].as_f64().unwrap_or_default();
        // A machine so slow that the idle timeout is over has an excuse.
        if wall_seconds() < promised {
            let alive = same && self.ground.hand().runs(container).await?;
            seen.findings.expect(alive || wall_seconds() >= promised, || {
                format!("the new {} has lost its container {container}: {}", self.id, now.body)
            });
        }
        let older = before["container_id"].as_str().filter(|older| *older != container);
        if let Some(older) = older {
            let gone = self.ground.hand().inspect(older).await?.is_none();
            seen.findings.expect(gone, || format!("the container {older} of the one before is left"));
        }
        Ok(())
    }

    /// Waits until a few milliseconds around its deadline.
    async fn until_about_due(&self, sandbox: &Value) -> anyhow::Result<()> {
        let now = self.instance.sandbox(&self.id).await?.body;
        let deadline = now["idle_deadline"].as_f64().or(sandbox["idle_deadline"].as_f64()).context("a deadline")?;
        let aim = deadline + rand::rng().random_range(-0.02..0.02);
        sleep(Duration::from_secs_f64((aim - wall_seconds()).max(0.0))).await;
        Ok(())
    }

    async fn create(&self) -> anyhow::Result<Answer> {
        let body = json!({ "id": self.id, "idle_timeout": IDLE_TIMEOUT.as_secs() });
        self.instance.post("/v1/sandboxes", &body).await
    }

    async fn delete(&self) -> anyhow::Result<Answer> {
        self.instance.delete(&format!("/v1/sandboxes/{}", self.id)).await
    }

    async fn post(&self, what: &str) -> anyhow::Result<Answer> {
        self.instance.act(&self.id, what).await
    }
}
