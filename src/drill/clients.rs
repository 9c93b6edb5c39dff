//! Clients who do things at random, with what they were told and what they cannot know: a request without an answer may
//! have been carried out, or not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    findings::Findings,
    ground::Ground,
    instance::{Answer, Instance},
    ledger::{Ledger, is_gone},
};

/// Most of what is alive at the same time.
const MOST: usize = 6;
/// Between two things that one client does.
const PAUSE: Duration = Duration::from_millis(10);

/// The clients of one drill.
pub(super) struct Clients<'a> {
    ground: &'a Ground,
    pub(super) ledger: Ledger,
    idle_timeout: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sandboxes: BTreeMap<String, Certainty>,
    created: usize,
    done: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// Its create was acknowledged.
    Certain,
    /// Its create has not been answered.
    Asked,
    /// Somebody wants it gone, or it may be gone.
    Leaving,
}

impl<'a> Clients<'a> {
    pub(super) fn new(ground: &'a Ground, idle_timeout: Duration) -> Self {
        Self { ground, ledger: Ledger::default(), idle_timeout, known: Mutex::default() }
    }

    /// Three clients at work, until the instance does not answer any more or this is dropped. What broke a rule.
    pub(super) async fn work(&self, instance: &Instance) -> Vec<String> {
        let (one, two, three) = tokio::join!(self.client(instance), self.client(instance), self.client(instance));
        [one, two, three].into_iter().flatten().collect()
    }

    /// One of them, until there is no answer.
    async fn client(&self, instance: &Instance) -> Option<String> {
        loop {
            let chance = rand::rng().random_range(0..10);
            let outcome = match chance {
                0..4 if self.room() => self.create(instance).await,
                0..8 => self.ping(instance).await,
                8 => self.freeze_or_thaw(instance).await,
                _ => self.delete(instance).await,
            };
            match outcome {
                Ok(None) => sleep(PAUSE).await,
                Ok(broken) => return broken,
                Err(_no_answer) => return None,
            }
        }
    }

    /// How often what was done, in words.
    pub(super) fn done(&self) -> String {
        let known = self.known();
        known.done.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }

    /// Looks at everything that is known, after a restart: who was promised a time has it still. What was asked for and
    /// not answered is now either there or not.
    pub(super) async fn compare(&self, instance: &Instance, findings: &mut Findings) -> anyhow::Result<()> {
        let sandboxes = self.known().sandboxes.clone();
        for (id, certainty) in sandboxes {
            let Answer { status, body } = instance.get(&format!("/v1/sandboxes/{id}")).await?;
            let promised = self.ledger.deadline(&id);
            match (status, certainty) {
                (404, Certainty::Asked) => {
                    self.known().sandboxes.remove(&id);
                }
                // The ledger has it, and says so when it settles.
                (404, _) => self.set(&id, Certainty::Leaving),
                _ if is_gone(&body) || body["status"] == "terminating" => {
                    self.set(&id, Certainty::Leaving);
                    if certainty == Certainty::Certain {
                        self.ledger.judge(&body, findings);
                    }
                }
                _ => {
                    if let (Some(deadline), Some(promised)) = (body["idle_deadline"].as_f64(), promised)
                        && deadline < promised - 1e-6
                    {
                        findings.early += 1;
                        findings.wrong(format!("{id} was promised {promised}, and has {deadline} after a restart"));
                    }
                    // One that is still being resolved may turn out not to have started.
                    if certainty == Certainty::Asked && body["status"] != "pending" {
                        self.set(&id, Certainty::Certain);
                    }
                }
            }
        }
        Ok(())
    }

    /// Pings whatever lives, so that nothing falls due while this goes on.
    pub(super) async fn ping_all(&self, instance: &Instance) -> anyhow::Result<()> {
        // Also those whose delete may never have come.
        let ids = self.of(&[Certainty::Certain, Certainty::Leaving]);
        self.ledger.ping_all(instance, &ids).await?;
        Ok(())
    }

