//! The one transition function, and the steps it is made of.

use std::time::Duration;

use super::{
    super::{
        time::Now,
        words::{ActivitySource, EndReason},
    },
    deadlines::Action,
    event::{Container, Deed, Denied, Effects, End, Event, Persist},
    state::{Birth, Ending, Phase, Sandbox, Step, Up},
};

const RESTARTING: &str = "its container has stopped and is being started again; wait until it is back";

impl Sandbox {
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
            Event::CreatorGone => self.creator_gone(now),
            Event::TimerFired => Ok(self.timer_fired(now)),
            Event::HeartbeatExcused => Ok(self.heartbeat_excused(now)),
            Event::EngineBack => Ok(self.engine_back()),
            Event::Recorded(revision) => Ok(self.recorded(revision)),
            Event::Started => Ok(self.started(now)),
            Event::StartFailed => Ok(self.start_failed(now)),
            Event::Resolved(container) => Ok(self.resolved(container, now)),
            Event::ResolveFailed(retry_in) => Ok(self.resolve_failed(retry_in, now)),
            Event::Paused | Event::ContainerPaused => Ok(self.paused(now)),
            Event::PauseFailed(retry_in) => Ok(self.pause_failed(retry_in, now)),
            Event::Resumed => Ok(self.resumed(now)),
            Event::ResumeFailed => Ok(self.resume_failed()),
            Event::ContainerUnpaused => Ok(self.container_unpaused(now)),
            Event::Restarted => Ok(self.restarted(now)),
            Event::RestartFailed(retry_in) => Ok(self.restart_failed(retry_in, now)),
            Event::ContainerInterrupted => Ok(self.container_interrupted(now)),
            Event::ContainerRestarted => Ok(self.container_restarted(now)),
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

    // What users ask for.

    fn activity(&mut self, source: ActivitySource, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.note_activity(source, now);
        Ok(Effects::persist(Persist::Behind).used(source))
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
        self.extend(timeout.unwrap_or(self.state.policy.active_timeout), now);
        Ok(self.write_through().used(ActivitySource::Reuse))
    }

    fn heartbeat(&mut self, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.state.last_heartbeat = now.moment;
        Ok(Effects::NONE)
    }

