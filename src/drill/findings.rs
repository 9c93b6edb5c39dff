//! The results of a drill.

use serde::Serialize;

use super::instance::Answer;

/// The results of a drill. Both promises held if every count is 0 and `wrong` is empty.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// What the drill did, with numbers, in a sentence.
    pub done: String,
    /// Sandboxes that ended before the time that a client was promised.
    pub early: usize,
    /// Containers that were left over.
    pub leaked: usize,
    /// Sandboxes that were acknowledged and are unknown now.
    pub lost: usize,
    /// How long after their deadlines sandboxes ended.
    pub lateness: Lateness,
    /// A sentence for each broken rule.
    pub wrong: Vec<String>,
    /// Other measurements: a name, and a value with its unit.
    pub measured: Vec<(String, String)>,
}

impl Findings {
    pub(super) fn new(done: impl Into<String>) -> Self {
        Self { done: done.into(), ..Self::default() }
    }

    /// Whether both promises held.
    pub fn hold(&self) -> bool {
        self.early == 0 && self.leaked == 0 && self.lost == 0 && self.wrong.is_empty()
    }

    /// Notes a broken rule.
    pub(super) fn wrong(&mut self, rule: impl Into<String>) {
        self.wrong.push(rule.into());
    }

    /// Notes a broken rule unless it was kept.
    pub(super) fn expect(&mut self, kept: bool, rule: impl FnOnce() -> String) {
        if !kept {
            self.wrong.push(rule());
        }
    }

    /// Notes a broken rule unless the request described by `what` was refused with this status and code.
    pub(super) fn expect_refusal(&mut self, what: &str, answer: &Answer, status: u16, code: &str) {
        self.expect(answer.status == status && answer.code() == code, || format!("{what} was answered with {answer}"));
    }

    /// Adds the counts, the lateness and the broken rules of others.
    pub(super) fn add(&mut self, others: Self) {
        self.early += others.early;
        self.leaked += others.leaked;
        self.lost += others.lost;
        self.lateness.extend(&others.lateness);
        self.wrong.extend(others.wrong);
    }

    pub(super) fn measured(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.measured.push((name.into(), value.into()));
    }
}

/// Seconds between deadlines and ends.
#[derive(Clone, Debug, Default)]
pub struct Lateness(Vec<f64>);

impl Lateness {
    pub(super) fn add(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The quantile `part` (0 to 1), in seconds; `None` without values.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }

    /// The median, the 99th percentile and the maximum, in milliseconds; empty without values.
    pub fn summary(&self) -> String {
        match [0.5, 0.99, 1.0].map(|part| self.milliseconds(part)) {
            [Some(median), Some(most), Some(all)] => format!("{median:.1} / {most:.1} / {all:.1}"),
            _ => String::new(),
        }
    }

    fn milliseconds(&self, part: f64) -> Option<f64> {
        self.quantile(part).map(|seconds| seconds * 1000.0)
    }
}

impl Serialize for Lateness {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| self.milliseconds(part));
        serde_json::json!({ "count": self.count(), "p50_ms": p50, "p99_ms": p99, "max_ms": max }).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let mut lateness = Lateness::default();
        assert_eq!((lateness.quantile(0.5), lateness.summary()), (None, String::new()));
        for value in [0.004, 0.001, 0.003, 0.002] {
            lateness.add(value);
        }
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|part| lateness.quantile(part));
        assert_eq!(quantiles, [Some(0.001), Some(0.002), Some(0.004), Some(0.004)]);
        assert_eq!(lateness.summary(), "2.0 / 4.0 / 4.0");
    }

    #[test]
    fn one_broken_rule_is_enough() {
        assert!(Findings::new("nothing").hold());
        for broken in [
            Findings { early: 1, ..Findings::default() },
            Findings { leaked: 1, ..Findings::default() },
            Findings { lost: 1, ..Findings::default() },
            Findings { wrong: vec!["a rule".into()], ..Findings::default() },
        ] {
            assert!(!broken.hold(), "{broken:?}");
        }
    }
}
