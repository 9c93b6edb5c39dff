//! What clients were promised, and the judgement of everything that happens.

use std::collections::BTreeMap;

use sandglass::{
    config::Settings,
    domain::{EndReason, Sandbox},
};

use super::life::{Birth, Life, ROUNDING, reason_of};

/// How long after an outage everything in memory is certain to be in the store.
const CATCH_UP: f64 = 5.0;

/// The model: a life for each id that was ever requested.
pub(crate) struct Model {
    lives: BTreeMap<String, Life>,
    flush_interval: f64,
    restart_grace: f64,
    /// When the current supervisor began.
    started: f64,
    /// Until when a crash may lose acknowledgements that are only in memory.
    store_ill_until: f64,
    /// A description of everything that happened.
    pub(crate) told: Vec<String>,
    /// What should not have happened.
    pub(crate) violations: Vec<String>,
}

impl Model {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            lives: BTreeMap::new(),
            flush_interval: settings.store.flush_interval.as_secs_f64(),
            restart_grace: settings.lifecycle.restart_grace.as_secs_f64(),
            started: 0.0,
            store_ill_until: 0.0,
            told: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Panics with the whole history if anything happened that should not have.
    pub(crate) fn must_be_clean(&self, which: impl FnOnce() -> String) {
        if !self.violations.is_empty() {
            panic!("{}\n{}\n{}", self.told.join("\n"), which(), self.violations.join("\n"));
        }
    }

    pub(crate) fn tell(&mut self, now: f64, what: &str) {
        self.told.push(format!("{:9.3} {what}", now - 1_800_000_000.0));
    }

    pub(crate) fn violated(&mut self, now: f64, what: &str) {
        self.tell(now, &format!("VIOLATION: {what}"));
        self.violations.push(what.to_owned());
    }

    /// Notes that a call passes a failure point.
    pub(crate) fn passage(&mut self, now: f64, what: &str, burnt: bool) {
        let end = if burnt { ", and that is the last thing it does" } else { "" };
        self.tell(now, &format!("    {what}{end}"));
    }

    pub(crate) fn starts(&mut self, now: f64) {
        self.started = now;
        self.tell(now, "a supervisor starts");
    }

    /// Notes a crash, which loses what was acknowledged during an outage of the store.
    pub(crate) fn crashed(&mut self, now: f64) {
        self.tell(now, "the supervisor is dead");
        let ill = !self.is_well(now);
        for life in self.lives.values_mut() {
            life.unsure |= std::mem::take(&mut life.awaited);
            if ill {
                life.held = life.firm;
                life.unsure = true;
            } else {
                life.firm = life.held;
            }
        }
    }

    /// Notes a clean stop, after which everything is written.
    pub(crate) fn stopped(&mut self, now: f64) {
        self.tell(now, "the supervisor has stopped");
        for life in self.lives.values_mut() {
            life.unsure |= std::mem::take(&mut life.awaited);
            life.firm = life.held;
        }
    }

    /// Notes that the store may refuse writes from now on.
    pub(crate) fn store_falls_ill(&mut self) {
        self.store_ill_until = f64::INFINITY;
    }

    pub(crate) fn store_recovers(&mut self, now: f64) {
        self.store_ill_until = self.store_ill_until.min(now + CATCH_UP);
    }

    pub(crate) fn is_well(&self, now: f64) -> bool {
        now > self.store_ill_until
    }

    pub(crate) fn life(&mut self, id: &str) -> Option<&mut Life> {
        self.lives.get_mut(id)
    }

    pub(crate) fn begin(&mut self, id: &str, life: Life) {
        self.lives.insert(id.to_owned(), life);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lives.keys().cloned().collect()
    }

    /// Notes that a container does not run.
    pub(crate) fn container_has_ended(&mut self, id: &str, now: f64) {
        if let Some(objection) = self.lives.get(id).and_then(|life| life.container_objection(now)) {
            self.violated(now, &format!("{id}: {objection}"));
        }
    }

    /// Judges an answer that a sandbox is ending or has ended.
    pub(crate) fn told_ending(&mut self, id: &str, reason: EndReason, at: f64, gone: bool, now: f64) {
        let Some(life) = self.lives.get_mut(id) else { return };
        let objection = life.objection(reason, at);
        if gone {
            let before = life.gone.replace(reason);
            if before.is_some_and(|before| before != reason) {
                self.violated(now, &format!("{id}: it was gone for {before:?}, and now for {reason}"));
            }
        }
        if let Some(objection) = objection {
            self.violated(now, &format!("{id}: {objection}"));
        }
    }

    /// Judges an answer that a sandbox lives.
    pub(crate) fn told_alive(&mut self, id: &str, now: f64) {
        let Some(life) = self.lives.get(id) else { return };
        if let Some(reason) = life.gone {
            self.violated(now, &format!("{id}: it was gone ({reason}), and lives again"));
        } else if life.held.end {
            self.violated(now, &format!("{id}: its end was acknowledged, and it lives"));
        }
    }

    /// Judges an answer that a sandbox is unknown.
    pub(crate) fn told_unknown(&mut self, id: &str, now: f64) {
        match self.lives.get(id).map(|life| life.birth) {
            Some(Birth::Confirmed) => self.violated(now, &format!("{id}: it is forgotten")),
            _ => _ = self.lives.remove(id),
        }
    }

    /// Compares a sandbox with what was promised, long after the last crash, with everything healed.
    pub(crate) fn judge(&mut self, id: &str, sandbox: &Sandbox, idle_deadline: Option<f64>, now: f64) {
        let at = |life: &Life, deadline: f64| {
            let early = life.held.idle.min(f64::MAX) - deadline;
            let restart = self.started + self.restart_grace;
            let unsure = life.unsure || life.pause_asked;
            let used = if unsure { now.max(life.last_hold) } else { life.in_use_until() };
            let last = used + life.idle_timeout + self.flush_interval;
            let last = if unsure { last } else { last.max(restart) };
            if early > ROUNDING && life.held.idle.is_finite() {
                Some(format!("its deadline is {early:.3} s before the promised one"))
            } else if deadline > last + ROUNDING {
                Some(format!("its deadline is {:.3} s late", deadline - last))
            } else {
                None
            }
        };
        let Some(life) = self.lives.get(id) else { return };
        let problem = match reason_of(sandbox) {
            Some(_) => return,
            None if life.birth == Birth::Refused => Some("its create was refused, and it lives".to_owned()),
            None => idle_deadline.and_then(|deadline| at(life, deadline)),
        };
        if let Some(problem) = problem {
            self.violated(now, &format!("{id}: {problem}"));
        }
    }
}