    /// Thaws whatever is frozen, also what should be gone and may not be, so that all of it falls due.
    ///
    /// # Errors
    /// When there is no answer, or something cannot be thawed.
    pub(super) async fn thaw_all(&self, instance: &Instance) -> anyhow::Result<()> {
        for id in self.of(&[Certainty::Certain, Certainty::Asked, Certainty::Leaving]) {
            // One that was frozen by the last instance is known to be so after the first look at the engine.
            for _ in 0..100 {
                let sandbox = instance.get(&format!("/v1/sandboxes/{id}")).await?;
                let container = self.ground.hand().containers_of(&id).await?;
                let frozen = match container.first() {
                    Some(container) => self.ground.hand().is_frozen(container).await?,
                    None => false,
                };
                if sandbox.status == 404 || is_gone(&sandbox.body) || sandbox.body["status"] == "terminating" {
                    break;
                }
                if sandbox.body["status"] == "paused" {
                    let answer = instance.post(&format!("/v1/sandboxes/{id}/resume"), &Value::Null).await?;
                    if answer.status == 200 {
                        self.ledger.acknowledged(&answer.body);
                        break;
                    }
                } else if !frozen {
                    break;
                }
                sleep(PAUSE * 10).await;
            }
        }
        self.ping_all(instance).await
    }

    async fn create(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let id = {
            let mut known = self.known();
            known.created += 1;
            let id = self.ground.id(&format!("life-{}", known.created));
            known.sandboxes.insert(id.clone(), Certainty::Asked);
            id
        };
        let body = json!({ "id": id, "idle_timeout": self.idle_timeout.as_secs_f64() });
        // Until it is answered, it may begin, or fail to, or never have been.
        let answer = self.ledger.create(instance, &body).await?;
        Ok(match answer.status {
            201 => {
                self.set(&id, Certainty::Certain);
                self.count("creates");
                None
            }
            503 => None,
            status => Some(format!("the create of {id} was answered with {status}: {}", answer.body)),
        })
    }

    async fn ping(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let Some(id) = self.any() else { return Ok(None) };
        let answer = self.ledger.ping(instance, &id).await?;
        Ok(match answer.status {
            200 => {
                self.count("pings");
                None
            }
            503 => None,
            status => self.unless_leaving(&id, format!("a ping of {id} was answered with {status}: {}", answer.body)),
        })
    }

    async fn freeze_or_thaw(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let Some(id) = self.any() else { return Ok(None) };
        let (what, counted) =
            *[("pause", "pauses"), ("resume", "resumes")].choose(&mut rand::rng()).unwrap_or(&("pause", "pauses"));
        let answer = instance.post(&format!("/v1/sandboxes/{id}/{what}"), &Value::Null).await?;
        Ok(match answer.status {
            200 => {
                if what == "resume" {
                    self.ledger.acknowledged(&answer.body);
                }
                self.count(counted);
                None
            }
            // In the other state already.
            409 | 503 => None,
            status => self.unless_leaving(&id, format!("a {what} of {id} was answered with {status}: {}", answer.body)),
        })
    }

    async fn delete(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let Some(id) = self.any() else { return Ok(None) };
        self.set(&id, Certainty::Leaving);
        self.ledger.allow(&id, &["requested"]);
        let answer = instance.delete(&format!("/v1/sandboxes/{id}")).await?;
        Ok(match answer.status {
            200 | 202 => {
                self.count("deletes");
                None
            }
            // Somebody else was faster.
            409 | 410 | 503 => None,
            status => Some(format!("the delete of {id} was answered with {status}: {}", answer.body)),
        })
    }

    /// A refusal is right for a sandbox that somebody has deleted meanwhile.
    fn unless_leaving(&self, id: &str, broken: String) -> Option<String> {
        let certain = self.known().sandboxes.get(id) == Some(&Certainty::Certain);
        certain.then_some(broken)
    }

    fn room(&self) -> bool {
        self.known().sandboxes.values().filter(|certainty| **certainty != Certainty::Leaving).count() < MOST
    }

    fn any(&self) -> Option<String> {
        self.of(&[Certainty::Certain]).choose(&mut rand::rng()).cloned()
    }

    fn of(&self, wanted: &[Certainty]) -> Vec<String> {
        let known = self.known();
        let fitting = known.sandboxes.iter().filter(|(_, certainty)| wanted.contains(certainty));
        fitting.map(|(id, _)| id.clone()).collect()
    }

    fn set(&self, id: &str, certainty: Certainty) {
        self.known().sandboxes.insert(id.to_owned(), certainty);
    }

    fn count(&self, what: &'static str) {
        *self.known().done.entry(what).or_default() += 1;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
