//! Ten thousand sandboxes fall due in the same second, over an engine in memory that does not slow them down.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::kit::*;
use crate::{
    domain::{ActivitySource, Moment, SandboxId},
    drill::bench::Bench,
};

const AT_ONCE: usize = 256;
/// The last pings are spread over this time, and so are the deadlines.
const SECOND: Duration = Duration::from_secs(1);
const GONE_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let count = ground.rounds(10_000);
    // Longer than it takes to create them all on a slow machine.
    let idle_timeout = Duration::from_millis(8000 + count as u64);
    let bench = Bench::begin().await?;
    ground.say(format!("creating {count} sandboxes in memory"));
    let ids = (0..count).map(|number| SandboxId::parse(&format!("flood-{number}")));
    let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
    let created: Vec<_> = ids.iter().map(|id| bench.create(id, idle_timeout)).collect();
    stream::iter(created).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
    let first = bench.now();
    let mut promised: Vec<(&SandboxId, Moment)> = Vec::with_capacity(count);
    for (number, id) in ids.iter().enumerate() {
        if number % AT_ONCE == 0 {
            bench.wait_until(first.plus(SECOND.mul_f64(number as f64 / count as f64))).await;
        }
        let sandbox = bench.supervisor.touch(id, ActivitySource::Ping).await?;
        promised.push((id, sandbox.idle_deadline().unwrap_or(Moment::DISTANT_PAST)));
    }
    ground.say(format!("waiting {:.0} s until all are due", idle_timeout.as_secs_f64()));
    bench.wait_until(first.plus(idle_timeout + SECOND / 2)).await;
    let (began, among) = (Instant::now(), SandboxId::parse("among")?);
    let sandbox = bench.create(&among, SECOND).await?;
    let took = began.elapsed();
    promised.push((&among, sandbox.idle_deadline().unwrap_or(Moment::DISTANT_PAST)));
    let mut findings = Findings::new(format!("{count} sandboxes in memory due within a second"));
    findings.measured("create, among them", format!("{:.1} ms", took.as_secs_f64() * 1000.0));
    for (id, promised) in promised {
        bench.judge(id, promised, GONE_WITHIN, &mut findings).await?;
    }
    bench.end(&mut findings).await;
    Ok(findings)
}
