//! The answer in one sentence, for people.

use crate::domain::{
    EndReason, Now, Sandbox, Status,
    sandbox::{Action, End, Hold, Rule, RuleClock},
    time::for_people,
};

/// Why it is alive and until when, or why it ended.
pub(super) fn because(sandbox: &Sandbox, now: &Now) -> String {
    match sandbox.end() {
        Some(end) if sandbox.is_gone() => {
            format!("it ended {} ago: {}", for_people(now.moment.since(end.decided_at)), why_it_ends(end, sandbox))
        }
        Some(end) => {
            let retries = match sandbox.failures() {
                0 => String::new(),
                failed => format!("; its removal has failed {failed} times, and is tried until it succeeds"),
            };
            format!("it is on its way out: {}{retries}", why_it_ends(end, sandbox))
        }
        None => why_it_lives(sandbox, now),
    }
}

fn why_it_lives(sandbox: &Sandbox, now: &Now) -> String {
    let state = match sandbox.status() {
        Status::Pending => return "it is being started".to_owned(),
        Status::Paused => "it is paused",
        _ => "it runs",
    };
    let held: Vec<_> = sandbox.holds(now.moment).map(Hold::holder).collect();
    let state = match held.as_slice() {
        [] => state.to_owned(),
        holders => format!("{state}, held by {}", holders.join(", ")),
    };
    if sandbox.is_restarting() {
        let again = sandbox.next_action().map_or_else(String::new, |(at, _)| {
            let why = sandbox.details.engine_error.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
            format!("; that failed{why}, and is tried again in {}", for_people(at.since(now.moment)))
        });
        return format!("its container has stopped, and is being started again{again}");
    }
    let Some((at, action)) = sandbox.next_action() else { return format!("{state}, and nothing ends it by itself") };
    let left = for_people(at.since(now.moment));
    match action {
        Action::End(Rule { clock, .. }) => {
            format!("{state}, and ends in {left} ({}), {}", clock.end_reason(), clock.unless())
        }
        Action::Pause(rule) => format!("{state}, and is paused in {left}, {}", rule.clock.unless()),
        Action::Retry => format!("{state}, and what failed is tried again in {left}"),
    }
}

fn why_it_ends(end: &End, sandbox: &Sandbox) -> String {
    let by = |clock: RuleClock| clock.why_it_ended(sandbox.rules().after(clock));
    match end.reason {
        EndReason::Idle => {
            // While it is paused, the paused timeout replaces the idle timeout.
            let unused = end.decided_at.since(sandbox.last_activity());
            let idle = sandbox.rules().after(RuleClock::Idle).is_some_and(|idle| idle <= unused);
            by(if idle { RuleClock::Idle } else { RuleClock::Paused })
        }
        EndReason::Expired => by(RuleClock::Active),
        EndReason::Requested => "somebody asked for it".to_owned(),
        EndReason::Exited => match end.exit_code {
            Some(code) => format!("its container ended by itself, with exit code {code}"),
            None => "its container ended by itself".to_owned(),
        },
        EndReason::OomKilled => "it used more memory than it may, and the kernel killed it".to_owned(),
        EndReason::StartFailed => "it could not be started".to_owned(),
        EndReason::Vanished => "its container is gone, and sandglass did not remove it".to_owned(),
        EndReason::Unresponsive => by(RuleClock::Heartbeat),
        EndReason::Orphaned => "its container had no sandbox".to_owned(),
    }
}
