//! Pings a millisecond before the deadline, and while the container is being removed. A sandbox whose ping is acknowledged
//! lives; one that refuses it is past its deadline, and ending or gone.

use rand::RngExt;

use super::kit::*;
use crate::{
    domain::{ActivitySource, Moment, SandboxId},
    drill::bench::{Bench, REMOVAL},
    sandboxes::RequestError,
};

/// How many sandboxes are pinged at once.
const AT_ONCE: usize = 100;
const IDLE_TIMEOUT: Duration = Duration::from_millis(60);
const BEFORE: Duration = Duration::from_millis(1);
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// The results of pings.
#[derive(Default)]
struct Tally {
    acknowledged: usize,
    /// 409 `terminating`.
    terminating: usize,
    /// 410 `gone`.
    gone: usize,
    seen: Findings,
}

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let races = ground.rounds(10_000);
    let bench = Arc::new(Bench::begin().await?);
    ground.say(format!("{races} pings around their deadlines"));
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..AT_ONCE {
        let (bench, share) = (bench.clone(), races / AT_ONCE);
        racers.spawn(async move { race(&bench, &SandboxId::parse(&format!("race-{racer}"))?, share).await });
    }
    let mut all = Tally::default();
    while let Some(tally) = racers.join_next().await {
        let tally = tally??;
        all.acknowledged += tally.acknowledged;
        all.terminating += tally.terminating;
        all.gone += tally.gone;
        all.seen.add(tally.seen);
    }
    let Tally { acknowledged, terminating, gone, seen } = all;
    let run = acknowledged + terminating + gone;
    let mut findings = Findings::new(format!("{run} pings within milliseconds of the deadline"));
    findings.measured("acknowledged, and alive", acknowledged.to_string());
    findings.measured("refused with 409 terminating", terminating.to_string());
    findings.measured("refused with 410 gone", gone.to_string());
    // If all pings end the same way, none was near its deadline.
    findings.expect(acknowledged > 0 && terminating + gone > 0, || "all pings came out the same way".to_owned());
    let bench = Arc::into_inner(bench).ok_or_else(|| anyhow::anyhow!("a racer is left"))?;
    findings.add(seen);
    bench.end(&mut findings).await;
    Ok(findings)
}

/// Pings a sandbox around its deadlines, and creates it anew when a ping comes too late.
async fn race(bench: &Bench, id: &SandboxId, races: usize) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut promised = begin(bench, id).await?;
    for _ in 0..races {
        bench.wait_until(aim(promised)).await;
        match bench.supervisor.touch(id, ActivitySource::Ping).await {
            Ok(sandbox) => {
                tally.acknowledged += 1;
                let renewed = sandbox.idle_deadline().unwrap_or(Moment::DISTANT_PAST);
                if renewed <= promised {
                    tally.seen.wrong(format!("an acknowledged ping has not moved the deadline of {id}"));
                }
                promised = renewed;
            }
            Err(refusal) => {
                // A deadline that is still ahead now was ahead when the refusal was decided.
                if bench.now() < promised {
                    tally.seen.wrong(format!("a ping for {id} was refused before its time: {refusal}"));
                }
                match refusal {
                    RequestError::Terminating { .. } => tally.terminating += 1,
                    RequestError::Gone(_) => tally.gone += 1,
                    other => tally.seen.wrong(format!("a ping for {id} was answered with: {other}")),
                }
                bench.judge(id, promised, GONE_WITHIN, &mut tally.seen).await?;
                promised = begin(bench, id).await?;
            }
        }
    }
    bench.judge(id, promised, GONE_WITHIN, &mut tally.seen).await?;
    Ok(tally)
}

async fn begin(bench: &Bench, id: &SandboxId) -> anyhow::Result<Moment> {
    let sandbox = bench.create(id, IDLE_TIMEOUT).await?;
    sandbox.idle_deadline().ok_or_else(|| anyhow::anyhow!("{id} has no deadline"))
}

/// A millisecond before the deadline, or, half of the time, up to twice the time of a removal after it.
fn aim(deadline: Moment) -> Moment {
    let mut random = rand::rng();
    if random.random_bool(0.5) {
        deadline.minus(BEFORE)
    } else {
        deadline.plus(Duration::from_micros(random.random_range(0..2 * REMOVAL.as_micros() as u64)))
    }
}
