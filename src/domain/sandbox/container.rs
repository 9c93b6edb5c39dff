//! What happens to the container without the machine's having asked for it: it ended, somebody froze, thawed or restarted
//! it, or its engine went away with it. None of this is use, so that no clock moves; one that stood still goes on.

use std::time::Duration;

use super::{
    super::{
        fields::Fields,
        time::{Moment, Now},
        words::EndReason,
    },
    effects::{Change, Denied, Effects, End, EngineCall, Persist},
    event::{RestartFailure, Started},
    state::{Phase, Sandbox, Up},
};

/// The exit code of a process that SIGKILL ended, as the kernel sends it for want of memory.
const KILLED: i64 = 137;

/// So many restarts that the engine refuses in a row are taken for its last word. They take minutes: after a boot, what a
/// container needs may come later than the engine, such as a disk that is mounted.
const MOST_RESTARTS: u32 = 10;

impl Sandbox {
    /// The container ended without us. While it is being started, the start itself finds out and reports.
    pub(super) fn container_ended(&mut self, reason: EndReason, exit_code: Option<i64>, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(_) => self.begin_end(End { exit_code, ..End::now(reason, now) }, false),
            Phase::Pending(_) | Phase::Ending(_) | Phase::Gone(_) => Effects::NONE,
        }
    }

    /// A child of it that the kernel killed did not end it: only the main process's own end has the code of that.
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

    /// Thawed by hand, perhaps only by the end of a commit: not use, so that no clock moves but for the time in which it
    /// stood still. By whatever way it was asked for, a resume that is under way is done.
    pub(super) fn container_unpaused(&mut self, now: Now) -> Effects {
        match self.state.phase {
            Phase::Up(Up::Resuming { .. }) => self.resumed(now),
            Phase::Up(Up::Paused { since }) => self.thawed_by_hand(since, now),
            _ => Effects::NONE,
        }
    }

    fn thawed_by_hand(&mut self, since: Moment, now: Now) -> Effects {
        // The `pause` rule froze it, since its active timeout had passed. A thaw by hand must not be undone at once.
        if since >= self.state.expires_at {
            self.state.pause_not_before = now.moment.plus(self.rules().active_timeout());
        }
        self.run_again(since, now)
    }

    /// It runs again, and nobody could use it since then.
    fn run_again(&mut self, since: Moment, now: Now) -> Effects {
        self.state.phase = Phase::Up(Up::Running);
        self.stood_still(since, now);
        self.state.last_heartbeat = now.moment;
        self.write_through()
    }

    pub(super) fn container_interrupted(&mut self, now: Now) -> Effects {
        let frozen = match self.state.phase {
            Phase::Up(Up::Running | Up::Pausing) => None,
            Phase::Up(Up::Paused { since } | Up::Resuming { since }) => Some(since),
            _ => return Effects::NONE,
        };
        // Nothing is written: after a crash, the next comparison finds the container stopped, too.
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
            // Right after a start the engine may still be finding its containers.
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

    /// The same words again change nothing, so that nothing is told.
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
            Phase::Up(Up::Paused { since } | Up::Resuming { since }) => {
                self.thawed_by_hand(since, now).tell(Change::Restarted)
            }
            // What its own restart finds is told when that is done; one that waits to be tried again is tried now.
            Phase::Up(Up::Restarting { .. }) => self.retry(),
            _ => {
                self.state.last_heartbeat = now.moment;
                self.write_through().tell(Change::Restarted)
            }
        }
    }

    /// What a restart finds is told when it is done.
    pub(super) fn container_found(&mut self, started: Started) -> Effects {
        if self.up().is_some() && !self.is_restarting() && self.is_at(started) {
            return Effects::persist(Persist::Through);
        }
        Effects::NONE
    }

    /// It runs since now, and is reached there.
    fn runs_at(&mut self, started: Started, now: Now) {
        self.is_at(started);
        self.details_mut().started_at = Some(now.wall());
    }

    /// Takes over where it is reached. Whether that is news.
    fn is_at(&mut self, started: Started) -> bool {
        let known = &self.details;
        let (ports, base_url) = (Fields::from(started.ports), started.base_url.map(Into::into));
        let moved = known.ports != ports;
        // The reference system tells no ports, and an address of its own choice: it holds as long as no port moves.
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

    /// The container's engine was away, so that no heartbeat could be expected of it: it has a whole timeout for the next.
    pub(super) fn heartbeat_excused(&mut self, now: Now) -> Effects {
        if self.up().is_some() {
            self.state.last_heartbeat = now.moment;
        }
        Effects::NONE
    }

    /// The idle clock stood still since then: it goes on with the time that it had left. Use meanwhile has set it anew.
    fn stood_still(&mut self, since: Moment, now: Now) {
        // A hold that is over by now was use until then, whether or not the timer has seen that.
        self.drop_holds(now);
        let still = now.moment.since(since.max(self.state.last_activity));
        self.state.last_activity = self.state.last_activity.plus(still);
    }
}
