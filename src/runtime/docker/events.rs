//! Streams events of this supervisor's containers ([design: events](crate::design::engine::events)).

use std::collections::HashMap;

use bollard::{models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures_util::{StreamExt, future::ready, stream::BoxStream};

use super::Docker;
use crate::{
    domain::EpochSeconds,
    ports::runtime::{ContainerEvent, ContainerEventKind as Kind, RuntimeError},
};

const MICROS_PER_SECOND: i64 = 1_000_000;

impl Docker {
    /// Opens one stream for both owners' containers and compares the labels here. Engines cannot filter for "these labels or
    /// those", and two streams could break at different positions, so that no single time would tell where to resume.
    pub(super) fn event_stream(
        &self,
        since: Option<EpochSeconds>,
    ) -> BoxStream<'static, Result<ContainerEvent, RuntimeError>> {
        let actions = ["start", "pause", "unpause", "oom", "die", "destroy"];
        let filters = HashMap::from([("type", vec!["container"]), ("event", actions.to_vec())]);
        let mut options = EventsOptionsBuilder::default().filters(&filters);
        if let Some(since) = since {
            options = options.since(&timestamp(since));
        }
        let options = options.build();
        let messages = self.engine.clone().stream(move |client| client.events(Some(options)));
        let docker = self.clone();
        messages
            .filter_map(move |message| {
                ready(match message {
                    Ok(message) => docker.event(message).map(Ok),
                    Err(error) => Some(Err(error.during("read the engine's events"))),
                })
            })
            .boxed()
    }

    /// Converts an event that is about one of this supervisor's containers.
    fn event(&self, message: EventMessage) -> Option<ContainerEvent> {
        let actor = message.actor?;
        // They include the container's labels.
        let attributes = actor.attributes.unwrap_or_default();
        let kind = match message.action.as_deref()? {
            "start" => Kind::Started,
            "pause" => Kind::Paused,
            "unpause" => Kind::Unpaused,
            "oom" => Kind::OutOfMemory,
            "die" => Kind::Died { exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()) },
            "destroy" => Kind::Destroyed,
            _ => return None,
        };
        let identity = self.engine.identity();
        let container = identity.claim(actor.id.as_deref()?, &attributes)?;
        let name = attributes.get("name").map(String::as_str).unwrap_or_default();
        let stranger = identity.stranger(&container, name, &attributes);
        Some(ContainerEvent { at: at(message.time_nano, message.time)?, container, kind, stranger })
    }
}

/// The event's time, rounded down to whole microseconds, which survive the conversion to a float and back. A time after the
/// event would make a resumed stream miss it.
fn at(nanos: Option<i64>, seconds: Option<i64>) -> Option<EpochSeconds> {
    let whole = || seconds.map(|seconds| seconds.saturating_mul(MICROS_PER_SECOND));
    let micros = nanos.map(|nanos| nanos.div_euclid(1000)).or_else(whole)?;
    Some(micros as f64 / MICROS_PER_SECOND as f64)
}

/// Formats a time for the engine: seconds and nine digits of nanoseconds.
fn timestamp(at: EpochSeconds) -> String {
    let micros = ((at * MICROS_PER_SECOND as f64).round() as i64).max(0);
    format!("{}.{:06}000", micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn resuming_from_an_events_time_never_misses_that_event(nanos in 0_i64..4_000_000_000_000_000_000) {
            let text = timestamp(at(Some(nanos), None).unwrap());
            let (seconds, fraction) = text.split_once('.').unwrap();
            assert_eq!(fraction.len(), 9);
            let since = seconds.parse::<i64>().unwrap() * 1_000_000_000 + fraction.parse::<i64>().unwrap();
            assert!(since <= nanos && nanos - since < 1000, "{since} for {nanos}");
        }
    }

    #[test]
    fn any_time_becomes_one_that_the_engine_takes() {
        for (at, text) in [
            (0.0, "0.000000000"),
            (-5.0, "0.000000000"),
            (f64::NAN, "0.000000000"),
            (1_795_441_217.506_918, "1795441217.506918000"),
        ] {
            assert_eq!(timestamp(at), text);
        }
        assert!(timestamp(f64::INFINITY).len() <= "9223372036854.775807000".len());
    }
}
