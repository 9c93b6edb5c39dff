//! The troubles of a history: outages of the store, failures and slowness of the engine, and changes of containers by
//! hand.

use std::time::Duration;

use sandglass::{
    ports::{runtime::RuntimeError, store::StoreError},
    runtime::memory::{Point, When},
    store::memory,
};

use super::{bench::id, random::Random, stage::Stage};

const ENGINE: [Point; 11] = [
    Point::Pull,
    Point::Create,
    Point::Start,
    Point::Ready,
    Point::Inspect,
    Point::Pause,
    Point::Resume,
    Point::Stop,
    Point::Remove,
    Point::List,
    Point::Events,
];

/// Causes one trouble after the other.
pub(crate) async fn reign(stage: &Stage, random: &mut Random, names: &[&str]) {
    loop {
        tokio::time::sleep(random.millis(100, 12_000)).await;
        heal(stage);
        match random.below(10) {
            0..=3 => store_fault(stage, random),
            4..=7 => engine_fault(stage, random),
            8 => harm(stage, random, names),
            _ => {}
        }
    }
}

/// Ends all troubles.
pub(crate) fn heal(stage: &Stage) {
    let now = stage.clock.now();
    stage.store.heal_all();
    stage.engine.heal_all();
    stage.engine.set_latency(Duration::ZERO);
    stage.model().store_recovers(now);
}

fn store_fault(stage: &Stage, random: &mut Random) {
    let lost = || StoreError::Unavailable("on purpose".into());
    let what = match random.below(5) {
        0 | 1 => {
            stage.store.go_down();
            "the store is down".to_owned()
        }
        2 => {
            let times = 1 + random.below(4) as usize;
            stage.store.fail_next_after_effect(memory::Point::Commit, times, lost());
            format!("the answers of the next {times} commits are lost")
        }
        3 => {
            stage.store.hang(memory::Point::Commit);
            "commits hang".to_owned()
        }
        _ => {
            let delay = random.millis(1, 900);
            stage.store.delay(memory::Point::Commit, delay);
            format!("commits take {delay:?}")
        }
    };
    let now = stage.clock.now();
    let mut model = stage.model();
    model.store_falls_ill();
    model.tell(now, &what);
}

fn engine_fault(stage: &Stage, random: &mut Random) {
    let point = random.pick(&ENGINE);
    let when = random.pick(&[When::Before, When::After]);
    let error = match random.below(2) {
        0 => RuntimeError::Unreachable("on purpose".into()),
        _ => RuntimeError::Failed("on purpose".into()),
    };
    let what = match random.below(4) {
        0 => {
            stage.engine.fail_always(point, when, error);
            format!("{point:?} fails, {when:?}")
        }
        1 => {
            let times = 1 + random.below(4) as usize;
            stage.engine.fail_next(point, when, times, error);
            format!("{point:?} fails, {when:?}, {times} times")
        }
        2 => {
            stage.engine.hang(point, when);
            format!("{point:?} hangs, {when:?}")
        }
        _ => {
            let latency = random.millis(1, 1500);
            stage.engine.set_latency(latency);
            format!("the engine takes {latency:?}")
        }
    };
    let now = stage.clock.now();
    stage.model().tell(now, &what);
}

/// Changes a container behind the supervisor's back.
pub(crate) fn harm(stage: &Stage, random: &mut Random, names: &[&str]) {
    let name = random.pick(names);
    let (now, container) = (stage.clock.now(), id(name));
    let what = random.below(3);
    if stage.engine.state_of(&container).is_none() {
        return;
    }
    let mut model = stage.model();
    if let Some(life) = model.life(name) {
        life.harmed = true;
    }
    model.tell(now, &format!("the container of {name} ends by itself ({what})"));
    drop(model);
    match what {
        0 => stage.engine.exit(&container, 3),
        1 => stage.engine.exhaust_memory(&container),
        _ => stage.engine.vanish(&container),
    };
}
