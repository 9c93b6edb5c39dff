//! The state and its one transition function.

use std::time::Duration;

use super::{
    super::{
        time::{Moment, Now},
        words::{ActivitySource, EndReason, Status},
    },
    deadlines::{Action, Policy},
    event::{Container, Deed, Denied, Effects, End, Event, Persist},
};

/// Where a sandbox is. What a phase cannot have, its variant has no field for.
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
    /// Left by a crash in mid-create: what became of its container?
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
    Paused { since: Moment },
    Resuming { since: Moment },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    end: End,
    step: Step,
    /// A start that was under way when the end was decided. Its container may appear at any time until it reports, so
    /// nothing is removed before that.
    start_under_way: bool,
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
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

/// How often a source reset the idle clock, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ActivityCount {
    /// How often, since this process has known the sandbox.
    pub count: u32,
    /// When last; meaningless while `count` is 0.
    pub last: Moment,
}

/// The state of one sandbox. Small and `Copy`: whoever wants to look gets a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifecycle {
    pub(super) phase: Phase,
    pub(super) policy: Policy,
    pub(super) last_activity: Moment,
    /// Added to idle deadlines after a restart, for the activity that the store may have missed (design, 4.7).
    pub(super) idle_slack: Duration,
    pub(super) expires_at: Moment,
    /// No deadline acts before this: clients could not ping while the supervisor was away (design, 5).
    pub(super) not_before: Moment,
    pub(super) pause_not_before: Moment,
    pub(super) last_heartbeat: Moment,
    revision: u64,
    activity: [ActivityCount; ActivitySource::ALL.len()],
}

/// What a record tells of where a sandbox was when it was last written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Revived {
    /// In mid-create.
    Pending,
    /// Up.
    Running,
    /// Frozen since then.
    Paused(Moment),
    /// On its way out.
    Ending(End),
    /// Ended: a tombstone.
    Gone(End),
}

/// What rehydration knows of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restored {
    /// Where it was.
    pub phase: Revived,
    /// The timeouts it lives by.
    pub policy: Policy,
    /// Its last activity, as far as the store knows; one in the future is read as now.
    pub last_activity: Moment,
    /// Its active timeout's end.
    pub expires_at: Moment,
    /// How much activity the store may have missed.
    pub idle_slack: Duration,
    /// When deadlines may act again.
    pub not_before: Moment,
}

impl Lifecycle {
    /// A new sandbox, and the first thing to do: record the intent.
    pub fn create(policy: Policy, timeout: Duration, now: Now) -> (Self, Effects) {
        let mut life = Self {
            phase: Phase::Pending(Birth::Recording(1)),
            policy: Policy { active_timeout: timeout, ..policy },
            last_activity: now.moment,
            idle_slack: Duration::ZERO,
            expires_at: now.moment.plus(timeout),
            not_before: Moment::DISTANT_PAST,
            pause_not_before: Moment::DISTANT_PAST,
            last_heartbeat: now.moment,
            revision: 1,
            activity: Default::default(),
        };
        life.note_activity(ActivitySource::Create, now);
        (life, Effects::persist(Persist::Through))
    }

    /// A sandbox as the store remembers it, and the first thing to do: nothing for one that is up, else drive on what
    /// was interrupted. The intent of an end is in the store already, so its deed comes at once.
    pub fn restore(restored: Restored, now: Now) -> (Self, Effects) {
        let (phase, effects) = match restored.phase {
            Revived::Pending => (Phase::Pending(Birth::Resolving), Effects::deed(Deed::Resolve)),
            Revived::Running => (Phase::Up(Up::Running), Effects::NONE),
            Revived::Paused(since) => (Phase::Up(Up::Paused { since: since.min(now.moment) }), Effects::NONE),
            Revived::Ending(end) => {
                let ending = Ending { end, step: Step::Removing, start_under_way: false, attempts: 0 };
                (Phase::Ending(ending), Effects::deed(Deed::Remove))
            }
            Revived::Gone(end) => (Phase::Gone(end), Effects::NONE),
        };
        let life = Self {
            phase,
            policy: restored.policy,
            last_activity: restored.last_activity.min(now.moment),
            idle_slack: restored.idle_slack,
            expires_at: restored.expires_at,
            not_before: restored.not_before,
            pause_not_before: Moment::DISTANT_PAST,
            last_heartbeat: now.moment,
            revision: 0,
            activity: Default::default(),
        };
        (life, effects)
    }

