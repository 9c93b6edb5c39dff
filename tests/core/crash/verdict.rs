//! The state that is required when all troubles are over and some time has passed.

use std::{collections::BTreeSet, time::Duration};

use sandglass::{
    domain::{Status, sandbox::Container},
    sandboxes::RequestError,
    supervisor::Supervisor,
};

use super::{
    bench::id,
    client::{Ask, Client, deadlines},
    stage::Stage,
};

/// Longer than the graces after a restart, two reconciles and the retries of a fresh supervisor.
/// Not a whole number of seconds, so that no deadline falls on the comparison.
pub(crate) const SETTLED: Duration = Duration::from_micros(40_777_300);

/// Compares the supervisor, the store and the engine with what was promised, and with each other.
pub(crate) async fn verify(stage: &Stage, supervisor: &Supervisor) {
    let (mut alive, now) = (BTreeSet::new(), stage.clock.now());
    let ids = stage.model().ids();
    for name in &ids {
        Client { stage, supervisor, name }.ask(Ask::Get, Duration::from_secs(1)).await;
        let sandbox = match supervisor.get(&id(name)).await {
            Ok(sandbox) => sandbox,
            // The client has judged whether this is allowed.
            Err(RequestError::NotFound(_)) => continue,
            Err(rejection) => {
                stage.model().violated(now, &format!("{name}: cannot be read: {rejection}"));
                continue;
            }
        };
        let (deadline, _) = deadlines(&sandbox, &supervisor.now());
        stage.model().judge(name, &sandbox, deadline, now);
        let (status, found) = (sandbox.status(), stage.engine.state_of(&id(name)));
        let agree = match status {
            Status::Running => found == Some(Container::Running),
            Status::Paused => found == Some(Container::Paused),
            Status::Terminated | Status::Failed | Status::Succeeded => sandbox.is_gone() && found.is_none(),
            Status::Pending | Status::Terminating => false,
        };
        if !agree {
            stage.model().violated(now, &format!("{name}: it is {status}, and its container is {found:?}"));
        }
        if sandbox.is_alive() {
            alive.insert(name.clone().into_bytes());
        } else if !stage.store.tombstone_members().iter().any(|(member, _)| *member == name.as_bytes()) {
            stage.model().violated(now, &format!("{name}: it has ended, and the store has no tombstone"));
        }
    }
    let active: BTreeSet<_> = stage.store.active_members().into_iter().map(|(member, _)| member).collect();
    if active != alive {
        let shown = |set: &BTreeSet<Vec<u8>>| -> Vec<String> {
            set.iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect()
        };
        let (active, alive) = (shown(&active), shown(&alive));
        stage.model().violated(now, &format!("the active set has {active:?}, and alive are {alive:?}"));
    }
    let containers = stage.engine.len();
    if containers != alive.len() {
        stage.model().violated(now, &format!("{containers} containers, and {} sandboxes are alive", alive.len()));
    }
}
