//! What a container's labels tell of its sandbox ([design: labels](crate::design::engine::labels)), as text: one codec
//! for all engines.

use std::{collections::HashMap, time::Duration};

use crate::{
    domain::{OnTimeout, spec::Readiness},
    ports::runtime::{Labels, Owner},
};

/// Labels as an engine keeps them.
pub(super) type LabelMap = HashMap<String, String>;

/// A label to write; one without a value is written empty.
pub(super) type Pair = (&'static str, Option<String>);

const CREATED_AT: &str = "sandglass.created_at";
const TEMPLATE: &str = "sandglass.template";
const IDLE_TIMEOUT: &str = "sandglass.idle_timeout";
const ACTIVE_TIMEOUT: &str = "sandglass.active_timeout";
const PAUSED_TIMEOUT: &str = "sandglass.paused_timeout";
const HEARTBEAT_TIMEOUT: &str = "sandglass.heartbeat_timeout";
const ON_TIMEOUT: &str = "sandglass.on_timeout";
/// `tcp:PORT` or `http:PORT:PATH`; empty on one that is ready as soon as it runs.
const READY: &str = "sandglass.ready";
const READY_TIMEOUT: &str = "sandglass.ready_timeout";

const NO_TIMEOUT: &str = "none";

/// The pairs that [`read`] understands.
pub(super) fn write(labels: Labels) -> impl Iterator<Item = Pair> {
    let policy = write_policy(&labels);
    let pairs = [
        (CREATED_AT, labels.created_at.map(|at| at.to_string())),
        (TEMPLATE, labels.template),
        (READY, labels.readiness.as_ref().and_then(readiness_label)),
        (READY_TIMEOUT, labels.ready_timeout.map(seconds)),
    ];
    pairs.into_iter().chain(policy)
}

/// What the labels of a container of `owner` tell; the reference system's tell nothing. A label that does not parse counts
/// as missing: the configuration's value then applies, while a guess might end a sandbox early.
pub(super) fn read(owner: &Owner, labels: &LabelMap) -> Labels {
    if *owner != Owner::Sandglass {
        return Labels::default();
    }
    let get = |key: &str| labels.get(key).map(String::as_str);
    Labels {
        created_at: get(CREATED_AT).and_then(|text| text.parse().ok()).filter(|at: &f64| at.is_finite()),
        template: get(TEMPLATE).filter(|name| !name.is_empty()).map(str::to_owned),
        readiness: get(READY).and_then(readiness),
        ready_timeout: get(READY_TIMEOUT).and_then(duration),
        ..read_policy(labels)
    }
}

fn write_policy(labels: &Labels) -> [Pair; 5] {
    [
        (IDLE_TIMEOUT, labels.idle_timeout.map(|timeout| timeout.map_or(NO_TIMEOUT.to_owned(), seconds))),
        (ACTIVE_TIMEOUT, labels.active_timeout.map(seconds)),
        (PAUSED_TIMEOUT, labels.paused_timeout.map(seconds)),
        (HEARTBEAT_TIMEOUT, labels.heartbeat_timeout.map(seconds)),
        (ON_TIMEOUT, labels.on_timeout.map(|rule| rule.as_str().to_owned())),
    ]
}

fn read_policy(labels: &LabelMap) -> Labels {
    let get = |key: &str| labels.get(key).map(String::as_str);
    Labels {
        idle_timeout: match get(IDLE_TIMEOUT) {
            Some(NO_TIMEOUT) => Some(None),
            other => other.and_then(duration).map(Some),
        },
        active_timeout: get(ACTIVE_TIMEOUT).and_then(duration),
        paused_timeout: get(PAUSED_TIMEOUT).and_then(duration),
        heartbeat_timeout: get(HEARTBEAT_TIMEOUT).and_then(duration),
        on_timeout: get(ON_TIMEOUT).and_then(OnTimeout::from_word),
        ..Labels::default()
    }
}

fn readiness_label(readiness: &Readiness) -> Option<String> {
    match readiness {
        Readiness::Started => None,
        Readiness::Tcp(port) => Some(format!("tcp:{port}")),
        Readiness::Http { port, path } => Some(format!("http:{port}:{path}")),
    }
}

fn readiness(label: &str) -> Option<Readiness> {
    let (kind, rest) = label.split_once(':')?;
    match kind {
        "tcp" => rest.parse().ok().map(Readiness::Tcp),
        "http" => {
            let (port, path) = rest.split_once(':')?;
            let port = port.parse().ok()?;
            path.starts_with('/').then(|| Readiness::Http { port, path: path.to_owned() })
        }
        _ => None,
    }
}

fn seconds(timeout: Duration) -> String {
    timeout.as_secs_f64().to_string()
}

/// A positive number of seconds; a timeout of 0 is refused everywhere, so it is no timeout here either.
fn duration(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &LabelMap) -> Labels {
        read(&Owner::Sandglass, labels)
    }

    #[test]
    fn a_label_that_does_not_parse_is_a_missing_label() {
        for bad in ["", "soon", "-1", "0", "NaN", "inf", "1e400", "7200 s"] {
            let labels = [CREATED_AT, IDLE_TIMEOUT, ACTIVE_TIMEOUT, PAUSED_TIMEOUT, HEARTBEAT_TIMEOUT, ON_TIMEOUT]
                .map(|key| (key.to_owned(), bad.to_owned()));
            let parsed = Labels { created_at: None, ..parse(&HashMap::from(labels)) };
            assert_eq!(parsed, Labels::default(), "{bad:?} was taken");
        }
        assert_eq!(parse(&HashMap::from([(CREATED_AT.to_owned(), "NaN".to_owned())])).created_at, None);
    }

    #[test]
    fn no_idle_timeout_is_told_apart_from_no_label() {
        let labels = HashMap::from([(IDLE_TIMEOUT.to_owned(), NO_TIMEOUT.to_owned())]);
        assert_eq!(parse(&labels).idle_timeout, Some(None));
        assert_eq!(parse(&HashMap::new()).idle_timeout, None);
    }

    #[test]
    fn timeouts_keep_their_fractions_through_a_label() {
        for millis in [1, 250, 7_200_000, 86_400_001] {
            let timeout = Duration::from_millis(millis);
            assert_eq!(duration(&seconds(timeout)), Some(timeout));
        }
        assert_eq!(seconds(Duration::from_secs(7200)), "7200");
    }

    #[test]
    fn readiness_is_the_same_after_a_label() {
        let http = Readiness::Http { port: 8080, path: "/a:b?c=d:e".to_owned() };
        for rule in [Readiness::Tcp(80), http] {
            assert_eq!(readiness_label(&rule).as_deref().and_then(readiness), Some(rule));
        }
        assert_eq!(readiness_label(&Readiness::Started), None);
        for bad in ["", "tcp", "tcp:", "tcp:65536", "http:80", "http:80:health", "udp:80", "http:x:/"] {
            assert_eq!(readiness(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn the_reference_systems_labels_tell_nothing() {
        let labels = HashMap::from([(TEMPLATE.to_owned(), "python".to_owned())]);
        assert_eq!(parse(&labels).template.as_deref(), Some("python"));
        assert_eq!(read(&Owner::Reference { task_id: "7".to_owned() }, &labels), Labels::default());
    }
}
