//! From a record back to a sandbox: the rules of the table in [design: records](crate::design::restart::records), as
//! pure functions.

use std::time::Duration;

use super::{
    id::SandboxId,
    record::{Damaged, Record, Seconds},
    sandbox::{Container, Details, Effects, End, RawFields, Restored, Revived, RuleClock, Rules, Sandbox, Spelling},
    time::{EpochSeconds, Moment, Now},
    words::{EndReason, Status},
};

/// Values for fields that records lack.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallbacks {
    /// The configured rules, for records that were never ours.
    pub rules: Rules,
    /// The idle timeout of legacy records.
    pub legacy_ttl: Duration,
    /// How much activity an unclean stop may have lost ([design: slack](crate::design::persistence::slack)); `None`
    /// after a clean one, which has lost nothing itself.
    pub idle_slack: Option<Duration>,
    /// When deadlines may act again.
    pub not_before: Moment,
}

/// A restored sandbox.
#[derive(Debug)]
pub struct FromRecord {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Its first effects.
    pub effects: Effects,
    /// Whether its record lacked something and has to be written again.
    pub completed: bool,
}

/// Restores a member of the active set. `score` is its score in the set.
///
/// # Errors
/// [`Damaged`] when the record belongs to somebody else.
pub fn restore(
    id: &SandboxId,
    record: Record,
    score: EpochSeconds,
    fallbacks: &Fallbacks,
    now: Now,
) -> Result<FromRecord, Damaged> {
    must_belong_to(id, &record)?;
    let rules = rules_of(&record, record.is_legacy(), fallbacks);
    let completed = !record.has_rules() || record.status.is_none();
    // The two are written together; if they differ, the later one is right.
    let activity = match record.last_activity_at {
        Some(at) if score.is_finite() => at.max(score),
        Some(at) => at,
        None if score.is_finite() => score,
        None => record.started_at.or(record.created_at).unwrap_or_else(|| now.wall()),
    };
    let last_activity = now.moment_at(activity).min(now.moment);
    let expires_at = match record.expires_at {
        Some(at) => now.moment_at(at),
        None => last_activity.plus(fallbacks.legacy_ttl),
    };
    let restored = Restored {
        phase: phase_of(&record, last_activity, now),
        last_activity,
        expires_at,
        idle_slack: slack_of(&record, fallbacks.idle_slack),
        not_before: fallbacks.not_before,
    };
    let (sandbox, effects) = Sandbox::restore(details_of(id, record, rules, now), restored, now);
    Ok(FromRecord { sandbox, effects, completed })
}

/// Restores a tombstone.
///
/// # Errors
/// [`Damaged`] when the record belongs to somebody else.
pub fn restore_tombstone(id: &SandboxId, record: Record, fallbacks: &Fallbacks, now: Now) -> Result<Sandbox, Damaged> {
    must_belong_to(id, &record)?;
    let restored = Restored {
        phase: Revived::Gone(end_of(&record, now)),
        last_activity: record.last_activity_at.map_or(now.moment, |at| now.moment_at(at)),
        expires_at: record.expires_at.map_or(now.moment, |at| now.moment_at(at)),
        idle_slack: Duration::ZERO,
        not_before: Moment::DISTANT_PAST,
    };
    let rules = rules_of(&record, false, fallbacks);
    let (sandbox, _) = Sandbox::restore(details_of(id, record, rules, now), restored, now);
    Ok(sandbox)
}

/// What a container shows of a sandbox whose record is lost.
#[derive(Debug)]
pub struct ContainerEvidence {
    /// What it is doing.
    pub container: Container,
    /// Whether it is to end as `orphaned`.
    pub forsaken: bool,
    /// What its labels and an inspection show.
    pub details: Details,
    /// Its last activity: its score in the active set, or else its creation.
    pub last_activity: Option<EpochSeconds>,
}

/// Restores a sandbox of which only the container is left. The next reconcile finds out whether a stopped container ended
/// by itself or together with its engine. One that never ran ends as `exited`.
pub fn adopt(evidence: ContainerEvidence, fallbacks: &Fallbacks, now: Now) -> (Sandbox, Effects) {
    let last_activity = evidence.last_activity.map_or(now.moment, |at| now.moment_at(at)).min(now.moment);
    let phase = match evidence.container {
        _ if evidence.forsaken => Revived::Ending(End::now(EndReason::Orphaned, now)),
        Container::Running | Container::Stopped(Some(_)) => Revived::Running,
        Container::Paused => Revived::Paused(last_activity),
        Container::Stopped(None) => Revived::Ending(End::now(EndReason::Exited, now)),
        Container::Missing => Revived::Ending(End::now(EndReason::Vanished, now)),
    };
    let restored = Restored {
        phase,
        last_activity,
        expires_at: last_activity.plus(evidence.details.rules.active_timeout()),
        idle_slack: fallbacks.idle_slack.unwrap_or_default(),
        not_before: fallbacks.not_before,
    };
    Sandbox::restore(evidence.details, restored, now)
}

