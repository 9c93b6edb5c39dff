//! Changes of the container that the machine did not ask for: it ended, was frozen, thawed or restarted by hand, or stopped
//! with its engine. None of these counts as use, so no clock is reset. A clock that stood still continues.

use std::time::Duration;

use super::{
    super::{
        fields::Fields,
        time::{Moment, Now},
        words::{EndReason, OnTimeout},
    },
    effects::{Change, Denied, Effects, End, EngineCall, Persist},
    event::{RestartFailure, Started},
    state::{Phase, Sandbox, Up},
};

/// The exit code of a process that was ended by SIGKILL, which the kernel sends when memory runs out.
const KILLED: i64 = 137;

/// After this many refused restarts in a row, the sandbox fails. The attempts take minutes, because after a boot the engine
/// can be up before what the container needs, such as a mounted disk.
const MOST_RESTARTS: u32 = 10;

impl Sandbox {
    /// The container ended by itself. During a start, the start itself reports this.
    pub(super) fn container_ended(&mut self, reason: EndReason, exit_code: Option<i64>, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(_) => self.begin_end(End { exit_code, ..End::now(reason, now) }, false),
            Phase::Pending(_) | Phase::Ending(_) | Phase::Gone(_) => Effects::NONE,
        }
    }

    /// If the kernel killed another process of the container than the main one, that did not end it. The exit code tells
    /// the two apart.
    pub(super) fn container_exited(
        &mut self,
        code: Option<i64>,
        oom_killed: bool,
        last_output: Option<Box<str>>,
        now: Now,
    ) -> Effects {
        if self.up().is_some() && last_output.is_some() {
            self.details_mut().last_output = last_output;
        }
        let reason = if oom_killed && code == Some(KILLED) { EndReason::OomKilled } else { EndReason::Exited };
        self.container_ended(reason, code, now)
    }

    pub(super) fn container_missing(&mut self, now: Now) -> Effects {
        if now.moment < self.state.not_before {
            return Effects::NONE;
        }
        self.container_ended(EndReason::Vanished, None, now)
    }

    /// The container was thawed by hand or at the end of a commit. This is not use: the clock only leaves out the time in
    /// which it stood still. If a resume is under way, it is done.
    pub(super) fn container_unpaused(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Resuming { .. }) => self.resumed(now),
            Phase::Up(Up::Paused { since }) => self.thawed_by_hand(since, now),
            _ => Effects::NONE,
        }
    }

    fn thawed_by_hand(&mut self, since: Moment, now: Now) -> Effects {
        // The `pause` rule froze it because its active timeout had passed, and must not freeze it again at once.
        if since >= self.state.expires_at {
            self.state.pause_not_before = now.moment.plus(self.rules().active_timeout());
        }
        if self.rules().on_timeout() == OnTimeout::TerminateUnlessPaused {
            self.state.expires_at = self.state.expires_at.plus(now.moment.since(since));
        }
        self.run_again(since, now)
    }

    /// It runs again after clients could not use it since `since`.
    fn run_again(&mut self, since: Moment, now: Now) -> Effects {
        self.state.phase = Phase::Up(Up::Running);
        self.stood_still(since, now);
        self.state.last_heartbeat = now.moment;
        self.write_through()
    }

    pub(super) fn container_interrupted(&mut self, now: Now) -> Effects {
        let frozen = match self.state.phase {
            Phase::Up(Up::Running | Up::Pausing) => None,
            Phase::Up(Up::Paused { since } | Up::Resuming { since, .. }) => Some(since),
            _ => return Effects::NONE,
        };
        // Nothing is written, because after a crash the next reconcile finds the container stopped as well.
        self.state.phase = Phase::Up(Up::Restarting { since: now.moment, frozen, retry: None });
        Effects::call(EngineCall::Restart)
    }

    pub(super) fn restarted(&mut self, started: Started, now: Now) -> Effects {
        let Phase::Up(Up::Restarting { since, frozen, .. }) = self.state.phase else { return Effects::NONE };
        self.state.failures = 0;
        self.details_mut().engine_error = None;
        self.runs_at(started, now);
        let effects = match frozen {
            None => self.run_again(since, now),
            Some(since) => {
                self.state.phase = Phase::Up(Up::Paused { since });
                self.write_through()
            }
        };
        effects.tell(Change::Restarted)
    }

    pub(super) fn restart_failed(&mut self, failure: RestartFailure, retry_in: Duration, now: Now) -> Effects {
        let Phase::Up(Up::Restarting { retry, .. }) = &mut self.state.phase else { return Effects::NONE };
        let again = Some(now.moment.plus(retry_in));
        match failure {
            // Right after its start, the engine may not have found all of its containers yet.
            RestartFailure::Missing if now.moment < self.state.not_before => *retry = again,
            RestartFailure::Missing => return self.container_ended(EndReason::Vanished, None, now),
            RestartFailure::Away(why) => {
                *retry = again;
                self.note_engine_error(why);
            }
            RestartFailure::Refused(why) if self.state.failures + 1 < MOST_RESTARTS => {
                *retry = again;
                self.state.failures += 1;
                self.note_engine_error(why);
            }
            RestartFailure::Refused(why) => {
                let problem = format!("its container had stopped, and could not be started again: {why}");
                self.details_mut().error_message = Some(problem.into());
                return self.container_ended(EndReason::Exited, None, now);
            }
        }
        Effects::NONE
    }

    /// The same error again changes nothing, so watchers are not told.
    fn note_engine_error(&mut self, why: Box<str>) {
        if self.details.engine_error.as_ref() != Some(&why) {
            self.details_mut().engine_error = Some(why);
        }
    }

    pub(super) fn container_restarted(&mut self, started: Started, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Restarting { .. }) => {}
            Phase::Up(_) => self.runs_at(started, now),
            _ => return Effects::NONE,
        }
        match self.state.phase {
            Phase::Up(Up::Paused { since } | Up::Resuming { since, .. }) => {
                self.thawed_by_hand(since, now).tell(Change::Restarted)
            }
            // A restart that is under way reports its own findings. One that waits for its retry is retried now.
            Phase::Up(Up::Restarting { .. }) => self.retry(),
            _ => {
                self.state.last_heartbeat = now.moment;
                self.write_through().tell(Change::Restarted)
            }
        }
    }

    /// A restart reports its findings when it is done.
    pub(super) fn container_found(&mut self, started: Started) -> Effects {
        if self.up().is_some() && !self.is_restarting() && self.is_at(started) {
            return Effects::persist(Persist::Through);
        }
        Effects::NONE
    }

    /// Notes that it runs from now on and where its ports are.
    fn runs_at(&mut self, started: Started, now: Now) {
        self.is_at(started);
        self.details_mut().started_at = Some(now.wall());
    }

    /// Takes over the container's addresses. Returns whether they changed.
    fn is_at(&mut self, started: Started) -> bool {
        let known = &self.details;
        let (ports, base_url) = (Fields::from(started.ports), started.base_url.map(Into::into));
        let moved = known.ports != ports;
        // The reference system records no ports, and an address that it chose: keep that address as long as no port moves.
        let base_url = match &known.base_url {
            Some(own) if known.taken_over && (known.ports.is_empty() || !moved) => Some(own.clone()),
            _ => base_url,
        };
        let news = moved || known.base_url != base_url;
        if news {
            let details = self.details_mut();
            (details.ports, details.base_url) = (ports, base_url);
        }
        news
    }

    pub(super) fn heartbeat(&mut self, now: Now) -> Result<Effects, Denied> {
        self.must_be_alive()?;
        self.state.last_heartbeat = now.moment;
        Ok(Effects::NONE)
    }

    /// Gives it a whole heartbeat timeout, since it could not send heartbeats while its engine was away.
    pub(super) fn heartbeat_excused(&mut self, now: Now) -> Effects {
        if self.up().is_some() {
            self.state.last_heartbeat = now.moment;
        }
        Effects::NONE
    }

    /// Continues the idle clock with the time that was left when it stopped. Use in the meantime has reset it.
    fn stood_still(&mut self, since: Moment, now: Now) {
        // A hold that is over by now was use until its end, even if the timer has not fired for it yet.
        self.drop_holds(now);
        let still = now.moment.since(since.max(self.state.last_activity));
        self.state.last_activity = self.state.last_activity.plus(still);
    }
}
