//! The drills, each in a file of its own.

mod crowd;
mod damage;
mod disk;
mod docker;
mod engine;
mod flood;
mod hands;
mod incarnations;
mod kills;
mod kit;
mod neighbours;
mod races;
mod redis;
mod signals;
mod stubborn;
mod walls;

use futures_util::FutureExt;

use super::{options::Needs, runner::Drill};

/// Declares drills by their names (those of their modules), needs and descriptions.
macro_rules! drills {
    ($($name:ident needs $needs:ident: $what:literal,)+) => {
        /// All drills, in the order in which they run.
        pub const DRILLS: &[Drill] = &[$(Drill {
            name: stringify!($name),
            what: $what,
            needs: Needs::$needs,
            run: |ground| $name::run(ground).boxed(),
        }),+];
    };
}

drills! {
    races needs Nothing: "10,000 pings within milliseconds of the deadline",
    flood needs Nothing: "10,000 sandboxes in memory due in the same second",
    crowd needs Docker: "100 containers due in the same second, with a create in the middle",
    kills needs Docker: "kill -9 at 200 random moments of create, ping, command, pause, delete and start",
    signals needs Docker: "SIGTERM, twice SIGTERM, and Ctrl-C in the middle of creates, commands and deletes",
    incarnations needs Docker: "creates and resumes against the end of the one before, under the same id",
    hands needs Docker: "containers removed, stopped, paused, killed by hand, or out of memory",
    stubborn needs Docker: "stop and remove answer 409 or 500, or hang for a minute",
    docker needs Docker: "Docker missing at start, restarted, and gone for a minute while 50 fall due",
    engine needs Docker: "an engine of its own stopped, killed, and restarted with Sandglass, under running and paused ones",
    redis needs Redis: "Redis missing at start, gone for a minute under pings, emptied, and slow",
    damage needs Redis: "records, members and keys in Redis damaged in every way",
    neighbours needs Docker: "containers of others under our names, legacy records, two prefixes on one Docker",
    walls needs Docker: "every way out of a sandbox: neighbours, host, metadata, IPv6, raw sockets, 100 starts at once",
    disk needs Docker: "the disk under the embedded store is full",
}
