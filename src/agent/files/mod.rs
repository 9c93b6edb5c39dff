//! Files: looks at them, moves them in and out, packs and unpacks directories, and watches for changes.
//!
//! Paths cannot leave the container. The agent lives in the container's mount namespace, and so does every path that it
//! opens: absolute names, `..` and symbolic links lead to the container's own files, and to what is mounted into it on
//! purpose. No check of names could add to that. What a caller may read and write there is decided by the kernel, because the
//! work is done as the user whom the caller names ([`acting`]).
//!
//! Nothing is held in memory as a whole. The reactor has one thread, so everything that can block happens in others, connected
//! to the reactor by short queues: a client that reads or sends slowly slows the work down, and nothing piles up.
//!
//! | module | what it does |
//! |---|---|
//! | `acting` | works as a user |
//! | `calls`, `tree` | the calls of `filesystem.Filesystem`, and the work behind them |
//! | `entry`, `mounts`, `names`, `times`, `xattrs` | what is told about a file |
//! | `paths` | reads the paths that clients write |
//! | `http`, `query` | `/files` and `/files/archive` |
//! | `transfer` | connects the bodies of requests and answers with threads |
//! | `read`, `write`, `multipart` | single files |
//! | `pack`, `unpack`, `headers`, `beneath` | archives |
//! | `watch` | watches directories |

mod acting;
mod beneath;
mod calls;
mod entry;
mod failure;
mod headers;
mod http;
mod mounts;
mod multipart;
mod names;
mod pack;
mod paths;
mod query;
mod read;
mod times;
mod transfer;
mod tree;
mod unpack;
mod watch;
mod write;
mod xattrs;

pub(crate) use self::{acting::run as run_as, times::rfc3339};

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::body::{Request, Response};

/// How many calls work at once. More of them wait: each has a thread, and none of them waits for its client.
const CALLS_AT_ONCE: usize = 64;

/// How many files and archives are transferred at once. More of them are refused: each has a thread, for as long as its client
/// takes.
const TRANSFERS_AT_ONCE: usize = 256;

/// What the agent keeps about files between calls.
#[derive(Debug)]
pub(crate) struct Files {
    calls: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    watchers: Arc<watch::Watchers>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            transfers: Arc::new(Semaphore::new(TRANSFERS_AT_ONCE)),
            watchers: Arc::default(),
        }
    }
}

impl Files {
    /// Answers the call of `filesystem.Filesystem` that has this name; `None` if there is no such call.
    pub(crate) async fn call(&self, name: &str, request: Request) -> Option<Response> {
        match name {
            "CreateWatcher" | "GetWatcherEvents" | "RemoveWatcher" | "WatchDir" => {
                watch::answer(&self.watchers, name, request).await
            }
            _ => calls::answer(self, name, request).await,
        }
    }

    /// Answers a request for `/files` or a path below it.
    pub(crate) async fn transfer(&self, request: Request) -> Response {
        http::answer(self, request).await
    }
}
