//! What clients were promised, kept apart from Sandglass, and how it was kept.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    findings::Findings,
    instance::{Answer, Instance},
};
use crate::clock::wall_seconds;

/// Times in answers are floats: a microsecond is within their rounding.
pub(super) const ROUNDING: f64 = 1e-6;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The promises of one drill: what instances acknowledged to clients. Its requests fail only without an answer, and then
/// nothing was acknowledged.
#[derive(Default)]
pub(super) struct Ledger {
    promises: Mutex<BTreeMap<String, Promise>>,
}

/// What clients were told of one sandbox.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// The latest idle deadline that clients can rely on, in epoch seconds.
    deadline: f64,
    /// Whether commands may hold it. Then a deadline that is told counts on the longest hold, and comes earlier when the
    /// command ends.
    held: bool,
    /// The reasons for which it may end, besides idleness.
    allowed: Vec<&'static str>,
    /// When the last outage ended that its end had to wait for, in epoch seconds. Lateness counts from there.
    excused: f64,
}

impl Ledger {
    /// Notes the idle deadline in `answer`, the acknowledgement of a create, ping or resume.
    pub(super) fn acknowledged(&self, answer: &Value) {
        let Some(id) = answer["sandbox_id"].as_str() else { return };
        let mut deadline = answer["idle_deadline"].as_f64().unwrap_or_default();
        let mut promises = self.promises();
        let promise = promises.entry(id.to_owned()).or_default();
        if promise.held {
            // Without any hold, it has a whole timeout from its last use.
            let unheld = answer["last_activity_at"].as_f64().zip(answer["idle_timeout"].as_f64());
            deadline = deadline.min(unheld.map_or(0.0, |(used, timeout)| used + timeout));
        }
        promise.deadline = promise.deadline.max(deadline);
    }

    /// Begins a command in the background that runs for `seconds`. If that is acknowledged, nothing ends the sandbox before
    /// the command's end and a whole `idle_timeout` after it. Returns any answer.
    pub(super) async fn run(
        &self,
        instance: &Instance,
        id: &str,
        seconds: u32,
        idle_timeout: Duration,
    ) -> anyhow::Result<Answer> {
        // It may hold the sandbox from now on, also if no answer comes.
        self.promises().entry(id.to_owned()).or_default().held = true;
        let asked = wall_seconds();
        let body = json!({ "command": ["sleep", seconds.to_string()], "background": true });
        let answer = instance.post(&format!("/v1/sandboxes/{id}/commands"), &body).await?;
        if answer.status == 202 {
            self.promised(id, asked + f64::from(seconds) + idle_timeout.as_secs_f64());
        }
        Ok(answer)
    }

    fn promised(&self, id: &str, deadline: f64) {
        let mut promises = self.promises();
        let promise = promises.entry(id.to_owned()).or_default();
        promise.deadline = promise.deadline.max(deadline);
    }

