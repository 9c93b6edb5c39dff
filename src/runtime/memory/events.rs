//! Streams of events.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::futures::Notified;

use super::{Memory, Point, When};
use crate::{
    domain::EpochSeconds,
    ports::runtime::{ContainerEvent, RuntimeError},
};

/// The state of one stream.
struct Listener {
    memory: Memory,
    since: Option<EpochSeconds>,
    /// The number of the next event and the engine's run; `None` before the connection.
    next: Option<(u64, u64)>,
}

impl Memory {
    pub(super) fn listen(
        &self,
        since: Option<EpochSeconds>,
    ) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        let listener = Listener { memory: self.clone(), since, next: None };
        stream::unfold(Some(listener), |listener| async {
            let mut listener = listener?;
            Some(match listener.next().await {
                Ok(event) => (Ok(event), Some(listener)),
                Err(error) => (Err(error), None),
            })
        })
        .boxed()
    }
}

impl Listener {
    async fn next(&mut self) -> Result<ContainerEvent, RuntimeError> {
        let (next, run) = match self.next {
            Some(place) => place,
            None => self.memory.step(Point::Events, None, |all| Ok((all.log.position(self.since), all.run()))).await?,
        };
        self.next = Some((next, run));
        let happened = Arc::clone(&self.memory.containers().log.happened);
        loop {
            // Registered before the checks, so that no change between is missed.
            let woken: (Notified<'_>, Notified<'_>) = (happened.notified(), self.memory.faults().changed());
            self.memory.faults().pass(Point::Events, When::After).await?;
            let event = {
                let containers = self.memory.containers();
                if containers.run() != run {
                    return Err(RuntimeError::Unreachable("the engine has gone".to_owned()));
                }
                containers.log.get(next)?
            };
            if let Some(event) = event {
                self.next = Some((next + 1, run));
                return Ok(event);
            }
            tokio::select! {
                () = woken.0 => {}
                () = woken.1 => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::{advance, timeout};

    use super::{super::log::REMEMBERED, *};
    use crate::{
        domain::{SandboxId, sandbox::Container as State},
        ports::runtime::{ContainerEventKind as Kind, ContainerRef, Labels, Owner, Runtime},
    };

    fn put(memory: &Memory) -> SandboxId {
        let sandbox = SandboxId::generate();
        let owner = ContainerRef::by_labels(sandbox.clone(), Owner::Sandglass);
        memory.put(&owner, sandbox.as_str(), Labels::default(), State::Running);
        sandbox
    }

    fn lost() -> RuntimeError {
        RuntimeError::Unreachable("lost".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn everything_by_hand_is_told_with_the_time_it_happened_at() {
        let memory = Memory::new();
        let mut events = memory.events(Some(0.0));
        let sandbox = put(&memory);
        let deeds: [&dyn Fn() -> bool; 6] = [
            &|| memory.set_state(&sandbox, State::Paused),
            &|| memory.set_state(&sandbox, State::Running),
            &|| memory.exit(&sandbox, 3),
            &|| memory.set_state(&sandbox, State::Running),
            &|| memory.exhaust_memory(&sandbox),
            &|| memory.vanish(&sandbox),
        ];
        for deed in deeds {
            advance(Duration::from_secs(1)).await;
            assert!(deed());
        }
        let began = events.next().await.unwrap().unwrap().at;
        for (after, kind) in [
            (1.0, Kind::Paused),
            (2.0, Kind::Unpaused),
            (3.0, Kind::Died { exit_code: Some(3) }),
            (4.0, Kind::Started),
            (5.0, Kind::OutOfMemory),
            (5.0, Kind::Died { exit_code: Some(137) }),
            (6.0, Kind::Destroyed),
        ] {
            let event = events.next().await.unwrap().unwrap();
            assert_eq!((event.at - began, event.kind, event.container.sandbox), (after, kind, sandbox.clone()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_breaks_the_silence_and_a_hang_makes_it() {
        let memory = Memory::new();
        memory.fail_next(Point::Events, When::Before, 1, lost());
        let mut refused = memory.events(None);
        assert_eq!((refused.next().await, refused.next().await), (Some(Err(lost())), None));
        let mut events = memory.events(None);
        assert!(events.next().now_or_never().is_none(), "it is connected, and idle");
        memory.hang(Point::Events, When::After);
        put(&memory);
        assert!(timeout(Duration::from_secs(3600), events.next()).await.is_err(), "it hangs");
        memory.heal(Point::Events);
        assert!(matches!(events.next().await, Some(Ok(_))), "nothing was lost");
        let (item, ()) = tokio::join!(events.next(), async {
            memory.fail_next(Point::Events, When::After, 1, lost());
        });
        assert_eq!((item, events.next().await), (Some(Err(lost())), None));
        assert_eq!(memory.count(Point::Events), 2, "each stream connects once");
    }

    #[tokio::test]
    async fn who_falls_too_far_behind_is_told_so_and_the_log_stays_bounded() {
        let memory = Memory::new();
        let mut events = memory.events(None);
        assert!(events.next().now_or_never().is_none());
        for _ in 0..=REMEMBERED {
            put(&memory);
        }
        assert!(matches!(events.next().await, Some(Err(RuntimeError::Failed(_)))));
        assert_eq!(memory.events(Some(0.0)).take(REMEMBERED).count().await, REMEMBERED);
        assert_eq!(memory.containers().log.events.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn a_list_that_fails_is_no_empty_list() {
        let memory = Memory::new();
        put(&memory);
        memory.fail_next(Point::List, When::After, 1, lost());
        assert_eq!(memory.list().await, Err(lost()));
        assert_eq!(memory.list().await.map(|all| all.len()), Ok(1));
    }
}
