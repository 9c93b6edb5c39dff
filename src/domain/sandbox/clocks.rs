//! When each rule of a sandbox is due, as a pure function of the state ([design: time](crate::design::time)), and the
//! sentences about it. Deadlines are cheap to compute, so the timer can be lazy.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now, for_people},
        words::{OnTimeout, Status},
    },
    details::Hold,
    rules::{Rule, RuleClock, Rules},
    state::{Phase, Sandbox, Up},
};

/// The next thing that a sandbox does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It ends by this rule.
    End(Rule),
    /// It is paused by this rule.
    Pause(Rule),
    /// It retries a removal, a restart or an inspection that failed.
    Retry,
}

/// The current reading of a rule's clock, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The clock.
    pub clock: RuleClock,
    /// Its timeout; `None` if there is none.
    pub after: Option<Duration>,
    /// Its deadline; `None` if it has none at present.
    pub at: Option<Moment>,
    /// Its meaning as a sentence.
    pub sentence: String,
}

impl RuleClock {
    /// What postpones its deadline.
    pub const fn unless(self) -> &'static str {
        match self {
            Self::Idle | Self::Paused => "unless somebody uses it before",
            Self::Heartbeat => "unless it gives a sign of life before",
            Self::Active => "unless a keep-alive comes before",
        }
    }

    /// Why its rule, with this timeout, ended a sandbox.
    pub fn why_it_ended(self, after: Option<Duration>) -> String {
        let timeout = after.map_or_else(String::new, |after| format!(" of {}", for_people(after)));
        match self {
            Self::Idle => format!("nobody used it for its idle timeout{timeout}"),
            Self::Paused => format!("nobody resumed it for its paused timeout{timeout}"),
            Self::Heartbeat => format!("it gave no sign of life for its heartbeat timeout{timeout}"),
            Self::Active => "its active timeout passed without a keep-alive".to_owned(),
        }
    }
}

impl Sandbox {
    /// When `rule` is due if nothing resets its clock. `None` while the clock stands still, as all clocks do while the
    /// container is pending or being started again.
    fn due(&self, rule: &Rule) -> Option<Moment> {
        let (state, up) = (&self.state, self.up()?);
        match (rule.clock, up) {
            (_, Up::Restarting { .. }) => None,
            (RuleClock::Active, Up::Paused { .. } | Up::Resuming { .. })
                if rule.then == OnTimeout::TerminateUnlessPaused =>
            {
                None
            }
            (RuleClock::Active, _) => Some(state.expires_at),
            (RuleClock::Idle, Up::Running | Up::Pausing) => {
                Some(self.in_use_until().plus(rule.after).plus(state.idle_slack))
            }
            (RuleClock::Paused, Up::Paused { since } | Up::Resuming { since, .. }) => {
                Some(since.max(self.in_use_until()).plus(rule.after).plus(state.idle_slack))
            }
            // A frozen container cannot send heartbeats. After a resume it has a whole timeout for the next one.
            (RuleClock::Heartbeat, Up::Running) => Some(state.last_heartbeat.plus(rule.after)),
            (RuleClock::Idle | RuleClock::Paused | RuleClock::Heartbeat, _) => None,
        }
    }

    /// When it ends unless it is used. `None` while it is pending, while it is paused without a paused timeout, while its
    /// container is being started again, without an idle timeout, and once it is ending.
    pub fn idle_deadline(&self) -> Option<Moment> {
        let idle = self.rules().iter().filter(|rule| matches!(rule.clock, RuleClock::Idle | RuleClock::Paused));
        idle.filter_map(|rule| self.due(rule)).min()
    }

    /// When it ends unless it sends a heartbeat. `None` if none is expected.
    pub fn heartbeat_deadline(&self) -> Option<Moment> {
        let heartbeat = self.rules().iter().filter(|rule| rule.clock == RuleClock::Heartbeat);
        heartbeat.filter_map(|rule| self.due(rule)).min()
    }

    /// The next thing that it does by itself, and when. Deadlines never act before the restart grace is over.
    pub fn next_action(&self) -> Option<(Moment, Action)> {
        let state = &self.state;
        let retry = match state.phase {
            Phase::Pending(birth) => birth.retry_at(),
            Phase::Ending(ending) => ending.retry_at(),
            Phase::Gone(_) => None,
            // No rule ends a sandbox because its engine was away.
            Phase::Up(Up::Restarting { retry, .. }) => retry,
            Phase::Up(up) => {
                let acts = self.rules().iter().filter_map(|rule| {
                    let at = self.due(rule)?.max(state.not_before);
                    match rule.then {
                        OnTimeout::Terminate | OnTimeout::TerminateUnlessPaused => Some((at, Action::End(*rule))),
                        OnTimeout::Pause if up == Up::Running => {
                            Some((at.max(state.pause_not_before), Action::Pause(*rule)))
                        }
                        OnTimeout::Pause | OnTimeout::Deactivate => None,
                    }
                });
                return acts.min_by_key(|(at, _)| *at);
            }
        };
        retry.map(|at| (at, Action::Retry))
    }

