//! The codec for what a container's labels tell about its sandbox ([design: labels](crate::design::engine::labels));
//! the same for all engines.

use std::{collections::HashMap, time::Duration};

use crate::{
    domain::{
        OnTimeout,
        egress::{Egress, Network, Ranges},
        sandbox::{RuleClock, Spelling},
        spec::{Asked, Readiness},
    },
    ports::runtime::{Labels, Owner},
};

/// Labels as an engine keeps them.
pub(super) type LabelMap = HashMap<String, String>;

const CREATED_AT: &str = "sandglass.created_at";
const TEMPLATE: &str = "sandglass.template";
const ON_TIMEOUT: &str = "sandglass.on_timeout";
/// `tcp:PORT` or `http:PORT:PATH`; empty if the container is ready as soon as it runs.
const READY: &str = "sandglass.ready";
const READY_TIMEOUT: &str = "sandglass.ready_timeout";
const WAKE: &str = "sandglass.wake";
const PUBLIC_TRAFFIC: &str = "sandglass.public_traffic";
const MASK_REQUEST_HOST: &str = "sandglass.mask_request_host";
/// JSON; empty if nothing was asked for.
const ASKED: &str = "sandglass.asked";
const NETWORK: &str = "sandglass.network";
/// JSON; empty if there are no rules beside the walls.
const EGRESS: &str = "sandglass.egress";

const NO_TIMEOUT: &str = "none";

/// Encodes what [`read`] decodes; a missing value is written as an empty text.
pub(super) fn write(labels: Labels) -> impl Iterator<Item = (String, String)> {
    let pairs = [
        (CREATED_AT, labels.created_at.map(|at| at.to_string())),
        (TEMPLATE, labels.template),
        (READY, labels.readiness.as_ref().and_then(readiness_label)),
        (READY_TIMEOUT, labels.ready_timeout.map(seconds)),
        (WAKE, labels.wake.map(|wake| wake.to_string())),
        (PUBLIC_TRAFFIC, labels.public_traffic.then(|| true.to_string())),
        (MASK_REQUEST_HOST, labels.mask_request_host),
        (ASKED, labels.asked.label()),
        (NETWORK, labels.network.map(|network| network.to_string())),
        (EGRESS, egress_label(&labels.egress)),
    ];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(write_rules(labels.rules));
    pairs.map(|(key, value)| (key, value.unwrap_or_default()))
}

/// Decodes the labels of a container of `owner`. A label that does not parse counts as missing, so that the configuration's
/// value applies: a guess might end a sandbox early.
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
        rules: read_rules(labels),
        wake: get(WAKE).and_then(|text| text.parse().ok()),
        public_traffic: get(PUBLIC_TRAFFIC) == Some("true"),
        mask_request_host: get(MASK_REQUEST_HOST).filter(|host| !host.is_empty()).map(str::to_owned),
        asked: get(ASKED).map(Asked::of_label).unwrap_or_default(),
        network: get(NETWORK).and_then(Network::from_word),
        egress: get(EGRESS).filter(|text| !text.is_empty()).map(egress).unwrap_or_default(),
    }
}

/// The label of the timeout on `clock`.
fn timeout_key(clock: RuleClock) -> String {
    format!("sandglass.{}", clock.timeout_name())
}

fn write_rules(rules: Spelling) -> impl Iterator<Item = (String, Option<String>)> {
    let on_timeout = rules.on_timeout.map(|effect| effect.as_str().to_owned());
    let timeouts = RuleClock::ALL.into_iter().map(move |clock| {
        let timeout = rules.get(clock).map(|after| after.map_or(NO_TIMEOUT.to_owned(), seconds));
        (timeout_key(clock), timeout)
    });
    timeouts.chain([(ON_TIMEOUT.to_owned(), on_timeout)])
}

fn read_rules(labels: &LabelMap) -> Spelling {
    let get = |key: &str| labels.get(key).map(String::as_str);
    let mut rules = Spelling::new(get(ON_TIMEOUT).and_then(OnTimeout::from_word));
    for clock in RuleClock::ALL {
        match get(&timeout_key(clock)) {
            Some(NO_TIMEOUT) => rules = rules.with(clock, None),
            Some(other) if let Some(after) = duration(other) => rules = rules.with(clock, after),
            _ => {}
        }
    }
    rules
}

