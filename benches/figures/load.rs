//! The load: the generator's orders and results.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{child::Helper, machine};

/// The kind of requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// One ping of one sandbox.
    Ping,
    /// Pings of this many sandboxes in one request.
    Batch(usize),
    /// One ping of one sandbox, over a websocket.
    Websocket,
}

/// A load for some time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    /// The number of sandboxes that are pinged at random.
    pub(crate) sandboxes: usize,
    pub(crate) connections: usize,
    pub(crate) seconds: f64,
    /// Requests per second; `None` for as many as are answered.
    pub(crate) rate: Option<f64>,
}

/// The results of a load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Requests that were answered with 200.
    pub(crate) requests: usize,
    /// Requests that were answered otherwise.
    pub(crate) refused: usize,
    pub(crate) seconds: f64,
    /// Latencies in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// The results of a load, with the processor time of both processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) done: Done,
    /// The share of one core.
    pub(crate) server_share: f64,
    pub(crate) generator_share: f64,
}

/// The process that makes the load.
pub(crate) struct Generator(Helper);

impl Generator {
    pub(crate) fn start() -> Self {
        Self(Helper::start("generator", &()))
    }

    /// Puts a load on a server.
    pub(crate) async fn put(&mut self, load: Load, server: u32) -> Measured {
        let time = |pid| machine::processor_time(pid);
        let before = (time(server), time(self.0.pid()));
        let done: Done = self.0.ask(&load).await;
        assert!(done.requests > 0 && done.refused == 0, "not everything was answered with 200: {done:?}");
        let share = |now: Duration, before: Duration| (now.saturating_sub(before)).as_secs_f64() / done.seconds;
        Measured {
            done,
            server_share: share(time(server), before.0),
            generator_share: share(time(self.0.pid()), before.1),
        }
    }
}

/// The median.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The quantile of sorted numbers.
pub(crate) fn quantile(sorted: &[f32], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |number| f64::from(*number))
}