    /// Takes one step.
    ///
    /// # Errors
    /// [`Denied`] when the event is refused; the state is then unchanged. Only events that somebody asked for are
    /// refused: outcomes and container events that come too late are taken and change nothing.
    pub fn apply(&mut self, event: Event, now: Now) -> Result<Effects, Denied> {
        match event {
            Event::Activity(source) => self.activity(source, now),
            Event::KeepAlive(timeout) => self.keep_alive(timeout, now),
            Event::Reuse(timeout) => self.reuse(timeout, now),
            Event::Heartbeat => self.heartbeat(now),
            Event::Pause => self.pause(),
            Event::Resume => self.resume(),
            Event::Terminate(reason) => self.terminate(reason, now),
            Event::TimerFired => Ok(self.timer_fired(now)),
            Event::Recorded(revision) => Ok(self.recorded(revision)),
            Event::Started => Ok(self.started(now)),
            Event::StartFailed => Ok(self.start_failed(now)),
            Event::Resolved(container) => Ok(self.resolved(container, now)),
            Event::ResolveFailed(retry_in) => Ok(self.resolve_failed(retry_in, now)),
            Event::Paused | Event::ContainerPaused => Ok(self.paused(now)),
            Event::PauseFailed(retry_in) => Ok(self.pause_failed(retry_in, now)),
            Event::Resumed | Event::ContainerUnpaused => Ok(self.resumed(now)),
            Event::ResumeFailed => Ok(self.resume_failed()),
            Event::Removed => Ok(self.removed()),
            Event::RemoveFailed(retry_in) => Ok(self.remove_failed(retry_in, now)),
            Event::Buried => Ok(self.buried()),
            Event::ContainerExited { code, oom_killed } => {
                let reason = if oom_killed { EndReason::OomKilled } else { EndReason::Exited };
                Ok(self.container_ended(reason, code, now))
            }
            Event::ContainerVanished => Ok(self.container_ended(EndReason::Vanished, None, now)),
        }
    }

