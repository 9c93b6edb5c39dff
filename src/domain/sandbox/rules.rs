//! The rules of a sandbox's life: what it does by itself, and after how long. When each rule is due, and the sentences
//! about it, are in `clocks`.
//!
//! The public names (`idle_timeout`, `on_timeout` and so on) are a spelling of rules. The configuration, requests, records
//! and labels all read and write it with [`Spelling`].
//!
//! To add a rule, change these files (the compiler names all but the third):
//!
//! 1. `domain/sandbox/rules.rs`: its clock, the name of its timeout, and the reason of an end by it;
//! 2. `domain/sandbox/clocks.rs`: when it is due, and its sentences;
//! 3. `config/templates.rs`: its key in templates, which `config/default.toml` documents;
//! 4. `http/why/rules.rs`: what the call `why` names it;
//! 5. `domain/sandbox/state.rs`: what its clock counts from, unless the state has that already.
//!
//! Records and labels need no change.

use std::time::Duration;

use super::super::words::{EndReason, OnTimeout};

/// What a rule measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleClock {
    /// The time since the last use, while it runs.
    Idle,
    /// The time since the last use or the pause, whichever is later, while it is paused.
    Paused,
    /// The active timeout, which a keep-alive moves. Every sandbox has this rule.
    Active,
    /// The time since the last heartbeat, while it runs.
    Heartbeat,
}

impl RuleClock {
    /// Every clock.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Paused, Self::Active, Self::Heartbeat];

    /// The name of its timeout in the configuration, requests, records and labels.
    pub const fn timeout_name(self) -> &'static str {
        match self {
            Self::Idle => "idle_timeout",
            Self::Paused => "paused_timeout",
            Self::Heartbeat => "heartbeat_timeout",
            Self::Active => "active_timeout",
        }
    }

    /// The clock whose timeout is called `name`.
    pub fn by_timeout_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|clock| clock.timeout_name() == name)
    }

    /// Whether records and labels name the timeout even if there is no such rule (as `null` and `none`), because a missing
    /// timeout means that nothing is known.
    pub const fn is_always_spelled(self) -> bool {
        matches!(self, Self::Idle | Self::Active)
    }

    /// The reason of an end by this clock.
    pub const fn end_reason(self) -> EndReason {
        match self {
            Self::Idle | Self::Paused => EndReason::Idle,
            Self::Heartbeat => EndReason::Unresponsive,
            Self::Active => EndReason::Expired,
        }
    }
}

/// A rule: when the clock has reached a time, an effect follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is measured.
    pub clock: RuleClock,
    /// The time at which it acts.
    pub after: Duration,
    /// Its effect.
    pub then: OnTimeout,
}

/// The rules of a sandbox, of which the last one is that of the active timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Box<[Rule]>);

impl Rules {
    /// The rule that every sandbox has: `on_timeout` happens when the active timeout has passed.
    pub fn new(active_timeout: Duration, on_timeout: OnTimeout) -> Self {
        Self([Rule { clock: RuleClock::Active, after: active_timeout, then: on_timeout }].into())
    }

    /// These rules with another timeout on `clock`; `None` removes the rule, except that of the active timeout.
    #[must_use]
    pub fn with(&self, clock: RuleClock, after: impl Into<Option<Duration>>) -> Self {
        let (active, after) = (*self.active(), after.into());
        if clock == RuleClock::Active {
            return self.with_active(Rule { after: after.unwrap_or(active.after), ..active });
        }
        let others = self.iter().copied().filter(|rule| rule.clock != clock && rule.clock != RuleClock::Active);
        let new = after.map(|after| Rule { clock, after, then: OnTimeout::Terminate });
        Self(others.chain(new).chain([active]).collect())
    }

    fn with_active(&self, active: Rule) -> Self {
        let others = self.iter().copied().filter(|rule| rule.clock != RuleClock::Active);
        Self(others.chain([active]).collect())
    }

