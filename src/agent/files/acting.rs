//! Works as a user: in a thread that has the user's identity in every question that the file system asks.
//!
//! On Linux each thread has credentials of its own. A thread that works for a user other than the agent's gets that user's
//! supplementary groups, file-system group and file-system user, and, unless it works for root, gives up every capability.
//! The kernel then checks its calls as it checks the user's own, and what it makes belongs to the user. The thread never
//! returns to what it was: it ends with the call, so nothing can be left behind by mistake.
//!
//! The file-system user (`setfsuid(2)`) is used and not the real one because the file system asks for nothing else, while a
//! real user id would let the user's own processes send signals to the thread, and with it end the agent.
//!
//! The raw system calls are needed for this: the C library's own `setgroups` changes all threads at once.

use std::thread;

use nix::unistd::{geteuid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups};
use tokio::{sync::oneshot, task};

use crate::{
    connect::{Code, Error},
    users::User,
};

/// Does blocking work as `user`, off the reactor's thread.
///
/// # Errors
///
/// Those of the work; `permission_denied` when the agent may not work as that user; `resource_exhausted` without a thread.
pub(crate) async fn run<T, E>(user: &User, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    if user.is_agents() {
        return task::spawn_blocking(work).await.map_err(|_| lost())?;
    }
    run_alone(user, work).await
}

/// Does blocking work as `user` in a thread of its own, and not in one of the few that all calls share: for work that waits
/// for its client.
///
/// # Errors
///
/// Those of [`run`].
pub(super) async fn run_alone<T, E>(user: &User, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    start(user, move |acting| {
        // The receiver is gone only when the client is.
        _ = answer.send(acting.map_err(E::from).and_then(|()| work()));
    })?;
    answered.await.map_err(|_| lost())?
}

fn lost() -> Error {
    Error::new(Code::Internal, "the thread that worked on this call has died")
}

/// Starts a thread that acts as `user` for as long as `work` takes. The work is told whether that is so.
///
/// # Errors
///
/// `resource_exhausted` without a thread.
pub(super) fn start(user: &User, work: impl FnOnce(Result<(), Error>) + Send + 'static) -> Result<(), Error> {
    let identity = (!user.is_agents()).then(|| user.clone());
    let started = thread::Builder::new()
        .name(String::from("files"))
        .spawn(move || work(identity.as_ref().map_or(Ok(()), become_user)));
    started.map(drop).map_err(|error| Error::io("starting a thread for this call", &error))
}

/// Makes the calling thread act as `user` for the rest of its life.
fn become_user(user: &User) -> Result<(), Error> {
    let refused = |missing: &str| {
        let name = &user.name;
        Error::new(Code::PermissionDenied, format!("the agent cannot act as user {name:?}: {missing}"))
    };
    if !geteuid().is_root() {
        return Err(refused("it does not run as root"));
    }
    let groups: Vec<_> = user.groups.iter().map(|group| rustix::process::Gid::from_raw(group.as_raw())).collect();
    set_thread_groups(&groups).map_err(|_| refused("the container has no capability CAP_SETGID"))?;
    // Neither call reports failure; a second call tells what is in force.
    setfsgid(user.gid);
    if setfsgid(user.gid) != user.gid {
        return Err(refused("the container has no capability CAP_SETGID, or no such group in its user namespace"));
    }
    setfsuid(user.uid);
    if setfsuid(user.uid) != user.uid {
        return Err(refused("the container has no capability CAP_SETUID, or no such user in its user namespace"));
    }
    if !user.uid.is_root() {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .map_err(|error| Error::io("giving up capabilities", &error.into()))?;
    }
    Ok(())
}