    /// The public status.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Pending(_) => Status::Pending,
            Phase::Up(Up::Running | Up::Pausing) => Status::Running,
            Phase::Up(Up::Paused { .. } | Up::Resuming { .. }) => Status::Paused,
            Phase::Ending(ending) => ending.end.status_while_ending(),
            Phase::Gone(end) => end.final_status(),
        }
    }

    /// Why it ended or is ending.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ending(Ending { end, .. }) | Phase::Gone(end) => Some(end),
            Phase::Pending(_) | Phase::Up(_) => None,
        }
    }

    /// Whether it has ended for good: a tombstone.
    pub fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone(_))
    }

    /// Whether it is up or about to be, and not on its way out.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Pending(_) | Phase::Up(_))
    }

    /// Whether its start is not over.
    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Pending(_))
    }

    /// Whether the intent to start it is not in the store yet.
    pub fn is_recording_intent(&self) -> bool {
        matches!(self.phase, Phase::Pending(Birth::Recording(_)))
    }

    /// Whether a pause or resume is under way.
    pub fn is_pausing_or_resuming(&self) -> bool {
        matches!(self.phase, Phase::Up(Up::Pausing | Up::Resuming { .. }))
    }

    /// When it was paused, if it is.
    pub fn paused_since(&self) -> Option<Moment> {
        match self.phase {
            Phase::Up(Up::Paused { since } | Up::Resuming { since }) => Some(since),
            _ => None,
        }
    }

    /// How many removals have failed.
    pub fn attempts(&self) -> u32 {
        match self.phase {
            Phase::Ending(ending) => ending.attempts,
            _ => 0,
        }
    }

    /// The timeouts it lives by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When it was last used.
    pub fn last_activity(&self) -> Moment {
        self.last_activity
    }

    /// When its active timeout passes.
    pub fn expires_at(&self) -> Moment {
        self.expires_at
    }

    /// Before this, no deadline acts: the grace after a restart.
    pub fn not_before(&self) -> Moment {
        self.not_before
    }

    /// What its idle deadline has on top of the timeout, for activity that an unclean stop may have lost.
    pub fn idle_slack(&self) -> Duration {
        self.idle_slack
    }

    /// When it last proved to live, by a heartbeat or by starting.
    pub fn last_heartbeat(&self) -> Moment {
        self.last_heartbeat
    }

    /// The revision of the last transition that had to be written through.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How often `source` reset the idle clock, and when last.
    pub fn activity_by(&self, source: ActivitySource) -> ActivityCount {
        self.activity[source as usize]
    }

    pub(super) fn up(&self) -> Option<Up> {
        match self.phase {
            Phase::Up(up) => Some(up),
            _ => None,
        }
    }

    // What users ask for.

    fn activity(&mut self, source: ActivitySource, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(source, now);
        Ok(Effects::persist(Persist::Behind))
    }

    fn keep_alive(&mut self, timeout: Duration, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(ActivitySource::KeepAlive, now);
        self.expires_at = now.moment.plus(timeout);
        Ok(self.write_through())
    }

    fn reuse(&mut self, timeout: Option<Duration>, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(ActivitySource::Reuse, now);
        self.extend(timeout.unwrap_or(self.policy.active_timeout), now);
        Ok(self.write_through())
    }

    fn heartbeat(&mut self, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.last_heartbeat = now.moment;
        Ok(Effects::NONE)
    }

    fn pause(&mut self) -> Result<Effects, Denied> {
        match self.phase {
            Phase::Up(Up::Running) => {
                self.phase = Phase::Up(Up::Pausing);
                Ok(Effects::deed(Deed::Pause))
            }
            _ => Err(self.wrong_state("only a running sandbox can be paused")),
        }
    }

    fn resume(&mut self) -> Result<Effects, Denied> {
        match self.phase {
            Phase::Up(Up::Paused { since }) => {
                self.phase = Phase::Up(Up::Resuming { since });
                Ok(Effects::deed(Deed::Resume))
            }
            _ => Err(self.wrong_state("only a paused sandbox can be resumed")),
        }
    }

    fn terminate(&mut self, reason: EndReason, now: Now) -> Result<Effects, Denied> {
        match self.phase {
            Phase::Gone(end) => Err(Denied::Gone { reason: end.reason }),
            // Asking twice is asking once.
            Phase::Ending(_) => Ok(Effects::NONE),
            Phase::Pending(_) | Phase::Up(_) => {
                let start_under_way = self.phase == Phase::Pending(Birth::Starting);
                Ok(self.begin_end(End::now(reason, now), start_under_way))
            }
        }
    }

    // What time does.

    /// Checks and acts in one step (design, 3.7): whatever was applied before this was seen, whatever comes after is
    /// refused. A timer that fired too soon, since the deadline has moved, does nothing.
    fn timer_fired(&mut self, now: Now) -> Effects {
        let Some((deadline, action)) = self.next_action().filter(|(at, _)| *at <= now.moment) else {
            return Effects::NONE;
        };
        match action {
            Action::End(reason) => self.begin_end(End { deadline: Some(deadline), ..End::now(reason, now) }, false),
            Action::Pause => {
                self.phase = Phase::Up(Up::Pausing);
                Effects::deed(Deed::Pause)
            }
            Action::Retry => self.retry(),
        }
    }

    fn retry(&mut self) -> Effects {
        match &mut self.phase {
            Phase::Pending(birth @ Birth::ResolvingAgain { .. }) => {
                *birth = Birth::Resolving;
                Effects::deed(Deed::Resolve)
            }
            Phase::Ending(ending) => {
                ending.step = Step::Removing;
                Effects::deed(Deed::Remove)
            }
            _ => Effects::NONE,
        }
    }

    // How deeds came out.

    fn recorded(&mut self, revision: u64) -> Effects {
        match &mut self.phase {
            Phase::Pending(birth @ Birth::Recording(_)) if *birth == Birth::Recording(revision) => {
                *birth = Birth::Starting;
                Effects::deed(Deed::Start)
            }
            Phase::Ending(ending) if ending.step == Step::Recording(revision) => {
                if ending.start_under_way {
                    ending.step = Step::AwaitingStart;
                    Effects::NONE
                } else {
                    ending.step = Step::Removing;
                    Effects::deed(Deed::Remove)
                }
            }
            _ => Effects::NONE,
        }
    }

    fn started(&mut self, now: Now) -> Effects {
        match self.phase {
            Phase::Pending(Birth::Starting) => self.become_running(now),
            _ => self.start_is_over(),
        }
    }

    fn start_failed(&mut self, now: Now) -> Effects {
        match self.phase {
            Phase::Pending(Birth::Starting) => self.begin_end(End::now(EndReason::StartFailed, now), false),
            _ => self.start_is_over(),
        }
    }

    /// The start that an end was waiting for has reported; whatever it left can be removed now.
    fn start_is_over(&mut self) -> Effects {
        let Phase::Ending(ending) = &mut self.phase else { return Effects::NONE };
        ending.start_under_way = false;
        if ending.step == Step::AwaitingStart {
            ending.step = Step::Removing;
            return Effects::deed(Deed::Remove);
        }
        Effects::NONE
    }

    fn resolved(&mut self, container: Container, now: Now) -> Effects {
        if !matches!(self.phase, Phase::Pending(Birth::Resolving)) {
            return Effects::NONE;
        }
        match container {
            Container::Running => self.become_running(now),
            Container::Paused => {
                self.phase = Phase::Up(Up::Paused { since: now.moment });
                self.write_through()
            }
            Container::Stopped(_) | Container::Missing => self.begin_end(End::now(EndReason::StartFailed, now), false),
        }
    }

    fn resolve_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Pending(birth @ Birth::Resolving) = &mut self.phase {
            *birth = Birth::ResolvingAgain { at: now.moment.plus(retry_in) };
        }
        Effects::NONE
    }

    fn paused(&mut self, now: Now) -> Effects {
        match self.phase {
            Phase::Up(Up::Running | Up::Pausing) => {
                self.phase = Phase::Up(Up::Paused { since: now.moment });
                self.write_through()
            }
            _ => Effects::NONE,
        }
    }

    fn pause_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if self.phase == Phase::Up(Up::Pausing) {
            self.phase = Phase::Up(Up::Running);
            self.pause_not_before = now.moment.plus(retry_in);
        }
        Effects::NONE
    }

    /// Thawed, by us or by hand: use, and a whole active timeout, or a `pause` rule would freeze it again at once.
    fn resumed(&mut self, now: Now) -> Effects {
        match self.phase {
            Phase::Up(Up::Paused { .. } | Up::Resuming { .. }) => {
                self.phase = Phase::Up(Up::Running);
                self.note_activity(ActivitySource::Resume, now);
                self.extend(self.policy.active_timeout, now);
                self.last_heartbeat = now.moment;
                self.write_through()
            }
            _ => Effects::NONE,
        }
    }

    fn resume_failed(&mut self) -> Effects {
        if let Phase::Up(Up::Resuming { since }) = self.phase {
            self.phase = Phase::Up(Up::Paused { since });
        }
        Effects::NONE
    }

    fn removed(&mut self) -> Effects {
        match &mut self.phase {
            Phase::Ending(ending) if ending.step == Step::Removing => {
                ending.step = Step::Burying;
                Effects::deed(Deed::Bury)
            }
            _ => Effects::NONE,
        }
    }

    fn remove_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Ending(ending) = &mut self.phase
            && ending.step == Step::Removing
        {
            ending.attempts = ending.attempts.saturating_add(1);
            ending.step = Step::Waiting { until: now.moment.plus(retry_in) };
        }
        Effects::NONE
    }

    fn buried(&mut self) -> Effects {
        if let Phase::Ending(Ending { end, step: Step::Burying, .. }) = self.phase {
            self.phase = Phase::Gone(end);
        }
        Effects::NONE
    }

    /// The container ended without us. While it is being started, the start itself finds out and reports.
    fn container_ended(&mut self, reason: EndReason, exit_code: Option<i64>, now: Now) -> Effects {
        match self.phase {
            Phase::Up(_) => self.begin_end(End { exit_code, ..End::now(reason, now) }, false),
            Phase::Pending(_) | Phase::Ending(_) | Phase::Gone(_) => Effects::NONE,
        }
    }

    // Steps that several events share.

    fn become_running(&mut self, now: Now) -> Effects {
        self.phase = Phase::Up(Up::Running);
        self.note_activity(ActivitySource::Create, now);
        self.extend(self.policy.active_timeout, now);
        self.last_heartbeat = now.moment;
        self.write_through()
    }

    fn begin_end(&mut self, end: End, start_under_way: bool) -> Effects {
        self.revision += 1;
        let step = Step::Recording(self.revision);
        self.phase = Phase::Ending(Ending { end, step, start_under_way, attempts: 0 });
        Effects { persist: Persist::Through, deed: start_under_way.then_some(Deed::CancelStart), ended: Some(end) }
    }

    fn write_through(&mut self) -> Effects {
        self.revision += 1;
        Effects::persist(Persist::Through)
    }

    fn note_activity(&mut self, source: ActivitySource, now: Now) {
        self.last_activity = now.moment;
        self.idle_slack = Duration::ZERO;
        let noted = &mut self.activity[source as usize];
        noted.count = noted.count.saturating_add(1);
        noted.last = now.moment;
    }

    fn extend(&mut self, timeout: Duration, now: Now) {
        self.expires_at = self.expires_at.max(now.moment.plus(timeout));
    }

    fn must_be_alive(&self) -> Result<(), Denied> {
        match &self.phase {
            Phase::Pending(_) | Phase::Up(_) => Ok(()),
            Phase::Ending(ending) => Err(Denied::Terminating { reason: ending.end.reason }),
            Phase::Gone(end) => Err(Denied::Gone { reason: end.reason }),
        }
    }

    fn wrong_state(&self, rule: &'static str) -> Denied {
        match self.must_be_alive() {
            Err(denied) => denied,
            Ok(()) => Denied::WrongState { status: self.status(), rule },
        }
    }
}
