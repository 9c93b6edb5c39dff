//! The state of a sandbox, its beginnings, and its queries.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        id::SandboxId,
        time::{Moment, Now},
        words::{ActivitySource, Status},
    },
    details::Details,
    effects::{Change, Effects, End, EngineCall, Persist},
};

/// The phase of a sandbox's life. Each variant has exactly the fields that the phase needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Pending(Birth),
    Up(Up),
    Ending(Ending),
    Gone(End),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Birth {
    /// The intent to start is on its way to the store, with this revision.
    Recording(u64),
    Starting,
    /// A crash interrupted the create, and it is not known yet what became of the container.
    Resolving,
    ResolvingAgain {
        at: Moment,
    },
}

impl Birth {
    pub(super) fn retry_at(self) -> Option<Moment> {
        match self {
            Self::ResolvingAgain { at } => Some(at),
            Self::Recording(_) | Self::Starting | Self::Resolving => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Up {
    Running,
    Pausing,
    Paused {
        since: Moment,
    },
    Resuming {
        since: Moment,
        /// How long it is to be active from then on; `None`: for its own active timeout.
        timeout: Option<Duration>,
    },
    /// Its container has stopped and is being started again.
    Restarting {
        /// Since when clients could not use it.
        since: Moment,
        /// When it was paused, if it was.
        frozen: Option<Moment>,
        /// When the next attempt is due; `None` while one is under way.
        retry: Option<Moment>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) end: End,
    pub(super) step: Step,
    /// Whether a start was under way when the end was decided. Its container may appear at any time until the outcome is
    /// reported, so nothing is removed before that.
    pub(super) start_under_way: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// The intent is on its way to the store, with this revision.
    Recording(u64),
    AwaitingStart,
    Removing,
    Waiting {
        until: Moment,
    },
    Burying,
}

impl Ending {
    pub(super) fn retry_at(&self) -> Option<Moment> {
        match self.step {
            Step::Waiting { until } => Some(until),
            Step::Recording(_) | Step::AwaitingStart | Step::Removing | Step::Burying => None,
        }
    }
}

/// How often a source has reset the idle clock, and when it last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ActivityCount {
    /// The number of times since this process has known the sandbox.
    pub count: u32,
    /// The last time; meaningless while `count` is 0.
    pub last: Moment,
}

/// When to warn of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    /// How long before an end watchers want to be warned; zero if nobody watches.
    pub(super) before: Duration,
    /// The next end.
    pub(super) ahead: Moment,
    /// When to warn of it.
    pub(super) at: Moment,
    /// The last end that watchers were warned of. Another end may have been next in the meantime, while a pause was being
    /// tried.
    pub(super) warned: Moment,
}

impl Warning {
    /// Nobody watches.
    pub(super) const NONE: Self = Self {
        before: Duration::ZERO,
        ahead: Moment::DISTANT_PAST,
        at: Moment::DISTANT_PAST,
        warned: Moment::DISTANT_PAST,
    };
}

/// The state proper. It is small and `Copy`, since every answer contains a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) last_activity: Moment,
    /// Added to idle deadlines after a restart, for the activity that the store may have missed
    /// ([design: slack](crate::design::persistence::slack)).
    pub(super) idle_slack: Duration,
    pub(super) expires_at: Moment,
    /// No deadline acts before this, since clients could not ping while the supervisor was away ([design:
    /// grace](crate::design::restart::grace)).
    pub(super) not_before: Moment,
    pub(super) pause_not_before: Moment,
    pub(super) last_heartbeat: Moment,
    pub(super) revision: u64,
    /// How many attempts of the current call have failed in a row.
    pub(super) failures: u32,
    pub(super) warning: Warning,
    pub(super) activity: [ActivityCount; ActivitySource::ALL.len()],
}

/// A sandbox: its details and its state. This is the state machine itself. It is cheap to clone, so that copies can be
/// inspected, written and returned.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Everything that is known of it besides its state.
    pub details: Arc<Details>,
    pub(super) state: State,
}

