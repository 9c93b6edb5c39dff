//! Planted sandboxes: complete records of running sandboxes, as Sandglass writes them.

use std::time::Duration;

use sandglass::{
    clock::Clock,
    domain::{
        Details, EpochSeconds, Moment, OnTimeout, Rules, Sandbox, SandboxId, record,
        sandbox::{Restored, Revived, RuleClock},
    },
    ports::store::Write,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How much activity the planted records may lack; a restart adds it to each deadline.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The sandboxes to plant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Crop {
    /// How many.
    pub(crate) count: usize,
    /// Seconds from now to the first idle deadline.
    pub(crate) first: f64,
    /// Seconds from the first to the last.
    pub(crate) spread: f64,
}

impl Crop {
    /// This many, none of which falls due within the run.
    pub(crate) fn quiet(count: usize) -> Self {
        Self { count, first: 6000.0, spread: 600.0 }
    }
}

/// The id of the sandbox with this number.
pub(crate) fn id(number: usize) -> SandboxId {
    SandboxId::parse(&id_text(number)).expect("a valid id")
}

/// The id as text, as long as the ids that Sandglass makes.
pub(crate) fn id_text(number: usize) -> String {
    format!("i{number:019}")
}

/// Makes the records of a crop.
#[derive(Clone)]
pub(crate) struct Planter {
    clock: Clock,
    crop: Crop,
    began: Moment,
}

/// The idle timeout of planted sandboxes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(7200);

impl Planter {
    pub(crate) fn new(crop: Crop) -> Self {
        let clock = Clock::system();
        let began = clock.now().moment;
        Self { clock, crop, began }
    }

    pub(crate) fn count(&self) -> usize {
        self.crop.count
    }

    /// When the idle rule ends the sandbox with this number, according to its record.
    pub(crate) fn deadline(&self, number: usize) -> EpochSeconds {
        self.clock.now().wall_at(self.last_activity(number).plus(IDLE_TIMEOUT))
    }

    fn last_activity(&self, number: usize) -> Moment {
        let share = number as f64 / self.crop.count.max(1) as f64;
        let due = Duration::from_secs_f64(self.crop.first + self.crop.spread * share);
        // A restart adds the slack.
        self.began.plus(due).minus(IDLE_TIMEOUT + FLUSH_INTERVAL)
    }

    /// The sandbox with this number.
    pub(crate) fn sandbox(&self, number: usize) -> Sandbox {
        let now = self.clock.now();
        let last_activity = self.last_activity(number);
        let active_timeout = Duration::from_secs(1800);
        let rules = Rules::new(active_timeout, OnTimeout::Deactivate).with(RuleClock::Idle, IDLE_TIMEOUT);
        let restored = Restored {
            phase: Revived::Running,
            last_activity,
            expires_at: now.moment.plus(active_timeout),
            idle_slack: Duration::ZERO,
            not_before: Moment::DISTANT_PAST,
        };
        let created_at = now.wall_at(last_activity) - 60.0;
        let port = format!("127.0.0.1:{}", 20_000 + number % 40_000);
        let raw = |text: String| RawValue::from_string(text).expect("valid JSON");
        let details = Details {
            template: Some("base".into()),
            image: Some("busybox:stable".into()),
            container_id: Some(format!("{number:064x}").into()),
            base_url: Some(format!("http://{port}").into()),
            ports: [("80", port.into())].into_iter().collect(),
            started_at: Some(created_at + 0.5),
            metadata: [("task_id", raw(number.to_string()))].into_iter().collect(),
            user_id: Some(raw(number.to_string())),
            user_name: Some(format!("user-{number}").into()),
            ..Details::new(id(number), format!("sandglass-{}", id(number)), created_at, rules)
        };
        Sandbox::restore(details, restored, now).0
    }

    /// The bytes of the texts of a record, without the overhead of allocators and maps.
    pub(crate) fn texts(&self, number: usize) -> usize {
        let Sandbox { details, .. } = self.sandbox(number);
        let options = [&details.template, &details.image, &details.container_id, &details.base_url, &details.user_name];
        let texts = options.into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let ports = details.ports.iter().map(|(name, port)| name.len() + port.len()).sum::<usize>();
        let metadata = details.metadata.iter().map(|(name, raw)| name.len() + raw.get().len()).sum::<usize>();
        let user = details.user_id.as_ref().map_or(0, |user| user.get().len());
        details.id.as_str().len() + details.container_name.len() + texts + ports + metadata + user
    }

    /// The record of the sandbox with this number, and the active set's score.
    pub(crate) fn record(&self, number: usize) -> (Vec<u8>, EpochSeconds) {
        let (sandbox, now) = (self.sandbox(number), self.clock.now());
        let last_activity = sandbox.last_activity();
        (record::encode(&sandbox, last_activity, FLUSH_INTERVAL, &now), now.wall_at(last_activity))
    }

    /// The writes that plant all of them, in batches.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Vec<Write>> {
        (0..self.crop.count).step_by(5000).map(|from| {
            let numbers = from..(from + 5000).min(self.crop.count);
            let put = |number| {
                let (record, last_activity) = self.record(number);
                Write::Put { id: id(number), record, last_activity }
            };
            numbers.map(put).collect()
        })
    }
}
