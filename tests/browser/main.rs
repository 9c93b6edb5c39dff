//! The pages in a real browser: against the real binary on real Docker where it is about sandboxes, and against a whole
//! Sandglass over memory where it is about the page. Nothing may be logged to the console as an error, in any test.

mod connection;
mod documentation;
mod driver;
mod key;
mod life;
mod looks;
mod memory;
mod page;
mod proxy;
mod table;
mod troubles;

#[path = "../support/bench.rs"]
#[allow(dead_code, unreachable_pub)]
mod bench;
#[path = "../support/docker.rs"]
mod docker;
#[path = "../support/nginx.rs"]
#[allow(unreachable_pub)]
mod nginx;
#[path = "../support/program.rs"]
#[allow(dead_code, unreachable_pub)]
mod program;
