//! Commands: started, watched, written to, signalled, and remembered for a while after they have ended.
//!
//! | module | what it does |
//! |---|---|
//! | `calls` | answers the calls of `process.Process` |
//! | `messages` | their JSON |
//! | `plan` | turns a request into what is to be started, or refuses it |
//! | `launch` | starts it, reads its output, and waits for its end |
//! | `reaper` | waits for children |
//! | `output`, `kept` | keep the newest output, and pass it on to readers |
//! | `table` | knows all processes |
//! | `end` | how a process has ended, in words |

mod calls;
mod end;
mod fd;
mod kept;
mod launch;
mod messages;
mod output;
mod plan;
mod reaper;
mod table;

pub(crate) use self::{calls::call, fd::Fd, plan::environment, reaper::Exit, table::Processes};