/// The phase that a record was written in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Revived {
    /// It was being created.
    Pending,
    /// Up.
    Running,
    /// It was paused at that time.
    Paused(Moment),
    /// It was ending.
    Ending(End),
    /// Ended: a tombstone.
    Gone(End),
}

/// What a restart knows of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restored {
    /// The phase.
    pub phase: Revived,
    /// The last activity that the store has; a time in the future counts as now.
    pub last_activity: Moment,
    /// The end of the active timeout.
    pub expires_at: Moment,
    /// How much activity the store may have missed.
    pub idle_slack: Duration,
    /// When deadlines may act again.
    pub not_before: Moment,
}

impl Sandbox {
    /// Makes a new sandbox. Its first effect records the intent.
    pub fn create(details: Details, now: Now) -> (Self, Effects) {
        let state = State {
            phase: Phase::Pending(Birth::Recording(1)),
            last_activity: now.moment,
            idle_slack: Duration::ZERO,
            expires_at: now.moment.plus(details.rules.active_timeout()),
            not_before: Moment::DISTANT_PAST,
            pause_not_before: Moment::DISTANT_PAST,
            last_heartbeat: now.moment,
            revision: 1,
            failures: 0,
            warning: Warning::NONE,
            activity: Default::default(),
        };
        let mut sandbox = Self { details: Arc::new(details), state };
        sandbox.note_activity(ActivitySource::Create, now);
        let effects = Effects::persist(Persist::Through).used(ActivitySource::Create);
        (sandbox, effects.tell(Change::Appeared))
    }

    /// Restores a sandbox. Its first effects continue what was interrupted: the intent of an end is in the store already,
    /// so the removal comes at once.
    pub fn restore(details: Details, restored: Restored, now: Now) -> (Self, Effects) {
        let (phase, effects) = match restored.phase {
            Revived::Pending => (Phase::Pending(Birth::Resolving), Effects::call(EngineCall::Resolve)),
            Revived::Running => (Phase::Up(Up::Running), Effects::NONE),
            Revived::Paused(since) => (Phase::Up(Up::Paused { since: since.min(now.moment) }), Effects::NONE),
            Revived::Ending(end) => {
                let ending = Ending { end, step: Step::Removing, start_under_way: false };
                (Phase::Ending(ending), Effects::call(EngineCall::Remove))
            }
            Revived::Gone(end) => (Phase::Gone(end), Effects::NONE),
        };
        let state = State {
            phase,
            last_activity: restored.last_activity.min(now.moment),
            idle_slack: restored.idle_slack,
            expires_at: restored.expires_at,
            not_before: restored.not_before,
            pause_not_before: Moment::DISTANT_PAST,
            last_heartbeat: now.moment,
            revision: 0,
            failures: 0,
            warning: Warning::NONE,
            activity: Default::default(),
        };
        (Self { details: Arc::new(details), state }, effects.tell(Change::Appeared))
    }

    /// Its identifier.
    pub fn id(&self) -> &SandboxId {
        &self.details.id
    }

    /// How long ago its container started, in seconds; `None` before that.
    pub fn uptime(&self, now: &Now) -> Option<f64> {
        let until = self.end().filter(|_| self.is_gone()).map_or(now.wall(), |end| now.wall_at(end.decided_at));
        self.details.started_at.map(|started| (until - started).max(0.0))
    }

    /// The public status.
    pub fn status(&self) -> Status {
        match &self.state.phase {
            Phase::Pending(_) => Status::Pending,
            Phase::Up(Up::Running | Up::Pausing | Up::Restarting { frozen: None, .. }) => Status::Running,
            Phase::Up(Up::Paused { .. } | Up::Resuming { .. } | Up::Restarting { .. }) => Status::Paused,
            Phase::Ending(ending) => ending.end.status_while_ending(),
            Phase::Gone(end) => end.final_status(),
        }
    }

    /// Why it ended or is ending.
    pub fn end(&self) -> Option<&End> {
        match &self.state.phase {
            Phase::Ending(Ending { end, .. }) | Phase::Gone(end) => Some(end),
            Phase::Pending(_) | Phase::Up(_) => None,
        }
    }