    /// When Sandglass ends or pauses it by itself; `None` if it never does, or if it is ending.
    pub fn terminates_at(&self) -> Option<Moment> {
        self.up().filter(|_| !self.is_restarting()).and_then(|_| self.next_action()).map(|(at, _)| at)
    }

    /// Whether its active timeout has not passed.
    pub fn is_active(&self, now: Moment) -> bool {
        self.is_alive() && now < self.state.expires_at
    }

    /// The rules that it lives by.
    pub fn rules(&self) -> &Rules {
        &self.details.rules
    }

    /// The readings of the rules that apply at present; none once it is ending.
    pub fn readings(&self, now: &Now) -> Vec<Reading> {
        let paused = self.status() == Status::Paused;
        let reading = |clock| {
            let (after, idle) = (self.rules().after(clock), self.idle_deadline());
            let (at, sentence) = match clock {
                // Only one of the two idle clocks counts. It is listed even without a timeout.
                RuleClock::Idle if paused => return None,
                RuleClock::Paused if !paused => return None,
                RuleClock::Idle | RuleClock::Paused => (idle, self.idle_sentence(idle, now)),
                RuleClock::Heartbeat => (self.heartbeat_deadline(), after.map(|_| self.heartbeat_sentence(now))?),
                RuleClock::Active => (Some(self.state.expires_at), self.active_sentence(now)),
            };
            Some(Reading { clock, after, at, sentence })
        };
        RuleClock::ALL.into_iter().filter(|_| self.is_alive()).filter_map(reading).collect()
    }

    fn idle_sentence(&self, deadline: Option<Moment>, now: &Now) -> String {
        let unused = for_people(now.moment.since(self.state.last_activity));
        let paused = self.paused_since().is_some();
        let held: Vec<_> = self.holds(now.moment).map(Hold::holder).collect();
        let Some(deadline) = deadline else {
            return match self.status() {
                Status::Pending => "its idle clock starts with its container".to_owned(),
                _ if paused => "it is paused, and its idle clock stands still".to_owned(),
                _ if self.is_restarting() => {
                    "its container is started again, and its idle clock stands still".to_owned()
                }
                _ if !held.is_empty() => format!("held by {}; it has no idle timeout", held.join(", ")),
                _ => format!("unused for {unused}; it has no idle timeout, and may be unused for ever"),
            };
        };
        let left = for_people(deadline.since(now.moment));
        let only_commands = !held.is_empty() && self.holds(now.moment).all(|hold| hold.command().is_some());
        let sentence = if let (true, false, Some(idle)) = (only_commands, paused, self.rules().after(RuleClock::Idle)) {
            let these = if held.len() == 1 { "that has" } else { "these have" };
            let idle = for_people(idle);
            format!("held by {}; once {these} ended, it ends in {idle} if nobody uses it", held.join(", "))
        } else if !held.is_empty() {
            format!("held by {}; it ends in {left} if no hold is renewed and nobody uses it", held.join(", "))
        } else if paused {
            format!("it is paused, and ends in {left} if nobody resumes or uses it")
        } else {
            format!("unused for {unused}; it ends in {left} if nobody uses it")
        };
        match self.state.idle_slack {
            Duration::ZERO => sentence,
            slack => format!("{sentence}; {} of that for activity that a restart may have lost", for_people(slack)),
        }
    }

    fn active_sentence(&self, now: &Now) -> String {
        let expires_at = self.state.expires_at;
        let (left, over) = (expires_at.since(now.moment), now.moment.since(expires_at));
        let effect = match (self.rules().on_timeout(), self.status()) {
            (OnTimeout::Deactivate, _) if left.is_zero() => {
                return format!("it has been inactive for {}; that alone does not end it", for_people(over));
            }
            (OnTimeout::Deactivate, _) => "reports itself inactive, which does not end it",
            (OnTimeout::TerminateUnlessPaused, Status::Paused) => {
                return "it is paused, and its active timeout stands still".to_owned();
            }
            (OnTimeout::Terminate | OnTimeout::TerminateUnlessPaused, _) => "ends",
            (OnTimeout::Pause, Status::Paused) => {
                return "it is paused, which is what its active timeout asks for".to_owned();
            }
            (OnTimeout::Pause, _) => "is paused",
        };
        if self.status() == Status::Pending {
            return format!("once it runs, it is active for {}", for_people(self.rules().active_timeout()));
        }
        format!("it is active for {} more, and then {effect}, unless a keep-alive comes", for_people(left))
    }

    fn heartbeat_sentence(&self, now: &Now) -> String {
        let heard = for_people(now.moment.since(self.state.last_heartbeat));
        match self.heartbeat_deadline() {
            Some(deadline) => {
                let left = for_people(deadline.since(now.moment));
                format!("the last sign of life came {heard} ago; it ends in {left} if none comes")
            }
            None => "it owes heartbeats while it runs".to_owned(),
        }
    }
}
