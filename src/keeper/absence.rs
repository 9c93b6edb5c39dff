//! The grace and the slack of restored sandboxes, which depend on how and how long ago the last supervisor stopped.

use std::time::Duration;

use crate::{
    domain::{Moment, Now, restore::Fallbacks},
    ports::store::LastStop,
};

/// Added to the time without answers: a client takes a moment to notice that it is answered again.
const MARGIN: Duration = Duration::from_millis(250);

/// The time in which nobody could ping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    pub(super) last_stop: LastStop,
    /// When the store reported that stop.
    pub(super) known_at: Moment,
    /// How much of the grace was used up by runs that did not outlive it.
    pub(super) grace_spent: Duration,
}

impl Absence {
    /// The fallbacks for what is restored `now`. A clean stop loses nothing, and clients get as much time as they were not
    /// answered; after any other stop, `whole` applies.
    pub(super) fn fit(self, whole: Fallbacks, now: Now) -> Fallbacks {
        let whole = self.with_what_is_left(whole);
        let LastStop::Clean { ago } = self.last_stop else { return whole };
        let away = ago.saturating_add(now.moment.since(self.known_at));
        let answered = now.moment.plus(away.saturating_add(MARGIN));
        Fallbacks { idle_slack: None, not_before: whole.not_before.min(answered), ..whole }
    }

    /// `whole` with what is left of the grace.
    pub(super) fn with_what_is_left(self, whole: Fallbacks) -> Fallbacks {
        Fallbacks { not_before: whole.not_before.minus(self.grace_spent).max(self.known_at), ..whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{OnTimeout, Rules};

    const STARTED: Moment = Moment::from_nanos(1_000_000_000_000);
    const GRACE: Duration = Duration::from_secs(60);

    /// How long after the start deadlines may act, and the slack.
    fn fit(last_stop: LastStop, loaded_after: Duration, grace_spent: Duration) -> (Duration, Option<Duration>) {
        let whole = Fallbacks {
            rules: Rules::new(GRACE, OnTimeout::Deactivate),
            legacy_ttl: GRACE,
            idle_slack: Some(Duration::from_secs(1)),
            not_before: STARTED.plus(GRACE),
        };
        let now = Now { moment: STARTED.plus(loaded_after), epoch_offset: 0 };
        let fit = Absence { last_stop, known_at: STARTED, grace_spent }.fit(whole, now);
        (fit.not_before.since(STARTED), fit.idle_slack)
    }

    #[test]
    fn after_a_clean_stop_clients_get_as_long_as_they_were_not_answered() {
        let second = Duration::from_secs(1);
        let clean = |seconds| LastStop::Clean { ago: second * seconds };
        assert_eq!(fit(clean(2), Duration::ZERO, Duration::ZERO), (second * 2 + MARGIN, None));
        // What is restored later was away for longer, and begins later.
        assert_eq!(fit(clean(2), second * 3, Duration::ZERO), (second * 8 + MARGIN, None));
        assert_eq!(fit(clean(3600), Duration::ZERO, Duration::ZERO), (GRACE, None));
        assert_eq!(fit(LastStop::Clean { ago: Duration::MAX }, second, Duration::ZERO), (GRACE, None));
        assert_eq!(fit(LastStop::Unclean, second * 3, Duration::ZERO), (GRACE, Some(second)));
    }

    #[test]
    fn runs_that_did_not_outlive_the_grace_have_used_it_up() {
        let second = Duration::from_secs(1);
        let left = |spent| fit(LastStop::Unclean, Duration::ZERO, second * spent);
        assert_eq!(left(45), (second * 15, Some(second)));
        assert_eq!(left(60), (Duration::ZERO, Some(second)));
        assert_eq!(left(3600), (Duration::ZERO, Some(second)));
        let clean = LastStop::Clean { ago: second * 30 };
        assert_eq!(fit(clean, Duration::ZERO, second * 45), (second * 15, None));
    }
}
