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
mod work;

use crate::{
    nginx,
    support::{bench, docker, program},
};
