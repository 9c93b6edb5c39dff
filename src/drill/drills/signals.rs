//! SIGTERM, twice SIGTERM and Ctrl-C in the middle of creates, commands and deletes: the instance ends cleanly and in time, and loses
//! nothing that was under way.

use nix::sys::signal::Signal;
use rand::RngExt;

use super::kit::*;

const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
const READY_FOR: Duration = Duration::from_millis(1500);
/// `http.stop_grace` of the instances.
const STOP_GRACE: &str = "5";
/// The graces for requests and for the last writes (5 s each), and room for a busy machine.
const ENDED_WITHIN: Duration = Duration::from_secs(16);
/// After a second signal.
const AT_ONCE: Duration = Duration::from_secs(5);

pub(super) async fn run(ground: Arc<Ground>) -> anyhow::Result<Findings> {
    let rounds = ground.rounds(15).max(3);
    let clients = Clients::new(&ground, IDLE_TIMEOUT);
    let relay = Relay::to_docker(&ground.options.docker_host).await?;
    let host = relay.docker_host();
    let settings = [("http.stop_grace", STOP_GRACE), ("docker.host", &host)];
    let mut findings = Findings::default();
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        ground.say(format!("signal {} of {rounds}", round + 1));
        let mut instance = ground.serve(&settings).await?;
        clients.compare(&instance, &mut findings).await?;
        clients.ping_all(&instance).await?;
        let twice = round % 3 == 2;
        let signal = if round % 3 == 1 { Signal::SIGINT } else { Signal::SIGTERM };
        let stop = async {
            let part = rand::rng().random_range(0.2..1.0);
            sleep(READY_FOR.mul_f64(part)).await;
            if twice {
                // Creates that cannot end keep it waiting for the whole grace.
                relay.set(Fault::Hang);
                sleep(Duration::from_millis(300)).await;
            }
            instance.signal(signal)?;
            if twice {
                sleep(Duration::from_millis(200)).await;
                instance.signal(signal)?;
            }
            anyhow::Ok(Instant::now())
        };
        // The clients work until they get no answer.
        let (began, broken) = {
            let mut work = std::pin::pin!(clients.work(&instance));
            let mut stop = std::pin::pin!(stop);
            tokio::select! {
                broken = &mut work => (stop.await?, broken),
                began = &mut stop => {
                    let broken = tokio::time::timeout(ENDED_WITHIN, work).await.unwrap_or_default();
                    (began?, broken)
                }
            }
        };
        findings.wrong.extend(broken);
        let within = if twice { AT_ONCE } else { ENDED_WITHIN };
        let status = instance.ended(within.saturating_sub(began.elapsed()).max(Duration::from_millis(100))).await?;
        longest = longest.max(began.elapsed());
        let log = instance.log()?;
        findings.expect(status.success(), || format!("after {signal} an instance ended with {status}:\n{log}"));
        relay.set(Fault::None);
    }
    findings.done = format!("{rounds} times SIGTERM, SIGINT, or SIGTERM twice; {}", clients.done());
    findings.measured("longest stop", format!("{:.2} s", longest.as_secs_f64()));
    clients.settle(&settings, &mut findings).await?;
    Ok(findings)
}
