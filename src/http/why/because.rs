//! The whole in a sentence, for people.

use std::time::Duration;

use super::rules::{Rule, rule_of};
use crate::domain::{
    EndReason, Now, Sandbox, Status,
    sandbox::{Action, End},
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
    if sandbox.is_restarting() {
        let again = sandbox.next_action().map_or_else(String::new, |(at, _)| {
            let why = sandbox.details.engine_error.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
            format!("; that failed{why}, and is tried again in {}", for_people(at.since(now.moment)))
        });
        return format!("its container has stopped, and is being started again{again}");
    }
    let Some((at, action)) = sandbox.next_action() else { return format!("{state}, and nothing ends it by itself") };
    let left = for_people(at.since(now.moment));
    let unless = match rule_of(action) {
        Rule::Idle => "unless somebody uses it before",
        Rule::Heartbeat => "unless it gives a sign of life before",
        Rule::ActiveTimeout | Rule::RestartGrace | Rule::Retry => "unless a keep-alive comes before",
    };
    match action {
        Action::End(reason) => format!("{state}, and ends in {left} ({reason}), {unless}"),
        Action::Pause => format!("{state}, and is paused in {left}, {unless}"),
        Action::Retry => format!("{state}, and what failed is tried again in {left}"),
    }
}

fn why_it_ends(end: &End, sandbox: &Sandbox) -> String {
    let timeout =
        |timeout: Option<Duration>| timeout.map_or_else(String::new, |timeout| format!(" of {}", for_people(timeout)));
    let policy = sandbox.policy();
    match end.reason {
        // While it is paused, another timeout takes the idle one's place.
        EndReason::Idle
            if policy.idle_timeout.is_none_or(|idle| end.decided_at.since(sandbox.last_activity()) < idle) =>
        {
            format!("nobody resumed it for its paused timeout{}", timeout(policy.paused_timeout))
        }
        EndReason::Idle => format!("nobody used it for its idle timeout{}", timeout(policy.idle_timeout)),
        EndReason::Expired => "its active timeout passed without a keep-alive".to_owned(),
        EndReason::Requested => "somebody asked for it".to_owned(),
        EndReason::Exited => match end.exit_code {
            Some(code) => format!("its container ended by itself, with exit code {code}"),
            None => "its container ended by itself".to_owned(),
        },
        EndReason::OomKilled => "it used more memory than it may, and the kernel killed it".to_owned(),
        EndReason::StartFailed => "it could not be started".to_owned(),
        EndReason::Vanished => "its container is gone, and sandglass did not remove it".to_owned(),
        EndReason::Unresponsive => {
            format!("it gave no sign of life for its heartbeat timeout{}", timeout(policy.heartbeat_timeout))
        }
        EndReason::Orphaned => "its container had no sandbox".to_owned(),
    }
}

/// A duration as one says it: `1 h 59 min`, `42 s`, `0.5 s`.
pub(super) fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 && duration.subsec_millis() >= 100 => format!("{:.1} s", duration.as_secs_f64()),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_two_largest_units() {
        for (milliseconds, words) in [
            (0, "0 s"),
            (50, "0 s"),
            (500, "0.5 s"),
            (9_960, "10.0 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (7_199_000, "1 h 59 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(for_people(Duration::from_millis(milliseconds)), words);
        }
    }
}