    /// Whether it is a tombstone: its container is gone.
    pub fn is_gone(&self) -> bool {
        matches!(self.state.phase, Phase::Gone(_))
    }

    /// Whether it is starting or up, and not ending.
    pub fn is_alive(&self) -> bool {
        matches!(self.state.phase, Phase::Pending(_) | Phase::Up(_))
    }

    /// Whether it is being started.
    pub fn is_starting(&self) -> bool {
        matches!(self.state.phase, Phase::Pending(_))
    }

    /// Whether the intent to start it is still being written.
    pub fn is_recording_intent(&self) -> bool {
        matches!(self.state.phase, Phase::Pending(Birth::Recording(_)))
    }

    /// Whether it waits for its record to be stored before it starts or is removed.
    pub fn awaits_record(&self) -> bool {
        match &self.state.phase {
            Phase::Pending(Birth::Recording(_)) => true,
            Phase::Ending(ending) => matches!(ending.step, Step::Recording(_)),
            Phase::Pending(_) | Phase::Up(_) | Phase::Gone(_) => false,
        }
    }

    /// Whether it has a record in the store, as opposed to a tombstone.
    pub fn has_record(&self) -> bool {
        match &self.state.phase {
            Phase::Pending(_) | Phase::Up(_) => true,
            Phase::Ending(ending) => ending.step != Step::Burying,
            Phase::Gone(_) => false,
        }
    }

    /// Whether a pause or resume is under way.
    pub fn is_pausing_or_resuming(&self) -> bool {
        matches!(self.state.phase, Phase::Up(Up::Pausing | Up::Resuming { .. }))
    }

    /// Whether its container has stopped and is being started again.
    pub fn is_restarting(&self) -> bool {
        matches!(self.state.phase, Phase::Up(Up::Restarting { .. }))
    }

    /// When it was paused, if it is.
    pub fn paused_since(&self) -> Option<Moment> {
        match self.state.phase {
            Phase::Up(Up::Paused { since } | Up::Resuming { since, .. }) => Some(since),
            Phase::Up(Up::Restarting { frozen, .. }) => frozen,
            _ => None,
        }
    }

    /// How many attempts to resolve, restart or remove its container have failed in a row.
    pub fn failures(&self) -> u32 {
        self.state.failures
    }

    /// When it was last used.
    pub fn last_activity(&self) -> Moment {
        self.state.last_activity
    }

    /// When its active timeout passes.
    pub fn expires_at(&self) -> Moment {
        self.state.expires_at
    }

    /// The end of the grace after a restart. No deadline acts before.
    pub fn not_before(&self) -> Moment {
        self.state.not_before
    }

    /// What is added to its idle deadline for activity that an unclean stop may have lost.
    pub fn idle_slack(&self) -> Duration {
        self.state.idle_slack
    }

    /// When it last sent a heartbeat or was started.
    pub fn last_heartbeat(&self) -> Moment {
        self.state.last_heartbeat
    }

    /// The revision of the last transition that was written through.
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    /// How often `source` has reset the idle clock, and when it last did.
    pub fn activity_by(&self, source: ActivitySource) -> ActivityCount {
        self.state.activity[source as usize]
    }

    /// What reset the idle clock last; `None` if nothing has since this process has known the sandbox.
    pub fn last_activity_by(&self) -> Option<ActivitySource> {
        let noted = ActivitySource::ALL.iter().filter(|source| self.activity_by(**source).count > 0);
        noted.max_by_key(|source| self.activity_by(**source).last).copied()
    }

    /// Whether it was used after its create, since this process has known it.
    pub(super) fn is_used(&self) -> bool {
        let mut others = ActivitySource::ALL.iter().filter(|source| **source != ActivitySource::Create);
        others.any(|source| self.activity_by(*source).count > 0)
    }

    pub(super) fn up(&self) -> Option<Up> {
        match self.state.phase {
            Phase::Up(up) => Some(up),
            _ => None,
        }
    }
}
