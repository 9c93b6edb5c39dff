//! Clients that act at random, and remember what they were told. A request without an answer may have been carried out or
//! not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, seq::IndexedRandom};
use serde_json::json;
use tokio::time::sleep;

use super::{
    findings::Findings,
    ground::Ground,
    instance::{Answer, Instance},
    ledger::{Ledger, ROUNDING, is_gone},
};

/// How many sandboxes live at once, at most.
const MOST: usize = 6;
/// The pause between two actions of a client.
const PAUSE: Duration = Duration::from_millis(10);
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// How long commands run, in seconds: most of them briefly, some for longer than the idle timeout.
const RUNS: [u32; 4] = [1, 1, 1, 10];
/// How long the last of them holds at most. An agent that could not be reached is asked again after up to 30 s.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);

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
    /// Its create was not answered.
    Asked,
    /// Its deletion was requested, or it may be gone.
    Leaving,
}

impl<'a> Clients<'a> {
    pub(super) fn new(ground: &'a Ground, idle_timeout: Duration) -> Self {
        Self { ground, ledger: Ledger::default(), idle_timeout, known: Mutex::default() }
    }

    /// Runs three clients until the instance stops answering. Returns the rules that were broken.
    pub(super) async fn work(&self, instance: &Instance) -> Vec<String> {
        let (one, two, three) = tokio::join!(self.client(instance), self.client(instance), self.client(instance));
        [one, two, three].into_iter().flatten().collect()
    }

    async fn client(&self, instance: &Instance) -> Option<String> {
        loop {
            let chance = rand::rng().random_range(0..10);
            let outcome = match chance {
                0..4 if self.room() => self.create(instance).await,
                0..7 => self.ping(instance).await,
                7 => self.run(instance).await,
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

    /// Counts of what was done, in words.
    pub(super) fn done(&self) -> String {
        let known = self.known();
        known.done.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }

    /// Compares, after a restart, each sandbox with its promise, and finds out which unanswered creates were carried out.
    pub(super) async fn compare(&self, instance: &Instance, findings: &mut Findings) -> anyhow::Result<()> {
        let sandboxes = self.known().sandboxes.clone();
        for (id, certainty) in sandboxes {
            let Answer { status, body } = instance.sandbox(&id).await?;
            let promised = self.ledger.deadline(&id);
            match (status, certainty) {
                (404, Certainty::Asked) => {
                    self.known().sandboxes.remove(&id);
                }
                // The ledger counts it as lost when it settles.
                (404, _) => self.set(&id, Certainty::Leaving),
                _ if is_gone(&body) || body["status"] == "terminating" => {
                    self.set(&id, Certainty::Leaving);
                    if certainty == Certainty::Certain {
                        self.ledger.judge(&body, findings);
                    }
                }
                _ => {
                    if let (Some(deadline), Some(promised)) = (body["idle_deadline"].as_f64(), promised)
                        && deadline < promised - ROUNDING
                    {
                        findings.early += 1;
                        findings.wrong(format!("{id} was promised {promised}, and has {deadline} after a restart"));
                    }
                    // A pending one may turn out not to have started.
                    if certainty == Certainty::Asked && body["status"] != "pending" {
                        self.set(&id, Certainty::Certain);
                    }
                }
            }
        }
        Ok(())
    }

    /// Pings all that may live, so that none falls due meanwhile.
    pub(super) async fn ping_all(&self, instance: &Instance) -> anyhow::Result<()> {
        // Deletes may have been lost.
        let ids = self.of(&[Certainty::Certain, Certainty::Leaving]);
        self.ledger.ping_all(instance, &ids).await?;
        Ok(())
    }

    /// Thaws all that are frozen, including those that should be gone, so that all fall due.
    pub(super) async fn thaw_all(&self, instance: &Instance) -> anyhow::Result<()> {
        for id in self.of(&[Certainty::Certain, Certainty::Asked, Certainty::Leaving]) {
            // An instance learns only from the engine that the one before it froze a sandbox.
            for _ in 0..100 {
                let sandbox = instance.sandbox(&id).await?;
                let hand = self.ground.hand();
                let frozen = match hand.containers_of(&id).await?.first() {
                    Some(container) => hand.is_frozen(container).await?,
                    None => false,
                };
                if sandbox.status == 404 || is_gone(&sandbox.body) || sandbox.body["status"] == "terminating" {
                    break;
                }
                if sandbox.body["status"] == "paused" {
                    let answer = instance.act(&id, "resume").await?;
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

    /// Compares once more, thaws all, waits until no command runs and all are idle, and judges: the end of a drill.
    pub(super) async fn settle(&self, settings: &[(&str, &str)], findings: &mut Findings) -> anyhow::Result<()> {
        let instance = self.ground.serve(settings).await?;
        self.compare(&instance, findings).await?;
        self.thaw_all(&instance).await?;
        self.ground.say("waiting until nothing holds");
        self.ledger.until_nothing_holds(&instance, RELEASED_WITHIN, findings).await?;
        self.ground.say("waiting until all that lives is idle");
        self.ground.settle(instance, &self.ledger, self.idle_timeout + GONE_WITHIN, findings).await
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
        let answer = self.ledger.create(instance, &body).await?;
        Ok(match answer.status {
            201 => {
                self.set(&id, Certainty::Certain);
                self.count("creates");
                None
            }
            503 => None,
            _ => Some(format!("the create of {id} was answered with {answer}")),
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
            _ => self.unless_leaving(&id, format!("a ping of {id} was answered with {answer}")),
        })
    }

    async fn run(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let (Some(id), Some(&seconds)) = (self.any(), RUNS.choose(&mut rand::rng())) else { return Ok(None) };
        let answer = self.ledger.run(instance, &id, seconds, self.idle_timeout).await?;
        Ok(match answer.status {
            202 => {
                self.count("commands");
                None
            }
            // It is paused, or as many commands run as can.
            409 | 429 | 503 => None,
            _ => self.unless_leaving(&id, format!("a command in {id} was answered with {answer}")),
        })
    }

    async fn freeze_or_thaw(&self, instance: &Instance) -> anyhow::Result<Option<String>> {
        let Some(id) = self.any() else { return Ok(None) };
        let (what, counted) = if rand::rng().random() { ("resume", "resumes") } else { ("pause", "pauses") };
        let answer = instance.act(&id, what).await?;
        Ok(match answer.status {
            200 => {
                if what == "resume" {
                    self.ledger.acknowledged(&answer.body);
                }
                self.count(counted);
                None
            }
            // It is in that state already.
            409 | 503 => None,
            _ => self.unless_leaving(&id, format!("a {what} of {id} was answered with {answer}")),
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
            // Another client was faster.
            409 | 410 | 503 => None,
            _ => Some(format!("the delete of {id} was answered with {answer}")),
        })
    }

    /// `broken`, unless another client has deleted the sandbox meanwhile, so that the refusal is right.
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
