//! The loop that repeats something, and the loop that retries something.

use std::time::Duration;

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::domain::retry::Backoff;

/// For a store or an engine that nothing works without: it is asked again soon.
pub(crate) const RETRY: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(5) };

/// Runs `round` again and again until `stop` is cancelled, which also breaks off a round that is under way. `pause` comes
/// before the first round, and what a round returns before the next one; `wake` cuts a pause short.
pub(crate) async fn repeat<F>(
    stop: &CancellationToken,
    mut pause: Duration,
    wake: Option<&Notify>,
    mut round: impl FnMut() -> F,
) where
    F: Future<Output = Duration>,
{
    let rounds = async {
        loop {
            match wake {
                _ if pause.is_zero() => {}
                Some(wake) => _ = timeout(pause, wake.notified()).await,
                None => sleep(pause).await,
            }
            pause = round().await;
        }
    };
    // `None`: it was cancelled, which is the only way to end it.
    let _: Option<()> = stop.run_until_cancelled(rounds).await;
}

/// Makes attempts until one succeeds, and tells `failed` of each failure and of how many there were.
pub(crate) async fn retry<F, T, E>(
    backoff: Backoff,
    mut attempt: impl FnMut() -> F,
    mut failed: impl FnMut(E, u32),
) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let mut failures = 0_u32;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                failures = failures.saturating_add(1);
                failed(error, failures);
                sleep(backoff.jittered_wait(failures)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn rounds_come_after_their_pauses_or_when_woken_until_the_stop() {
        let (stop, wake, began) = (CancellationToken::new(), Notify::new(), Instant::now());
        let mut rounds = Vec::new();
        repeat(&stop, SECOND, Some(&wake), || {
            rounds.push(began.elapsed().as_secs());
            match rounds.len() {
                1 => {}
                2 => wake.notify_one(),
                _ => stop.cancel(),
            }
            ready(if rounds.len() == 1 { SECOND * 2 } else { SECOND * 60 })
        })
        .await;
        assert_eq!(rounds, [1, 3, 3]);

        let (stop, began) = (CancellationToken::new(), Instant::now());
        let round = repeat(&stop, Duration::ZERO, None, pending);
        tokio::join!(round, async {
            sleep(SECOND).await;
            stop.cancel();
        });
        assert_eq!(began.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_spaced_by_the_backoff_and_each_failure_is_told() {
        let (mut attempts, mut told, began) = (0, Vec::new(), Instant::now());
        let attempt = || {
            attempts += 1;
            ready(if attempts < 4 { Err(attempts) } else { Ok("done") })
        };
        assert_eq!(retry(RETRY, attempt, |error, failures| told.push((error, failures))).await, "done");
        assert_eq!(told, [(1, 1), (2, 2), (3, 3)]);
        let most: Duration = (1..4).map(|failures| RETRY.wait(failures, 1.0)).sum();
        assert!((most / 2..=most + SECOND / 100).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
