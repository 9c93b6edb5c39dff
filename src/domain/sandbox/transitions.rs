//! The transition function, and the steps that it is made of.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        time::Now,
        words::{ActivitySource, EndReason},
    },
    clocks::Action,
    details::Details,
    effects::{Change, Denied, Effects, End, EngineCall, Persist},
    event::{Container, Event, LeftOver, StartProgress, Started},
    state::{Birth, Ending, Phase, Sandbox, Step, Up},
};

/// How long a pause by the `on_timeout` rule is put off while the store is down.
const PAUSE_HELD_BACK: Duration = Duration::from_secs(2);

const RESTARTING: &str = "its container has stopped and is being started again; wait until it is back";

impl Sandbox {
    /// Takes one step.
    ///
    /// # Errors
    /// [`Denied`] when the event is refused; the sandbox is then unchanged. Only events that somebody asked for are
    /// refused: outcomes and container events that come too late are taken and change nothing.
    pub fn apply(&mut self, event: Event, now: Now) -> Result<Effects, Denied> {
        let effects = if let Event::Activity(source) = event {
            // Nearly every event is a ping, and it is known what a ping changes.
            self.activity(source, now)?
        } else {
            let before = self.clone();
            let mut effects = self.step(event, now)?;
            effects.tell = self.change_since(&before, &effects);
            effects
        };
        self.look_ahead(now);
        Ok(effects)
    }

    fn step(&mut self, event: Event, now: Now) -> Result<Effects, Denied> {
        match event {
            Event::Activity(source) => self.activity(source, now),
            Event::KeepAlive(timeout) => self.keep_alive(timeout, now),
            Event::Reuse(timeout) => self.reuse(timeout, now),
            Event::Hold(request) => self.hold(*request, now),
            Event::Release(name) => self.release(&name, now),
            Event::Work(work) => self.work(*work, now),
            Event::Egress(ranges) => self.egress_set(*ranges),
            Event::Heartbeat => self.heartbeat(now),
            Event::Pause => self.pause(),
            Event::Resume(timeout) => self.resume(timeout),
            Event::Terminate(reason) => self.terminate(reason, now),
            Event::CreatorGone => self.creator_gone(now),
            Event::Watched(before) => Ok(self.watched(before)),
            Event::TimerFired => Ok(self.timer_fired(now)),
            Event::HeartbeatExcused => Ok(self.heartbeat_excused(now)),
            Event::EngineBack => Ok(self.engine_back()),
            Event::Recorded(revision) => Ok(self.recorded(revision)),
            Event::WallClockSet => Ok(self.write_anew().tell(Change::Changed)),
            // A record that is being written just now is not lost.
            Event::RecordLost if self.awaits_record() => Ok(Effects::NONE),
            Event::StoreReverted | Event::RecordLost => Ok(self.write_anew()),
            Event::Progress(progress) => Ok(self.progress(*progress)),
            Event::Started(started) => Ok(self.started(*started, now)),
            Event::StartFailed { why } => Ok(self.start_failed(why, now)),
            Event::Resolved(left_over) => Ok(self.resolved(left_over, now)),
            Event::ResolveFailed { retry_in } => Ok(self.resolve_failed(retry_in, now)),
            Event::Paused | Event::ContainerPaused => Ok(self.paused(now)),
            Event::PauseFailed { retry_in, .. } => Ok(self.pause_failed(retry_in, now)),
            Event::PauseHeldBack { .. } => Ok(self.pause_failed(PAUSE_HELD_BACK, now)),
            Event::Resumed => Ok(self.resumed(now)),
            Event::ResumeFailed { .. } => Ok(self.resume_failed()),
            Event::ContainerUnpaused => Ok(self.container_unpaused(now)),
            Event::Restarted(started) => Ok(self.restarted(*started, now)),
            Event::RestartFailed { failure, retry_in } => Ok(self.restart_failed(failure, retry_in, now)),
            Event::ContainerInterrupted => Ok(self.container_interrupted(now)),
            Event::ContainerRestarted(started) => Ok(self.container_restarted(*started, now)),
            Event::ContainerFound(started) => Ok(self.container_found(*started)),
            Event::ContainerExited { code, oom_killed, last_output } => {
                Ok(self.container_exited(code, oom_killed, last_output, now))
            }
            Event::ContainerMissing => Ok(self.container_missing(now)),
            Event::ContainerVanished => Ok(self.container_ended(EndReason::Vanished, None, now)),
            Event::Removed => Ok(self.removed()),
            Event::RemoveFailed { why, retry_in } => Ok(self.remove_failed(why, retry_in, now)),
            Event::Buried => Ok(self.buried()),
        }
    }

