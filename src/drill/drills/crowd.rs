//! Many sandboxes fall due in the same second, and a client creates one more meanwhile.

use super::kit::*;

const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the last removal may have to wait for the others.
const WITHIN: Duration = Duration::from_secs(180);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let count = ground.rounds(100);
    let instance = ground.serve(&[]).await?;
    let ledger = Ledger::default();
    let alone = create(&ground, &instance, &ledger, "alone").await?;
    ground.say(format!("creating {count} sandboxes"));
    create_crowd(&instance, &ledger, &ids(&ground, "crowd", count), IDLE_TIMEOUT).await?;
    ground.say(format!("waiting {IDLE_TIMEOUT:?} until all are due in the same moment"));
    sleep(IDLE_TIMEOUT + Duration::from_millis(200)).await;
    let crowded = create(&ground, &instance, &ledger, "crowded").await?;
    let mut findings = Findings::new(format!("{count} containers due in the same moment, one created in the middle"));
    findings.measured("create, alone", format!("{:.2} s", alone.as_secs_f64()));
    findings.measured("create, among them", format!("{:.2} s", crowded.as_secs_f64()));
    ground.settle(instance, &ledger, WITHIN, &mut findings).await?;
    Ok(findings)
}

/// Creates a sandbox, and returns how long that took.
async fn create(ground: &Ground, instance: &Instance, ledger: &Ledger, name: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    ledger.begin(instance, &ground.id(name), IDLE_TIMEOUT).await?;
    Ok(began.elapsed())
}