    /// The rule of the active timeout alone.
    #[must_use]
    pub fn only_active(&self) -> Self {
        Self([*self.active()].into())
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.0.iter()
    }

    /// The timeout on `clock`; `None` if there is no such rule.
    pub fn after(&self, clock: RuleClock) -> Option<Duration> {
        self.iter().find(|rule| rule.clock == clock).map(|rule| rule.after)
    }

    /// The active timeout that a create and a resume begin with by default.
    pub fn active_timeout(&self) -> Duration {
        self.active().after
    }

    /// The effect of the active timeout.
    pub fn on_timeout(&self) -> OnTimeout {
        self.active().then
    }

    fn active(&self) -> &Rule {
        &self.0[self.0.len() - 1]
    }

    /// Their spelling in records and labels.
    pub fn spelling(&self) -> Spelling {
        let mut spelling = Spelling::new(Some(self.on_timeout()));
        for clock in RuleClock::ALL {
            let after = self.after(clock);
            if clock.is_always_spelled() || after.is_some() {
                spelling = spelling.with(clock, after);
            }
        }
        spelling
    }
}

/// The spelling of rules by people and records: any of them may be missing, and a timeout may be `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spelling {
    timeouts: [Option<Option<Duration>>; RuleClock::ALL.len()],
    /// The effect of the active timeout.
    pub on_timeout: Option<OnTimeout>,
}

impl Spelling {
    /// Spells only the effect of the active timeout, if it is given.
    pub fn new(on_timeout: Option<OnTimeout>) -> Self {
        Self { on_timeout, ..Self::default() }
    }

    /// The timeout on `clock`: `None` if nothing is said of it, `Some(None)` if there is none.
    pub fn get(&self, clock: RuleClock) -> Option<Option<Duration>> {
        self.timeouts[clock as usize]
    }

    /// Spells the timeout on `clock`; `None` says that there is none.
    #[must_use]
    pub fn with(mut self, clock: RuleClock, after: impl Into<Option<Duration>>) -> Self {
        self.timeouts[clock as usize] = Some(after.into());
        self
    }

    /// The spelled rules; those that are missing come from `fallback`.
    pub fn or(&self, fallback: &Rules) -> Rules {
        let mut rules = fallback.clone();
        for clock in RuleClock::ALL {
            if let Some(after) = self.get(clock) {
                rules = rules.with(clock, after);
            }
        }
        let then = self.on_timeout.unwrap_or(rules.on_timeout());
        rules.with_active(Rule { then, ..*rules.active() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rules_are_the_same_after_they_were_spelled() {
        let bare = Rules::new(SECOND, OnTimeout::Pause);
        for rules in [bare.clone(), bare.with(RuleClock::Idle, SECOND * 2).with(RuleClock::Heartbeat, SECOND * 3)] {
            let other = Rules::new(SECOND * 9, OnTimeout::Terminate);
            assert_eq!(rules.spelling().or(&other), rules);
        }
        assert_eq!(bare.spelling().get(RuleClock::Idle), Some(None), "no idle timeout is not an unknown one");
        assert_eq!(bare.spelling().get(RuleClock::Paused), None);
    }

    #[test]
    fn what_is_not_spelled_is_what_it_was() {
        let rules =
            Rules::new(SECOND, OnTimeout::Pause).with(RuleClock::Idle, SECOND * 2).with(RuleClock::Paused, SECOND * 3);
        assert_eq!(Spelling::default().or(&rules), rules);
        let spelling = Spelling::default().with(RuleClock::Paused, None).with(RuleClock::Active, None);
        assert_eq!(spelling.or(&rules), rules.with(RuleClock::Paused, None));
        assert_eq!(spelling.or(&rules).active_timeout(), SECOND, "the active timeout cannot be taken away");
    }

    #[test]
    fn every_timeout_has_a_name_of_its_own() {
        for clock in RuleClock::ALL {
            assert_eq!(RuleClock::by_timeout_name(clock.timeout_name()), Some(clock));
        }
    }
}
