//! What a drill found.

use serde::Serialize;

/// What a drill found. Both promises held when every count is 0 and nothing else went wrong.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// What was done, with its numbers, in a sentence.
    pub done: String,
    /// Sandboxes that ended before the time that was promised to a client.
    pub early: usize,
    /// Containers that were left over.
    pub leaked: usize,
    /// Sandboxes that were acknowledged and of which nothing is known any more.
    pub lost: usize,
    /// How long after their deadlines sandboxes ended.
    pub lateness: Lateness,
    /// Every other rule that was broken, in words.
    pub wrong: Vec<String>,
    /// What else was measured: a name, and a value with its unit.
    pub measured: Vec<(String, String)>,
}

impl Findings {
    /// Findings of this that was done.
    pub fn new(done: impl Into<String>) -> Self {
        Self { done: done.into(), ..Self::default() }
    }

    /// Whether both promises were kept.
    pub fn hold(&self) -> bool {
        self.early == 0 && self.leaked == 0 && self.lost == 0 && self.wrong.is_empty()
    }

    /// Notes a broken rule.
    pub fn wrong(&mut self, rule: impl Into<String>) {
        self.wrong.push(rule.into());
    }

    /// Notes a broken rule unless it was kept.
    pub fn expect(&mut self, kept: bool, rule: impl FnOnce() -> String) {
        if !kept {
            self.wrong.push(rule());
        }
    }

    /// Adds the counts, the lateness and the broken rules of others.
    pub fn add(&mut self, others: Self) {
        self.early += others.early;
        self.leaked += others.leaked;
        self.lost += others.lost;
        self.lateness.extend(&others.lateness);
        self.wrong.extend(others.wrong);
    }

    /// Notes something that was measured.
    pub fn measured(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.measured.push((name.into(), value.into()));
    }
}

/// Seconds between deadlines and ends.
#[derive(Clone, Debug, Default)]
pub struct Lateness(Vec<f64>);

impl Lateness {
    /// One more, in seconds.
    pub fn add(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    /// All of another's.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In seconds, the value that `part` (0 to 1) of all are not above; `None` of nothing.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }

    /// Half, almost all and all of them, in milliseconds; empty of nothing.
    pub fn summary(&self) -> String {
        let milliseconds = |part| self.quantile(part).map(|seconds| seconds * 1000.0);
        match (milliseconds(0.5), milliseconds(0.99), milliseconds(1.0)) {
            (Some(median), Some(most), Some(all)) => format!("{median:.1} / {most:.1} / {all:.1}"),
            _ => String::new(),
        }
    }
}

impl Serialize for Lateness {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = |part| self.quantile(part).map(|seconds| seconds * 1000.0);
        serde_json::json!({ "count": self.count(), "p50_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99), "max_ms": milliseconds(1.0) })
            .serialize(serializer)
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