/// The rules of a sandbox whose record is lost: those in its container's labels, and fallbacks for the rest. A record that
/// is `damaged` may have promised anything, so the longest known timeout counts.
pub fn rules_of_labels(labels: &Spelling, damaged: bool, fallbacks: &Fallbacks) -> Rules {
    let ttl = fallbacks.legacy_ttl;
    let rules = labels.or(&fallbacks.rules.only_active().with(RuleClock::Idle, ttl));
    if !damaged {
        return rules;
    }
    let (idle, paused) = (rules.after(RuleClock::Idle), rules.after(RuleClock::Paused));
    rules.with(RuleClock::Idle, idle.map(|idle| idle.max(ttl))).with(RuleClock::Paused, paused.unwrap_or(ttl))
}

fn must_belong_to(id: &SandboxId, record: &Record) -> Result<(), Damaged> {
    match &record.sandbox_id {
        Some(other) if other != id.as_str() => {
            Err(Damaged::Field { field: "sandbox_id", problem: format!("{other:?} in the record of {id}") })
        }
        _ => Ok(()),
    }
}

fn phase_of(record: &Record, last_activity: Moment, now: Now) -> Revived {
    let paused = || Revived::Paused(record.paused_at.map_or(last_activity, |at| now.moment_at(at)));
    let inferred = if record.base_url.is_some() { Status::Running } else { Status::Pending };
    match record.status.unwrap_or(inferred) {
        // The reference system has no status for a pause and writes this instead.
        Status::Pending if metadata_says_paused(record) => paused(),
        Status::Pending => Revived::Pending,
        Status::Running => Revived::Running,
        Status::Paused => paused(),
        Status::Failed | Status::Succeeded | Status::Terminating | Status::Terminated => {
            Revived::Ending(end_of(record, now))
        }
    }
}

/// How much activity the store may lack. Slack of different stops does not add up: each is counted from the activity that
/// the record tells.
fn slack_of(record: &Record, unclean: Option<Duration>) -> Duration {
    let [written_with, owed] = [record.flush_interval, record.idle_slack].map(|it| it.map(|Seconds(seconds)| seconds));
    // The record has the interval that it was written with, which may have been changed since.
    unclean.max(written_with.filter(|_| unclean.is_some())).max(owed).unwrap_or_default()
}

fn metadata_says_paused(record: &Record) -> bool {
    record.metadata.as_ref().and_then(|metadata| metadata.get("paused")).is_some_and(|raw| raw.get() == "true")
}

/// The end in a record. If it names no reason, its status suggests one.
fn end_of(record: &Record, now: Now) -> End {
    let likely = match record.status {
        Some(Status::Failed) if record.started_at.is_none() => EndReason::StartFailed,
        Some(Status::Failed | Status::Succeeded) => EndReason::Exited,
        _ => EndReason::Requested,
    };
    let succeeded = (record.status == Some(Status::Succeeded)).then_some(0);
    End {
        reason: record.reason.unwrap_or(likely),
        exit_code: record.exit_code.or(succeeded),
        deadline: None,
        decided_at: record.ended_at.map_or(now.moment, |at| now.moment_at(at)),
    }
}

fn rules_of(record: &Record, legacy: bool, fallbacks: &Fallbacks) -> Rules {
    let configured = &fallbacks.rules;
    if record.has_rules() {
        return record.rules.or(&configured.only_active());
    }
    if !legacy {
        return configured.clone();
    }
    // It always has a limit, also while it is paused and its idle clock stands still.
    let ttl = fallbacks.legacy_ttl;
    let paused = configured.after(RuleClock::Paused).unwrap_or(ttl);
    configured.with(RuleClock::Idle, ttl).with(RuleClock::Paused, paused)
}

fn details_of(id: &SandboxId, record: Record, rules: Rules, now: Now) -> Details {
    let created_at = record.created_at.or(record.started_at).or(record.last_activity_at);
    Details {
        id: id.clone(),
        rules,
        holds: record.holds.unwrap_or_default().into_iter().map(|hold| hold.restored(&now)).collect(),
        container_name: record.container_name.unwrap_or_default(),
        template: record.template,
        image: record.image,
        container_id: record.container_id,
        base_url: record.base_url,
        ports: record.ports.unwrap_or_default(),
        error_message: record.error_message,
        created_at: created_at.unwrap_or_else(|| now.wall()),
        started_at: record.started_at,
        metadata: record.metadata.unwrap_or_default(),
        shell_type: record.shell_type,
        user_id: record.user_id.map(|user_id| user_id.0),
        user_name: record.user_name,
        executor_namespace: record.executor_namespace,
        // Every record of ours has a version; one without is the reference system's.
        taken_over: record.taken_over.unwrap_or(record.v.is_none()),
        wake: record.wake,
        public_traffic: record.public_traffic.unwrap_or(false),
        mask_request_host: record.mask_request_host,
        network: record.network,
        egress: record.egress,
        extra: record.extra.into(),
        last_output: record.last_output,
        engine_error: None,
    }
}

/// The `task_id` label that the reference system gave the container of a sandbox.
pub fn task_id(id: &SandboxId, metadata: &RawFields) -> String {
    match metadata.get("task_id").map(|raw| raw.get()) {
        Some(text) if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| id.to_string()),
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number.to_owned(),
        _ => id.to_string(),
    }
}
