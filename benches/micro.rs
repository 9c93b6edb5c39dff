//! The small parts of pings and restarts, one by one: `cargo bench --bench micro -- [NAME]`.

#[path = "figures/engine.rs"]
mod engine;
#[path = "figures/planted.rs"]
#[allow(dead_code, reason = "the figures use the rest of it")]
mod planted;
#[path = "figures/store.rs"]
#[allow(dead_code, reason = "the figures use the rest of it")]
mod store;

use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use criterion::{BatchSize, Criterion};
use planted::{Crop, Planter, id};
use sandglass::{
    actor::{Arbiters, Registry, run_system},
    app::{Adapters, assemble},
    clock::Clock,
    config::{Overrides, Settings},
    domain::{
        ActivitySource, Moment, OnTimeout, Rules, SandboxId,
        record::{self, Record},
        restore::{Fallbacks, restore},
        sandbox::Event,
    },
    journal::{ActivityCell, Journal},
    metrics::Metrics,
    tasks::Tasks,
};
use store::Nothing;
use tokio::{runtime::Handle, time::Instant};

const SANDBOXES: usize = 100_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    domain(&mut criterion);
    run_system(async {
        journal(&mut criterion).await;
        registry(&mut criterion).await;
    })
    .expect("a runtime");
    criterion.final_summary();
}

/// Pure code: a step of the lifecycle, and encoding and decoding a record.
fn domain(criterion: &mut Criterion) {
    let (planter, clock) = (Planter::new(Crop::quiet(SANDBOXES)), Clock::system());
    let sandbox = planter.sandbox(7);
    let (bytes, score) = planter.record(7);
    let now = clock.now();
    let rules = Rules::new(Duration::from_secs(1800), OnTimeout::Deactivate);
    let fallbacks =
        Fallbacks { rules, legacy_ttl: Duration::from_secs(86_400), idle_slack: None, not_before: now.moment };

    let mut life = sandbox.clone();
    criterion.bench_function("lifecycle: a ping's step", |bencher| {
        bencher.iter(|| life.apply(black_box(Event::Activity(ActivitySource::Ping)), now));
    });
    criterion.bench_function("lifecycle: the next action", |bencher| bencher.iter(|| black_box(&life).next_action()));
    criterion.bench_function("record: encode", |bencher| {
        bencher.iter(|| record::encode(black_box(&sandbox), now.moment, planted::FLUSH_INTERVAL, &now));
    });
    criterion.bench_function("record: decode", |bencher| bencher.iter(|| Record::parse(black_box(&bytes))));
    criterion.bench_function("record: decode and make a sandbox of it", |bencher| {
        let id = sandbox.id();
        bencher.iter(|| Record::parse(black_box(&bytes)).and_then(|it| restore(id, it, score, &fallbacks, now)));
    });
    criterion
        .bench_function("id: parse", |bencher| bencher.iter(|| SandboxId::parse(black_box(sandbox.id().as_str()))));
}

/// Pings that share a write, and the first ping, which waits for it.
async fn journal(criterion: &mut Criterion) {
    let clock = Clock::system();
    let planter = Planter::new(Crop::quiet(1000));
    // Nothing is flushed during the measurement.
    let flush_interval = Duration::from_secs(86_400);
    let store = Arc::new(Nothing(planter.clone()));
    let metrics = Arc::new(Metrics::new());
    let tasks = Tasks::new(Handle::current(), clock.clone(), metrics.clone());
    let journal = || Journal::start(store.clone(), flush_interval, clock.clone(), metrics.clone(), &tasks);
    let sandboxes: Vec<_> = (0..1000)
        .map(|number| (planter.sandbox(number), ActivityCell::new(Moment::default(), Moment::default())))
        .collect();
    let queued = journal();
    let (sandbox, cell) = &sandboxes[7];
    queued.touch(sandbox, cell);
    criterion.bench_function("journal: a ping of a sandbox that is queued", |bencher| {
        bencher.iter(|| {
            cell.store(black_box(Moment::from_nanos(7)));
            queued.generation()
        });
    });
    criterion.bench_function("journal: the first pings of 1,000 sandboxes", |bencher| {
        bencher.iter_batched(
            journal,
            |journal| {
                for (sandbox, cell) in &sandboxes {
                    journal.touch(sandbox, cell);
                }
                Ending(journal)
            },
            BatchSize::PerIteration,
        );
    });
}

/// Ends the journal's task when it is dropped, outside the measurement.
struct Ending(Journal);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lease_lost("nobody");
    }
}

/// Look-ups from one thread and from two at once.
async fn registry(criterion: &mut Criterion) {
    let settings = Settings::load(None, Vec::new(), Overrides::default()).expect("the defaults are valid");
    let store = Arc::new(Nothing(Planter::new(Crop::quiet(SANDBOXES))));
    let adapters = Adapters { store, runtime: Arc::new(engine::Instant) };
    let supervisor = assemble(settings, adapters, Arbiters::start(1));
    supervisor.begin().await.expect("nobody else holds it");
    let registry = &supervisor.shared().registry;
    for threads in [1, 2] {
        criterion.bench_function(&format!("registry: a look-up among {SANDBOXES}, {threads} at once"), |bencher| {
            bencher.iter_custom(|times| look_up(registry, threads, times));
        });
    }
    supervisor.shutdown(Duration::from_secs(5)).await;
}

/// Measures how long `threads` take to look up `times` ids each.
fn look_up(registry: &Registry, threads: usize, times: u64) -> Duration {
    let ids: Vec<_> = (0..4096).map(|number| id(number * 23 % SANDBOXES)).collect();
    let start = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                let (ids, start) = (&ids, &start);
                scope.spawn(move || {
                    start.wait();
                    for turn in 0..times {
                        let id = &ids[(turn as usize * 7 + thread * 1000) % ids.len()];
                        black_box(registry.with_live(id, |handle| handle.is_dead()));
                    }
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        for one in all {
            one.join().expect("it does not panic");
        }
        began.elapsed()
    })
}