fn egress_label(egress: &Egress) -> Option<String> {
    // Lists of texts: this cannot fail.
    (!egress.is_empty()).then(|| serde_json::to_string(egress).unwrap_or_default())
}

/// What is not understood shuts everything: a guess might open something.
fn egress(label: &str) -> Egress {
    // Derived readers take an array for an object, too.
    let read = label.starts_with('{').then(|| serde_json::from_str(label).ok()).flatten();
    read.unwrap_or_else(|| Egress { template: Ranges::all_shut(), ..Egress::default() })
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

/// Parses a positive number of seconds. A timeout of 0 is invalid everywhere.
fn duration(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Rules;

    fn parse(labels: &LabelMap) -> Labels {
        read(&Owner::Sandglass, labels)
    }

    #[test]
    fn a_label_that_does_not_parse_is_a_missing_label() {
        for bad in ["", "soon", "-1", "0", "NaN", "inf", "1e400", "7200 s"] {
            let keys = RuleClock::ALL.into_iter().map(timeout_key).chain([CREATED_AT, ON_TIMEOUT].map(str::to_owned));
            let labels = keys.map(|key| (key, bad.to_owned())).collect();
            let parsed = Labels { created_at: None, ..parse(&labels) };
            assert_eq!(parsed, Labels::default(), "{bad:?} was taken");
        }
        assert_eq!(parse(&HashMap::from([(CREATED_AT.to_owned(), "NaN".to_owned())])).created_at, None);
    }

    #[test]
    fn no_idle_timeout_is_told_apart_from_no_label() {
        let labels = HashMap::from([(timeout_key(RuleClock::Idle), NO_TIMEOUT.to_owned())]);
        assert_eq!(parse(&labels).rules.get(RuleClock::Idle), Some(None));
        assert_eq!(parse(&HashMap::new()).rules.get(RuleClock::Idle), None);
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
    fn rules_that_are_not_understood_shut_everything() {
        let told = |label: &str| parse(&HashMap::from([(EGRESS.to_owned(), label.to_owned())])).egress;
        assert_eq!(told(""), Egress::default());
        assert_eq!(parse(&HashMap::new()).egress, Egress::default());
        let shut = Egress { template: Ranges::all_shut(), ..Egress::default() };
        for unknown in ["{", "[]", r#"{"request":{"deny":["example.com"]}}"#, r#"{"names":[]}"#] {
            assert_eq!(told(unknown), shut, "{unknown}");
        }
    }

    #[test]
    fn the_reference_systems_labels_tell_nothing() {
        let labels = HashMap::from([(TEMPLATE.to_owned(), "python".to_owned())]);
        assert_eq!(parse(&labels).template.as_deref(), Some("python"));
        assert_eq!(read(&Owner::Reference { task_id: "7".to_owned() }, &labels), Labels::default());
    }

    /// Both files were written by version 0.1.0.
    #[test]
    fn labels_of_0_1_0_are_read_and_would_be_written_again_as_they_are() {
        let rules = Rules::new(Duration::from_secs(9), OnTimeout::Deactivate).with(RuleClock::Idle, Duration::MAX);
        for (text, [idle, paused, active, heartbeat]) in [
            (
                include_str!("../../tests/fixtures/0.1.0/labels/full.json"),
                [Some(7200.5), Some(86_400.0), Some(900.25), Some(30.0)],
            ),
            (include_str!("../../tests/fixtures/0.1.0/labels/bare.json"), [None, None, Some(1800.0), None]),
        ] {
            let labels: LabelMap = serde_json::from_str(text).unwrap();
            let parsed = parse(&labels);
            let written: LabelMap = write(parsed.clone()).collect();
            // A label of a later version is empty where nothing is said of its rule.
            for (key, value) in &written {
                assert_eq!(labels.get(key).map_or("", String::as_str), value, "{key}");
            }
            assert!(labels.keys().all(|key| written.contains_key(key)));
            let rules = parsed.rules.or(&rules);
            let after = |clock| rules.after(clock).as_ref().map(Duration::as_secs_f64);
            let clocks = [RuleClock::Idle, RuleClock::Paused, RuleClock::Active, RuleClock::Heartbeat];
            assert_eq!(clocks.map(after), [idle, paused, active, heartbeat]);
        }
    }
}
