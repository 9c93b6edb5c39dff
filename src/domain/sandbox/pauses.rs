//! The laws of the active timeout of sandboxes that are paused and resumed.

use std::time::Duration;

use super::{
    super::words::{EndReason, OnTimeout, Status},
    laws::{at, running},
    *,
};

#[test]
fn a_timeout_that_stands_still_while_it_is_paused_ends_nothing_until_it_runs_again() {
    let mut life = running(OnTimeout::TerminateUnlessPaused);
    life.apply(Event::Pause, at(10.0)).unwrap();
    life.apply(Event::Paused, at(10.0)).unwrap();
    assert_eq!((life.terminates_at(), life.next_action()), (None, None));
    life.apply(Event::TimerFired, at(1e6)).unwrap();
    assert_eq!(life.status(), Status::Paused);
    // Thawed by hand, it has the time that was left; resumed, a whole timeout.
    let mut thawed = life.clone();
    thawed.apply(Event::ContainerUnpaused, at(1e6)).unwrap();
    assert_eq!(thawed.expires_at(), at(1e6 + 50.0).moment);
    life.apply(Event::Resume(None), at(1e6)).unwrap();
    life.apply(Event::Resumed, at(1e6)).unwrap();
    assert_eq!(life.expires_at(), at(1e6 + 60.0).moment);
    let ended = life.apply(Event::TimerFired, at(1e6 + 60.0)).unwrap().ended.unwrap();
    assert_eq!(ended.reason, EndReason::Expired);
}

#[test]
fn a_resume_brings_the_timeout_that_was_asked_for_and_never_shortens_one_that_was_promised() {
    for (asked, promised, expected) in [(None, 5, 160.0), (Some(30), 5, 130.0), (Some(30), 500, 600.0)] {
        let mut life = running(OnTimeout::Pause);
        life.apply(Event::Pause, at(10.0)).unwrap();
        life.apply(Event::Paused, at(10.0)).unwrap();
        life.apply(Event::Resume(asked.map(Duration::from_secs)), at(100.0)).unwrap();
        life.apply(Event::KeepAlive(Duration::from_secs(promised)), at(100.0)).unwrap();
        life.apply(Event::Resumed, at(100.0)).unwrap();
        assert_eq!(life.expires_at(), at(expected).moment, "{asked:?}");
    }
}