    // What users ask for.

    fn activity(&mut self, source: ActivitySource, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(source, now);
        Ok(Effects::persist(Persist::Behind).used(source).tell(Change::Activity { source }))
    }

    fn keep_alive(&mut self, timeout: Duration, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(ActivitySource::KeepAlive, now);
        self.state.expires_at = now.moment.plus(timeout);
        Ok(self.write_through().used(ActivitySource::KeepAlive))
    }

    fn reuse(&mut self, timeout: Option<Duration>, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(ActivitySource::Reuse, now);
        self.extend(timeout.unwrap_or(self.rules().active_timeout()), now);
        Ok(self.write_through().used(ActivitySource::Reuse))
    }

    fn pause(&mut self) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Up(Up::Running) => {
                self.state.phase = Phase::Up(Up::Pausing);
                Ok(Effects::call(EngineCall::Pause))
            }
            Phase::Up(Up::Restarting { .. }) => Err(self.wrong_state(RESTARTING)),
            _ => Err(self.wrong_state("only a running sandbox can be paused")),
        }
    }

    fn resume(&mut self, timeout: Option<Duration>) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Up(Up::Paused { since }) => {
                self.state.phase = Phase::Up(Up::Resuming { since, timeout });
                Ok(Effects::call(EngineCall::Resume))
            }
            Phase::Up(Up::Restarting { .. }) => Err(self.wrong_state(RESTARTING)),
            _ => Err(self.wrong_state("only a paused sandbox can be resumed")),
        }
    }

    fn terminate(&mut self, reason: EndReason, now: Now) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Gone(end) => Err(Denied::Gone { reason: end.reason }),
            // A repeated request changes nothing.
            Phase::Ending(_) => Ok(Effects::NONE),
            Phase::Pending(_) | Phase::Up(_) => {
                let start_under_way = self.state.phase == Phase::Pending(Birth::Starting);
                Ok(self.begin_end(End::now(reason, now), start_under_way))
            }
        }
    }

    /// Ends the sandbox, unless it was used: a use that was acknowledged before keeps it, and a later one is refused.
    fn creator_gone(&mut self, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        if self.is_starting() || self.is_used() {
            return Ok(Effects::NONE);
        }
        Ok(self.begin_end(End::now(EndReason::Requested, now), false))
    }

    // What time does.

    /// Checks the deadlines and acts on them in one step ([design: one step](crate::design::time::one_step)): events that
    /// were applied before count, and later ones are refused. If the deadline has moved since the timer was armed, this
    /// only warns of it.
    fn timer_fired(&mut self, now: Now) -> Effects {
        let released = self.drop_holds(now);
        let Some((deadline, action)) = self.next_action().filter(|(at, _)| *at <= now.moment) else {
            return if released { self.write_through() } else { self.warn(now) };
        };
        match action {
            Action::End(rule) => self.begin_end(End::due(rule.clock.end_reason(), deadline, now), false),
            Action::Pause(_) => {
                self.state.phase = Phase::Up(Up::Pausing);
                Effects::call(EngineCall::Pause)
            }
            Action::Retry => self.retry(),
        }
    }

    pub(super) fn retry(&mut self) -> Effects {
        match &mut self.state.phase {
            Phase::Pending(birth @ Birth::ResolvingAgain { .. }) => {
                *birth = Birth::Resolving;
                Effects::call(EngineCall::Resolve)
            }
            Phase::Up(Up::Restarting { retry: retry @ Some(_), .. }) => {
                *retry = None;
                Effects::call(EngineCall::Restart)
            }
            Phase::Ending(ending) => {
                ending.step = Step::Removing;
                Effects::call(EngineCall::Remove)
            }
            _ => Effects::NONE,
        }
    }

    fn engine_back(&mut self) -> Effects {
        match self.next_action() {
            Some((_, Action::Retry)) => self.retry(),
            _ => Effects::NONE,
        }
    }

    // Outcomes of calls.

    fn recorded(&mut self, revision: u64) -> Effects {
        match &mut self.state.phase {
            Phase::Pending(birth @ Birth::Recording(_)) if *birth == Birth::Recording(revision) => {
                *birth = Birth::Starting;
                Effects::call(EngineCall::Start)
            }
            Phase::Ending(ending) if ending.step == Step::Recording(revision) => {
                if ending.start_under_way {
                    ending.step = Step::AwaitingStart;
                    Effects::NONE
                } else {
                    ending.step = Step::Removing;
                    Effects::call(EngineCall::Remove)
                }
            }
            _ => Effects::NONE,
        }
    }

    /// Progress that was reported before the start was cancelled may arrive later.
    fn progress(&self, progress: StartProgress) -> Effects {
        if self.is_starting() { Effects::NONE.tell(Change::Progress(progress)) } else { Effects::NONE }
    }

    /// Notes the container, so that an end that waits for the start removes exactly this one.
    fn started(&mut self, started: Started, now: Now) -> Effects {
        if self.is_being_started() {
            let details = self.details_mut();
            details.container_id = Some(started.container_id.into());
            details.ports = started.ports.into();
            details.base_url = started.base_url.map(Into::into);
            details.started_at = Some(now.wall());
        }
        match self.state.phase {
            Phase::Pending(Birth::Starting) => self.come_up(Up::Running, now),
            _ => self.start_is_over(),
        }
    }

    fn start_failed(&mut self, why: Box<str>, now: Now) -> Effects {
        if self.is_being_started() {
            self.details_mut().error_message = Some(why);
        }
        match self.state.phase {
            Phase::Pending(Birth::Starting) => self.begin_end(End::now(EndReason::StartFailed, now), false),
            _ => self.start_is_over(),
        }
    }

    /// Whether the outcome of a start is awaited, even if its container will be removed.
    fn is_being_started(&self) -> bool {
        match &self.state.phase {
            Phase::Pending(birth) => *birth == Birth::Starting,
            Phase::Ending(ending) => ending.start_under_way,
            Phase::Up(_) | Phase::Gone(_) => false,
        }
    }

    /// Continues an end that waited for the outcome of the start.
    fn start_is_over(&mut self) -> Effects {
        let Phase::Ending(ending) = &mut self.state.phase else { return Effects::NONE };
        ending.start_under_way = false;
        if ending.step == Step::AwaitingStart {
            ending.step = Step::Removing;
            return Effects::call(EngineCall::Remove);
        }
        Effects::NONE
    }

    /// Adopts the container that a crash during the create left, if it runs and is ready.
    fn resolved(&mut self, left_over: Option<Box<LeftOver>>, now: Now) -> Effects {
        if !matches!(self.state.phase, Phase::Pending(Birth::Resolving)) {
            return Effects::NONE;
        }
        let details = self.details_mut();
        let Some(LeftOver { name, state, at, problem }) = left_over.map(|left_over| *left_over) else {
            details.error_message = Some("its start was interrupted before it had a container".into());
            return self.begin_end(End::now(EndReason::StartFailed, now), false);
        };
        details.container_name = name.into();
        details.container_id = Some(at.container_id.into());
        details.ports = at.ports.into();
        details.base_url = details.base_url.take().or(at.base_url.map(Into::into));
        details.started_at = details.started_at.or(Some(now.wall()));
        let problem = match state {
            Container::Stopped(code) => {
                Some(format!("its container had stopped with exit code {code:?} after a restart"))
            }
            _ => problem,
        };
        match state {
            Container::Running if problem.is_none() => self.come_up(Up::Running, now),
            Container::Paused => self.come_up(Up::Paused { since: now.moment }, now),
            _ => {
                details.error_message = problem.map(Into::into);
                self.begin_end(End::now(EndReason::StartFailed, now), false)
            }
        }
    }

    fn resolve_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Pending(birth @ Birth::Resolving) = &mut self.state.phase {
            *birth = Birth::ResolvingAgain { at: now.moment.plus(retry_in) };
            self.state.failures += 1;
        }
        Effects::NONE
    }

    fn paused(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Running | Up::Pausing) => {
                self.state.phase = Phase::Up(Up::Paused { since: now.moment });
                self.write_through()
            }
            _ => Effects::NONE,
        }
    }

    fn pause_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if self.state.phase == Phase::Up(Up::Pausing) {
            self.state.phase = Phase::Up(Up::Running);
            self.state.pause_not_before = now.moment.plus(retry_in);
        }
        Effects::NONE
    }

    /// A requested resume. It counts as use and starts a new active timeout; otherwise a `pause` rule would freeze the
    /// sandbox again at once.
    pub(super) fn resumed(&mut self, now: Now) -> Effects {
        let timeout = match self.state.phase {
            Phase::Up(Up::Resuming { timeout, .. }) => timeout,
            Phase::Up(Up::Paused { .. }) => None,
            _ => return Effects::NONE,
        };
        self.state.phase = Phase::Up(Up::Running);
        self.note_activity(ActivitySource::Resume, now);
        self.extend(timeout.unwrap_or(self.rules().active_timeout()), now);
        self.state.last_heartbeat = now.moment;
        self.write_through().used(ActivitySource::Resume)
    }

    fn resume_failed(&mut self) -> Effects {
        if let Phase::Up(Up::Resuming { since, .. }) = self.state.phase {
            self.state.phase = Phase::Up(Up::Paused { since });
        }
        Effects::NONE
    }

    fn removed(&mut self) -> Effects {
        match &mut self.state.phase {
            Phase::Ending(ending) if ending.step == Step::Removing => {
                ending.step = Step::Burying;
                Effects::persist(Persist::Tombstone)
            }
            _ => Effects::NONE,
        }
    }

    fn remove_failed(&mut self, why: Box<str>, retry_in: Duration, now: Now) -> Effects {
        match &mut self.state.phase {
            Phase::Ending(ending) if ending.step == Step::Removing => {
                ending.step = Step::Waiting { until: now.moment.plus(retry_in) };
                self.state.failures = self.state.failures.saturating_add(1);
                self.details_mut().engine_error = Some(why);
                Effects::NONE.tell(Change::RemovalFailed)
            }
            _ => Effects::NONE,
        }
    }

    fn buried(&mut self) -> Effects {
        if let Phase::Ending(Ending { end, step: Step::Burying, .. }) = self.state.phase {
            self.state.phase = Phase::Gone(end);
        }
        Effects::NONE
    }

    // Steps that several events share.

    fn come_up(&mut self, up: Up, now: Now) -> Effects {
        self.state.phase = Phase::Up(up);
        self.state.failures = 0;
        // Before this, clients could not use it, so the whole idle timeout begins now.
        self.reset_idle_clock(now);
        self.extend(self.rules().active_timeout(), now);
        self.state.last_heartbeat = now.moment;
        self.write_through()
    }

    pub(super) fn begin_end(&mut self, end: End, start_under_way: bool) -> Effects {
        self.state.revision += 1;
        let step = Step::Recording(self.state.revision);
        self.state.phase = Phase::Ending(Ending { end, step, start_under_way });
        self.state.failures = 0;
        let call = start_under_way.then_some(EngineCall::CancelStart);
        Effects { persist: Persist::Through, call, ended: Some(end), ..Effects::NONE }
    }

    pub(super) fn write_through(&mut self) -> Effects {
        self.state.revision += 1;
        Effects::persist(Persist::Through)
    }

    /// Writes the unchanged record again.
    fn write_anew(&self) -> Effects {
        Effects::persist(if self.has_record() { Persist::Anew } else { Persist::No })
    }

    pub(super) fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(&mut self.details)
    }

    /// Resets the idle clock and counts the source.
    pub(super) fn note_activity(&mut self, source: ActivitySource, now: Now) {
        self.reset_idle_clock(now);
        let noted = &mut self.state.activity[source as usize];
        noted.count = noted.count.saturating_add(1);
        noted.last = now.moment;
    }

    fn reset_idle_clock(&mut self, now: Now) {
        self.state.last_activity = now.moment;
        self.state.idle_slack = Duration::ZERO;
    }

    fn extend(&mut self, timeout: Duration, now: Now) {
        self.state.expires_at = self.state.expires_at.max(now.moment.plus(timeout));
    }

    pub(super) fn must_be_alive(&self) -> Result<(), Denied> {
        match &self.state.phase {
            Phase::Pending(_) | Phase::Up(_) => Ok(()),
            Phase::Ending(ending) => Err(Denied::Terminating { reason: ending.end.reason }),
            Phase::Gone(end) => Err(Denied::Gone { reason: end.reason }),
        }
    }

    pub(super) fn wrong_state(&self, rule: &'static str) -> Denied {
        match self.must_be_alive() {
            Err(denied) => denied,
            Ok(()) => Denied::WrongState { status: self.status(), rule },
        }
    }
}
