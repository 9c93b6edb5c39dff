//! `kill -9` in the middle of creates, pings, commands, pauses, deletes and starts. After each start, every deadline that a
//! client was told still holds, and a command that was acknowledged counts as use until its end.

use rand::RngExt;

use super::kit::*;

/// Longer than a round, in each of which all that lives is pinged.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long an instance lives at most after it was ready, or before.
const READY_FOR: Duration = Duration::from_millis(1000);
const STARTING_FOR: Duration = Duration::from_millis(150);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let rounds = ground.rounds(200);
    let clients = Clients::new(&ground, IDLE_TIMEOUT);
    let mut findings = Findings::default();
    let mut in_mid_start = 0;
    for round in 0..rounds {
        ground.say(format!("kill {} of {rounds}", round + 1));
        let mut instance = ground.spawn_on(ground.store(), &[])?;
        if rand::rng().random_bool(0.2) {
            sleep(random(STARTING_FOR)).await;
            in_mid_start += 1;
            instance.kill().await?;
            continue;
        }
        instance.wait_until_ready().await?;
        clients.compare(&instance, &mut findings).await?;
        clients.ping_all(&instance).await?;
        tokio::select! {
            broken = clients.work(&instance) => findings.wrong.extend(broken),
            () = sleep(random(READY_FOR)) => {}
        }
        instance.kill().await?;
    }
    findings.done = format!("{rounds} times kill -9, {in_mid_start} of them in mid-start; {}", clients.done());
    clients.settle(&[], &mut findings).await?;
    Ok(findings)
}

fn random(most: Duration) -> Duration {
    most.mul_f64(rand::rng().random::<f64>())
}