    /// Waits until no command holds a sandbox any more, and notes the idle deadlines that follow. Begin no command after
    /// it. A command that holds after `within` is a broken rule.
    pub(super) async fn until_nothing_holds(
        &self,
        instance: &Instance,
        within: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + within;
        for id in self.ids() {
            loop {
                let Answer { status, body } = instance.sandbox(&id).await?;
                if status != 200 || is_gone(&body) || body["holds"].is_null() {
                    self.promises().entry(id).or_default().held = false;
                    self.acknowledged(&body);
                    break;
                }
                if Instant::now() > until {
                    findings.wrong(format!("{id} is still held after {within:?}: {body}"));
                    break;
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Notes a new incarnation of an id, in place of the promises of the one before.
    pub(super) fn renewed(&self, answer: &Value) {
        if let Some(id) = answer["sandbox_id"].as_str() {
            self.promises().remove(id);
        }
        self.acknowledged(answer);
    }

    /// Pings, and notes an acknowledgement. Returns any answer.
    pub(super) async fn ping(&self, instance: &Instance, id: &str) -> anyhow::Result<Answer> {
        let answer = instance.act(id, "activity").await?;
        if answer.status == 200 {
            self.acknowledged(&answer.body);
        }
        Ok(answer)
    }

    /// Pings all in one request. Returns how many were acknowledged.
    pub(super) async fn ping_all(&self, instance: &Instance, ids: &[String]) -> anyhow::Result<usize> {
        let answer = instance.post("/v1/activity", &json!({ "ids": ids })).await?;
        let results = answer.body["results"].as_array().map_or(&[][..], Vec::as_slice);
        let acknowledged = results.iter().filter(|result| result["ok"] == true);
        Ok(acknowledged.inspect(|result| self.acknowledged(result)).count())
    }

    /// Creates, and notes an acknowledgement (200, 201 or 202). Returns any answer.
    pub(super) async fn create(&self, instance: &Instance, body: &Value) -> anyhow::Result<Answer> {
        let answer = instance.post("/v1/sandboxes", body).await?;
        if matches!(answer.status, 200..=202) {
            self.acknowledged(&answer.body);
        }
        Ok(answer)
    }

    /// Creates, fails unless that is acknowledged, and returns the sandbox.
    pub(super) async fn must_create(&self, instance: &Instance, body: &Value) -> anyhow::Result<Value> {
        let answer = self.create(instance, body).await?;
        anyhow::ensure!(matches!(answer.status, 200..=202), "a create was refused: {}", answer.body);
        Ok(answer.body)
    }

    /// Creates a sandbox with nothing but an id and an idle timeout.
    pub(super) async fn begin(&self, instance: &Instance, id: &str, idle_timeout: Duration) -> anyhow::Result<Value> {
        self.must_create(instance, &json!({ "id": id, "idle_timeout": idle_timeout.as_secs_f64() })).await
    }

    /// Ends a sandbox by request, and waits for its end.
    pub(super) async fn end(&self, instance: &Instance, id: &str) -> anyhow::Result<Answer> {
        self.allow(id, &["requested"]);
        instance.delete(&format!("/v1/sandboxes/{id}?wait=30")).await
    }

    /// Expects that a sandbox runs after a `kill -9`, and has the time that was promised.
    pub(super) async fn is_kept(&self, instance: &Instance, id: &str, findings: &mut Findings) -> anyhow::Result<()> {
        let back = instance.sandbox(id).await?;
        findings.lost += usize::from(back.status == 404);
        let (has, promised) = (back.body["idle_deadline"].as_f64(), self.deadline(id));
        let kept = has.zip(promised).is_some_and(|(has, promised)| has >= promised - ROUNDING);
        findings.expect(kept && back.body["status"] == "running", || {
            format!("after kill -9, {id}, which was promised {promised:?}, is answered with {back}")
        });
        Ok(())
    }

    /// Drops the promises of a sandbox, for example of one that was judged.
    pub(super) fn forget(&self, id: &str) {
        self.promises().remove(id);
    }

    /// Allows a sandbox to end for these reasons, besides idleness.
    pub(super) fn allow(&self, id: &str, reasons: &[&'static str]) {
        self.promises().entry(id.to_owned()).or_default().allowed.extend(reasons);
    }

    /// Counts lateness from `time` (epoch seconds), the end of an outage in which nothing could end.
    pub(super) fn excuse_until(&self, time: f64) {
        for promise in self.promises().values_mut() {
            promise.excused = promise.excused.max(time);
        }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.promises().keys().cloned().collect()
    }

    /// The latest idle deadline that was promised, in epoch seconds.
    pub(super) fn deadline(&self, id: &str) -> Option<f64> {
        self.promises().get(id).map(|promise| promise.deadline)
    }

    /// Waits until each sandbox has ended, and judges its end. One that lives after `within` is a broken rule.
    pub(super) async fn settle(
        &self,
        instance: &Instance,
        within: Duration,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + within;
        let promises = self.promises().clone();
        for (id, promise) in &promises {
            loop {
                let answer = instance.sandbox(id).await?;
                if answer.status == 404 {
                    findings.lost += 1;
                    findings.wrong(format!("nothing is known of {id}, which was acknowledged"));
                    break;
                }
                if is_gone(&answer.body) {
                    promise.judge(id, &answer.body, findings);
                    break;
                }
                if Instant::now() > until {
                    findings.wrong(format!("{id} has not ended within {within:?}: {}", answer.body));
                    break;
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Judges the end of the sandbox in an answer.
    pub(super) fn judge(&self, end: &Value, findings: &mut Findings) {
        let id = end["sandbox_id"].as_str().unwrap_or_default();
        let promise = self.promises().get(id).cloned().unwrap_or_default();
        promise.judge(id, end, findings);
    }

    fn promises(&self) -> MutexGuard<'_, BTreeMap<String, Promise>> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    fn judge(&self, id: &str, end: &Value, findings: &mut Findings) {
        let reason = end["reason"].as_str().unwrap_or_default();
        if self.allowed.contains(&reason) {
            return;
        }
        if reason != "idle" {
            return findings.wrong(format!("{id} ended for the reason {reason:?}: {end}"));
        }
        let Some(ended) = end["ended_at"].as_f64() else {
            return findings.wrong(format!("{id} has ended, and does not say when: {end}"));
        };
        if ended < self.deadline - ROUNDING {
            findings.early += 1;
            let early = self.deadline - ended;
            return findings.wrong(format!("{id} ended {early:.6} s before its time: {end}"));
        }
        findings.lateness.add((ended - self.deadline.max(self.excused)).max(0.0));
    }
}

/// Whether the sandbox in an answer has ended. Only Docker says whether its container is gone.
pub(super) fn is_gone(sandbox: &Value) -> bool {
    let ended = matches!(sandbox["status"].as_str(), Some("terminated" | "failed" | "succeeded"));
    ended && !sandbox["ended_at"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(promise: &Promise, end: &Value) -> Findings {
        let mut findings = Findings::default();
        promise.judge("one", end, &mut findings);
        findings
    }

    fn until(deadline: f64) -> Promise {
        Promise { deadline, ..Promise::default() }
    }

    #[test]
    fn an_end_before_the_promise_is_early_and_one_after_it_is_late() {
        let end = json!({ "sandbox_id": "one", "status": "terminated", "reason": "idle", "ended_at": 100.0 });
        let early = judged(&until(100.5), &end);
        assert_eq!((early.early, early.lateness.count(), early.wrong.len()), (1, 0, 1));
        let late = judged(&until(99.5), &end);
        assert_eq!((late.early, late.lateness.quantile(1.0), late.wrong.len()), (0, Some(0.5), 0));
    }

    #[test]
    fn only_the_allowed_reasons_count() {
        let end = json!({ "sandbox_id": "one", "status": "failed", "reason": "vanished", "ended_at": 100.0 });
        assert_eq!(judged(&until(1000.0), &end).wrong.len(), 1);
        let allowed = Promise { allowed: vec!["vanished"], ..until(1000.0) };
        assert!(judged(&allowed, &end).wrong.is_empty());
    }

    #[test]
    fn a_deadline_that_counts_on_a_hold_is_not_relied_on() {
        let ledger = Ledger::default();
        ledger.promises().entry("one".to_owned()).or_default().held = true;
        let mut answer =
            json!({ "sandbox_id": "one", "last_activity_at": 2.0, "idle_timeout": 8.0, "idle_deadline": 86_400.0 });
        ledger.acknowledged(&answer);
        assert_eq!(ledger.deadline("one"), Some(10.0));
        ledger.promised("one", 12.0);
        ledger.acknowledged(&answer);
        assert_eq!(ledger.deadline("one"), Some(12.0), "its command's end counts");
        answer["idle_deadline"] = Value::Null;
        ledger.acknowledged(&answer);
        assert_eq!(ledger.deadline("one"), Some(12.0));
    }

    #[test]
    fn the_latest_promise_counts() {
        let ledger = Ledger::default();
        for deadline in [10.0, 30.0, 20.0] {
            ledger.acknowledged(&json!({ "sandbox_id": "one", "idle_deadline": deadline }));
        }
        assert_eq!(ledger.deadline("one"), Some(30.0));
        ledger.renewed(&json!({ "sandbox_id": "one", "idle_deadline": 5.0 }));
        assert_eq!(ledger.deadline("one"), Some(5.0));
    }
}