    fn pause(&mut self) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Up(Up::Running) => {
                self.state.phase = Phase::Up(Up::Pausing);
                Ok(Effects::deed(Deed::Pause))
            }
            Phase::Up(Up::Restarting { .. }) => Err(self.wrong_state(RESTARTING)),
            _ => Err(self.wrong_state("only a running sandbox can be paused")),
        }
    }

    fn resume(&mut self) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Up(Up::Paused { since }) => {
                self.state.phase = Phase::Up(Up::Resuming { since });
                Ok(Effects::deed(Deed::Resume))
            }
            Phase::Up(Up::Restarting { .. }) => Err(self.wrong_state(RESTARTING)),
            _ => Err(self.wrong_state("only a paused sandbox can be resumed")),
        }
    }

    fn terminate(&mut self, reason: EndReason, now: Now) -> Result<Effects, Denied> {
        match self.state.phase {
            Phase::Gone(end) => Err(Denied::Gone { reason: end.reason }),
            // Asking twice is asking once.
            Phase::Ending(_) => Ok(Effects::NONE),
            Phase::Pending(_) | Phase::Up(_) => {
                let start_under_way = self.state.phase == Phase::Pending(Birth::Starting);
                Ok(self.begin_end(End::now(reason, now), start_under_way))
            }
        }
    }

    /// Checks and acts in one step: a use that was acknowledged before this keeps it, one that comes after is refused.
    fn creator_gone(&mut self, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        if self.is_starting() || self.is_used() {
            return Ok(Effects::NONE);
        }
        Ok(self.begin_end(End::now(EndReason::Requested, now), false))
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
                self.state.phase = Phase::Up(Up::Pausing);
                Effects::deed(Deed::Pause)
            }
            Action::Retry => self.retry(),
        }
    }

    pub(super) fn retry(&mut self) -> Effects {
        match &mut self.state.phase {
            Phase::Pending(birth @ Birth::ResolvingAgain { .. }) => {
                *birth = Birth::Resolving;
                Effects::deed(Deed::Resolve)
            }
            Phase::Up(Up::Restarting { retry: retry @ Some(_), .. }) => {
                *retry = None;
                Effects::deed(Deed::Restart)
            }
            Phase::Ending(ending) => {
                ending.step = Step::Removing;
                Effects::deed(Deed::Remove)
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

    // How deeds came out.

    fn recorded(&mut self, revision: u64) -> Effects {
        match &mut self.state.phase {
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
        match self.state.phase {
            Phase::Pending(Birth::Starting) => self.become_running(now),
            _ => self.start_is_over(),
        }
    }

    fn start_failed(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Pending(Birth::Starting) => self.begin_end(End::now(EndReason::StartFailed, now), false),
            _ => self.start_is_over(),
        }
    }

    /// The start that an end was waiting for has reported; whatever it left can be removed now.
    fn start_is_over(&mut self) -> Effects {
        let Phase::Ending(ending) = &mut self.state.phase else { return Effects::NONE };
        ending.start_under_way = false;
        if ending.step == Step::AwaitingStart {
            ending.step = Step::Removing;
            return Effects::deed(Deed::Remove);
        }
        Effects::NONE
    }

    fn resolved(&mut self, container: Container, now: Now) -> Effects {
        if !matches!(self.state.phase, Phase::Pending(Birth::Resolving)) {
            return Effects::NONE;
        }
        match container {
            Container::Running => self.become_running(now),
            Container::Paused => {
                self.state.phase = Phase::Up(Up::Paused { since: now.moment });
                self.write_through()
            }
            Container::Stopped(_) | Container::Missing => self.begin_end(End::now(EndReason::StartFailed, now), false),
        }
    }

    fn resolve_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Pending(birth @ Birth::Resolving) = &mut self.state.phase {
            *birth = Birth::ResolvingAgain { at: now.moment.plus(retry_in) };
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

    /// Thawed because somebody asked for it: use, and a whole active timeout, or a `pause` rule would freeze it again at
    /// once.
    pub(super) fn resumed(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Paused { .. } | Up::Resuming { .. }) => {
                self.state.phase = Phase::Up(Up::Running);
                self.note_activity(ActivitySource::Resume, now);
                self.extend(self.state.policy.active_timeout, now);
                self.state.last_heartbeat = now.moment;
                self.write_through().used(ActivitySource::Resume)
            }
            _ => Effects::NONE,
        }
    }

    fn resume_failed(&mut self) -> Effects {
        if let Phase::Up(Up::Resuming { since }) = self.state.phase {
            self.state.phase = Phase::Up(Up::Paused { since });
        }
        Effects::NONE
    }

    fn removed(&mut self) -> Effects {
        match &mut self.state.phase {
            Phase::Ending(ending) if ending.step == Step::Removing => {
                ending.step = Step::Burying;
                Effects::deed(Deed::Bury)
            }
            _ => Effects::NONE,
        }
    }

    fn remove_failed(&mut self, retry_in: Duration, now: Now) -> Effects {
        if let Phase::Ending(ending) = &mut self.state.phase
            && ending.step == Step::Removing
        {
            ending.attempts = ending.attempts.saturating_add(1);
            ending.step = Step::Waiting { until: now.moment.plus(retry_in) };
        }
        Effects::NONE
    }

    fn buried(&mut self) -> Effects {
        if let Phase::Ending(Ending { end, step: Step::Burying, .. }) = self.state.phase {
            self.state.phase = Phase::Gone(end);
        }
        Effects::NONE
    }

    // Steps that several events share.

    fn become_running(&mut self, now: Now) -> Effects {
        self.state.phase = Phase::Up(Up::Running);
        // Nobody could use it before: its whole idle timeout begins with the container.
        self.reset_idle_clock(now);
        self.extend(self.state.policy.active_timeout, now);
        self.state.last_heartbeat = now.moment;
        self.write_through()
    }

    pub(super) fn begin_end(&mut self, end: End, start_under_way: bool) -> Effects {
        self.state.revision += 1;
        let step = Step::Recording(self.state.revision);
        self.state.phase = Phase::Ending(Ending { end, step, start_under_way, attempts: 0 });
        let deed = start_under_way.then_some(Deed::CancelStart);
        Effects { persist: Persist::Through, deed, ended: Some(end), ..Effects::NONE }
    }

    pub(super) fn write_through(&mut self) -> Effects {
        self.state.revision += 1;
        Effects::persist(Persist::Through)
    }

    /// Turns the glass over, and remembers who did.
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

    fn must_be_alive(&self) -> Result<(), Denied> {
        match &self.state.phase {
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
