//! Every drill of `sandglass drill`, at its full pace, on real Docker and real Redis. Each is a promise under one kind of
//! fault; `src/drill/drills` says what a drill does and counts.

use std::{path::PathBuf, sync::Arc};

use sandglass::{
    actor::run_system,
    drill::{DRILLS, DrillOutcome, Ground, Options, Pace, run},
};

use crate::support::{docker::IMAGE, quiet::Noise, redis::RedisServer};

async fn holds(name: &str) {
    let (_noise, redis) = (Noise::begin(), RedisServer::start());
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let options = Options {
        program: PathBuf::from(env!("CARGO_BIN_EXE_sandglass")),
        image: IMAGE.to_owned(),
        docker_host: host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
        redis_url: Some(redis.url()),
        pace: Pace::Full,
    };
    let drill = DRILLS.iter().find(|drill| drill.name == name).expect("a drill of this name");
    let ground = Arc::new(Ground::new(options, Box::new(|_| {})).expect("a place for the drill"));
    let outcome = run(drill, ground).await;
    let DrillOutcome::Done(findings) = &outcome else { panic!("{name}: {outcome:?}") };
    assert!(findings.hold(), "{name}: {findings:#?}");
    eprintln!("{name}: {}; late by {} ms; {:?}", findings.done, findings.lateness.summary(), findings.measured);
}

macro_rules! drills {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                // Some drills have actors in this process.
                run_system(holds(stringify!($name))).expect("a runtime");
            }
        )*

        #[test]
        fn all_are_here() {
            let names: Vec<_> = DRILLS.iter().map(|drill| drill.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

drills! {
    races
    flood
    crowd
    kills
    signals
    incarnations
    hands
    stubborn
    docker
    engine
    redis
    damage
    neighbours
    walls
    disk
}
