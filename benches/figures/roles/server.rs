//! Sandglass itself, as `sandglass serve` runs it, over an engine that does everything at once.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use sandglass::{
    actor::Entry,
    app::{Adapters, App},
    clock,
    config::{Overrides, Settings},
    logging,
    ports::store::Store,
    store::{EmbeddedStore, RedisStore, embedded, redis},
    supervisor::Supervisor,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{questions, say};
use crate::{
    engine,
    planted::{Crop, Planter, id},
    store::{Counting, Counts, Nothing},
};

/// The place of the records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    Nowhere,
    File(PathBuf),
    Redis(String),
}

/// The server's setup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) place: Place,
    pub(crate) crop: Crop,
    /// Whether to plant the crop first; otherwise it exists already, or is not stored.
    pub(crate) plant: bool,
}

/// Its line when it is ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) port: u16,
    pub(crate) sandboxes: usize,
    /// The time from the settings until it is ready, without planting.
    pub(crate) seconds: f64,
}

/// The questions that it answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// What was written to the store since the last question.
    Written,
    /// How punctually the planted sandboxes ended; answered after all have ended.
    Punctuality,
}

/// What was written to the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenAnswer {
    pub(crate) commits: usize,
    pub(crate) records: usize,
    pub(crate) most: usize,
}

/// How late sandboxes ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PunctualityAnswer {
    /// In milliseconds, the shortest first.
    pub(crate) lateness: Vec<f32>,
    /// How many ended before their deadlines.
    pub(crate) early: usize,
}

/// The lease's and the file's name.
pub(crate) const PREFIX: &str = "figures";

/// The store of a place, without planted records.
pub(crate) fn open(place: &Place) -> Option<Arc<dyn Store>> {
    let instance = "figures".to_owned();
    Some(match place {
        Place::Nowhere => return None,
        Place::File(path) => {
            let now = Arc::new(clock::wall_seconds);
            let settings = embedded::Settings { path: path.clone(), instance, now };
            Arc::new(EmbeddedStore::open(settings).expect("the file can be used"))
        }
        Place::Redis(url) => Arc::new(
            RedisStore::connect(redis::Settings {
                tls: redis::TlsFiles::default(),
                url: url.clone(),
                prefix: PREFIX.to_owned(),
                lease_ttl: std::time::Duration::from_secs(10),
                call_timeout: std::time::Duration::from_secs(30),
                instance,
            })
            .expect("the URL is understood"),
        ),
    })
}

/// Puts a crop into a store.
pub(crate) async fn plant(store: &dyn Store, planter: &Planter) {
    store.acquire().await.expect("nobody else holds it");
    for batch in planter.batches() {
        store.commit(&batch).await.expect("the store takes it");
    }
    store.release().await.expect("the store answers");
}

pub(super) async fn serve(Setup { place, crop, plant: must_plant }: Setup) {
    let mut flags = Overrides::default();
    for (key, value) in [("http.bind", "127.0.0.1:0"), ("lifecycle.restart_grace", "0")] {
        flags.set(key, value, "the figures");
    }
    let mut settings = Settings::load(None, Vec::new(), flags).expect("the settings are valid");
    logging::init(&settings.log).expect("nobody else logs");
    let planter = Planter::new(crop);
    let store = match open(&place) {
        Some(store) => {
            if must_plant {
                plant(&*store, &planter).await;
            }
            store
        }
        None => Arc::new(Nothing(planter.clone())),
    };
    let began = Instant::now();
    let counts = Arc::new(Counts::default());
    let store = Arc::new(Counting { inner: store, counts: counts.clone() });
    let listener = App::listen(&mut settings).expect("a free port");
    let adapters = Adapters { store, runtime: Arc::new(engine::Instant) };
    let app = App::new(settings, adapters, listener).await.expect("it starts");
    let sandboxes = app.restoration().sandboxes;
    say(&Ready { port: app.address().port(), sandboxes, seconds: began.elapsed().as_secs_f64() });

    let mut questions = questions();
    while let Some(question) = questions.recv().await {
        match super::read(&question) {
            Question::Written => say(&WrittenAnswer {
                commits: counts.commits.swap(0, Ordering::Relaxed),
                records: counts.records.swap(0, Ordering::Relaxed),
                most: counts.most.swap(0, Ordering::Relaxed),
            }),
            Question::Punctuality => say(&punctuality(app.supervisor(), &planter).await),
        }
    }
    app.shutdown().await;
}

/// Waits until all have ended, and compares their ends with their records.
async fn punctuality(supervisor: &Supervisor, planter: &Planter) -> PunctualityAnswer {
    let world = supervisor.shared();
    while world.registry.live_count() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let now = world.clock.now();
    let mut answer = PunctualityAnswer { lateness: Vec::with_capacity(planter.count()), early: 0 };
    for number in 0..planter.count() {
        let Some(Entry::Ended(tombstone)) = world.registry.get(&id(number), now.moment) else { continue };
        let end = tombstone.sandbox.end().expect("it has ended");
        // Two clocks that were read at different times differ by microseconds.
        answer.early += usize::from(now.wall_at(end.decided_at) + 1e-4 < planter.deadline(number));
        if let Some(deadline) = end.deadline {
            // The lateness of an early end is negative.
            let nanos = end.decided_at.as_nanos() - deadline.as_nanos();
            answer.early += usize::from(nanos < 0);
            answer.lateness.push(nanos as f32 / 1e6);
        }
    }
    answer.lateness.sort_unstable_by(f32::total_cmp);
    answer
}
