//! The record: a sandbox written down as JSON, with the reference system's field names and ours beside them
//! ([design: record](crate::design::persistence::record)). Times are epoch seconds. Fields that we do not know are kept
//! through a rewrite, byte for byte.

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{Deserializer, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{
    egress::{Egress, Network},
    fields::Fields,
    sandbox::{Hold, RawFields, RuleClock, Sandbox, Spelling},
    time::{EpochSeconds, Moment, Now},
    words::{EndReason, Status},
};

/// The version that new records carry as `v`.
pub const RECORD_VERSION: u32 = 1;

/// Why a record cannot be understood. Its bytes are quarantined, never dropped
/// ([design: record](crate::design::persistence::record)).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// It is not a JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A field has a value of a wrong type or outside its words.
    #[error("field `{field}`: {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

/// Declares the record: the struct, and a reader that names the field at which a record is damaged.
macro_rules! record {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// A record as it was read. Any field may be missing; rehydration decides what that means.
        #[derive(Clone, Debug, Default)]
        #[allow(missing_docs, reason = "the names of the reference system's fields say what they are")]
        pub struct Record {
            $($(#[$doc])* pub $field: $type,)+
            /// The rules of its life.
            pub rules: Spelling,
            /// Fields that Sandglass does not know.
            pub extra: BTreeMap<String, Box<RawValue>>,
        }

        impl Record {
            /// Reads the value of a field. If that fails, sets `damaged` to the field's name.
            fn read<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
                damaged: &mut Option<&'static str>,
            ) -> Result<(), A::Error> {
                match name {
                    $(stringify!($field) => {
                        self.$field = map.next_value().inspect_err(|_| *damaged = Some(stringify!($field)))?;
                    })+
                    "on_timeout" => {
                        self.rules.on_timeout = map.next_value().inspect_err(|_| *damaged = Some("on_timeout"))?;
                    }
                    _ if let Some(clock) = RuleClock::by_timeout_name(name) => {
                        let after = map.next_value().inspect_err(|_| *damaged = Some(clock.timeout_name()))?;
                        self.rules = self.rules.with(clock, Option::map(after, |Seconds(after)| after));
                    }
                    _ => _ = self.extra.insert(name.to_owned(), map.next_value()?),
                }
                Ok(())
            }
        }
    };
}

record! {
    // The reference system's fields.
    sandbox_id: Option<String>,
    container_name: Option<Box<str>>,
    base_url: Option<Box<str>>,
    status: Option<Status>,
    error_message: Option<Box<str>>,
    created_at: Option<EpochSeconds>,
    started_at: Option<EpochSeconds>,
    last_activity_at: Option<EpochSeconds>,
    expires_at: Option<EpochSeconds>,
    shell_type: Option<Box<str>>,
    user_id: Option<UserId>,
    user_name: Option<Box<str>>,
    executor_namespace: Option<Box<str>>,
    metadata: Option<RawFields>,
    // Ours.
    /// The version of the record's layout.
    v: Option<u32>,
    /// How many seconds of activity it may lack.
    flush_interval: Option<Seconds>,
    /// Seconds of activity that an earlier unclean stop may have lost.
    idle_slack: Option<Seconds>,
    /// When it was paused, if it is.
    paused_at: Option<EpochSeconds>,
    /// Why it ended.
    reason: Option<EndReason>,
    /// The exit code of its container.
    exit_code: Option<i64>,
    /// When its end was decided.
    ended_at: Option<EpochSeconds>,
    /// The holds on it.
    holds: Option<Vec<WrittenHold>>,
    /// The container's id.
    container_id: Option<Box<str>>,
    /// The image's reference.
    image: Option<Box<str>>,
    /// The template's name.
    template: Option<Box<str>>,
    /// Published ports.
    ports: Option<Fields<Box<str>>>,
    /// Whether it came from the reference system.
    taken_over: Option<bool>,
    /// The end of what its container wrote.
    last_output: Option<Box<str>>,
    /// Whether work resumes it.
    wake: Option<bool>,
    /// Whether its ports answer requests without its token.
    public_traffic: Option<bool>,
    /// The `Host` that its ports see.
    mask_request_host: Option<Box<str>>,
    /// The network that it joined.
    network: Option<Network>,
    /// What it may reach there.
    egress: Option<Box<Egress>>,
}

/// A duration in a record: seconds, greater than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("expected seconds, a number greater than 0");
        let seconds = f64::deserialize(deserializer).map_err(|_| wrong())?;
        if seconds.is_nan() || seconds <= 0.0 {
            return Err(wrong());
        }
        // Seconds that overflow a duration are read as the longest one.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            .filter(|it| !it.is_zero())
            .map(Self)
            .ok_or_else(wrong)
    }
}

/// A hold in a record; its times are epoch seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrittenHold {
    /// What its owner calls it.
    pub name: Box<str>,
    /// What it is for.
    pub reason: Option<Box<str>>,
    /// When it was taken.
    pub since: EpochSeconds,
    /// When it is over, unless it is renewed.
    pub until: EpochSeconds,
}

impl WrittenHold {
    /// `hold` with wall-clock times.
    pub fn of(hold: &Hold, now: &Now) -> Self {
        let Hold { name, reason, since, until } = hold.clone();
        Self { name, reason, since: now.wall_at(since), until: now.wall_at(until) }
    }

    /// The hold with moments.
    pub fn restored(self, now: &Now) -> Hold {
        let Self { name, reason, since, until } = self;
        let (since, until) = (now.moment_at(since), now.moment_at(until));
        // If the wall clock was set back, a hold that lies in the future began now and lasts as long as it was to.
        Hold { name, reason, since: since.min(now.moment), until: until.min(now.moment.plus(until.since(since))) }
    }
}

/// An owner's identifier as it was written: the reference system writes numbers and texts.
#[derive(Clone, Debug)]
pub struct UserId(pub Box<RawValue>);

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'"' | b'-' | b'0'..=b'9') => Ok(Self(raw)),
            _ => Err(serde::de::Error::custom("expected a number or a text")),
        }
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Damaged`] when it is no JSON object, or when a field that we know has a value of a wrong type.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let mut damaged = None;
        let record = reader.deserialize_map(Reader { damaged: &mut damaged }).and_then(|record| {
            reader.end()?;
            Ok(record)
        });
        record.map_err(|error| match damaged {
            Some(field) if error.is_data() => Damaged::Field { field, problem: without_position(&error) },
            _ => Damaged::NotJson(without_position(&error)),
        })
    }

    /// Whether it has rules. Every record of ours has; `null` stands for no idle timeout.
    pub fn has_rules(&self) -> bool {
        self.rules.get(RuleClock::Idle).is_some()
    }

    /// Whether it was never ours and lacks a time that the idle rule needs ([design:
    /// record](crate::design::persistence::record)).
    pub fn is_legacy(&self) -> bool {
        !self.has_rules() && (self.expires_at.is_none() || self.last_activity_at.is_none())
    }
}

/// Reads an object. If a name occurs twice, the last value wins, as usual in JSON.
struct Reader<'a> {
    /// The field whose value could not be read.
    damaged: &'a mut Option<&'static str>,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Record;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let mut record = Record::default();
        while let Some(Name(name)) = map.next_key()? {
            record.read(&name, &mut map, self.damaged)?;
        }
        Ok(record)
    }
}

/// A field's name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Removes the position: a record is one line, and the field is named.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Writes a record. `last_activity` overrides the machine's own, because the journal knows of later pings. The record may
/// lack the pings of its last `flush_interval`.
pub fn encode(sandbox: &Sandbox, last_activity: Moment, flush_interval: Duration, now: &Now) -> Vec<u8> {
    // A record is a map of texts, numbers and raw JSON, and a vector takes every byte: this cannot fail.
    serde_json::to_vec(&Written { sandbox, last_activity, flush_interval, now }).unwrap_or_default()
}

struct Written<'a> {
    sandbox: &'a Sandbox,
    last_activity: Moment,
    flush_interval: Duration,
    now: &'a Now,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (sandbox, details) = (self.sandbox, &self.sandbox.details);
        let rules = sandbox.rules().spelling();
        let spelled =
            |clock: RuleClock| Some((clock.timeout_name(), rules.get(clock)?.map(|after| after.as_secs_f64())));
        let (always, where_set): (Vec<_>, Vec<_>) =
            RuleClock::ALL.into_iter().partition(|clock| clock.is_always_spelled());
        let wall = |moment| self.now.wall_at(moment);
        let mut map = serializer.serialize_map(None)?;
        // The reference system reads each of its fields without a default, so all of them are always written.
        map.serialize_entry("sandbox_id", &details.id)?;
        map.serialize_entry("container_name", &details.container_name)?;
        map.serialize_entry("base_url", &details.base_url)?;
        map.serialize_entry("status", &sandbox.status())?;
        map.serialize_entry("error_message", &details.error_message)?;
        map.serialize_entry("created_at", &details.created_at)?;
        map.serialize_entry("started_at", &details.started_at)?;
        map.serialize_entry("last_activity_at", &wall(self.last_activity))?;
        map.serialize_entry("expires_at", &wall(sandbox.expires_at()))?;
        map.serialize_entry("shell_type", &details.shell_type)?;
        map.serialize_entry("user_id", &details.user_id)?;
        map.serialize_entry("user_name", &details.user_name)?;
        map.serialize_entry("executor_namespace", &details.executor_namespace)?;
        map.serialize_entry("metadata", &details.metadata)?;
        map.serialize_entry("v", &RECORD_VERSION)?;
        for (name, seconds) in always.into_iter().filter_map(spelled) {
            map.serialize_entry(name, &seconds)?;
        }
        map.serialize_entry("on_timeout", &rules.on_timeout)?;
        map.serialize_entry("flush_interval", &self.flush_interval.as_secs_f64())?;
        for (name, seconds) in where_set.into_iter().filter_map(spelled) {
            map.serialize_entry(name, &seconds)?;
        }
        let mut optional = Optional(map);
        // Of the activity that only the journal knows, nothing was lost.
        let is_owed = sandbox.is_alive() && self.last_activity <= sandbox.last_activity();
        let slack = Some(sandbox.idle_slack()).filter(|slack| is_owed && !slack.is_zero());
        optional.entry("idle_slack", slack.map(|slack| slack.as_secs_f64()))?;
        optional.entry("paused_at", sandbox.paused_since().map(wall))?;
        optional.entry("reason", sandbox.end().map(|end| end.reason))?;
        optional.entry("exit_code", sandbox.end().and_then(|end| end.exit_code))?;
        optional.entry("ended_at", sandbox.end().map(|end| wall(end.decided_at)))?;
        let holds: Vec<_> = details.holds.iter().map(|hold| WrittenHold::of(hold, self.now)).collect();
        optional.entry("holds", (!holds.is_empty()).then_some(holds))?;
        optional.entry("container_id", details.container_id.as_ref())?;
        optional.entry("image", details.image.as_ref())?;
        optional.entry("template", details.template.as_ref())?;
        optional.entry("ports", (!details.ports.is_empty()).then_some(&details.ports))?;
        optional.entry("taken_over", details.taken_over.then_some(true))?;
        optional.entry("last_output", details.last_output.as_ref())?;
        optional.entry("wake", details.wake)?;
        optional.entry("public_traffic", details.public_traffic.then_some(true))?;
        optional.entry("mask_request_host", details.mask_request_host.as_ref())?;
        optional.entry("network", details.network.as_ref())?;
        optional.entry("egress", details.egress.as_ref())?;
        for (name, raw) in details.extra.iter() {
            optional.0.serialize_entry(name, raw)?;
        }
        optional.0.end()
    }
}

/// Leaves out fields without a value.
struct Optional<M>(M);

impl<M: SerializeMap> Optional<M> {
    fn entry<T: Serialize>(&mut self, name: &str, value: Option<T>) -> Result<(), M::Error> {
        match value {
            Some(value) => self.0.serialize_entry(name, &value),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_from_the_future_lasts_no_longer_than_it_was_to() {
        let now = Now { moment: Moment::from_nanos(5_000_000_000), epoch_offset: 0 };
        let restored = |since, until| WrittenHold { name: "a".into(), reason: None, since, until }.restored(&now);
        let seconds = |seconds| Moment::from_nanos(0).plus(Duration::from_secs(seconds));
        // A hold that began before keeps its end; one whose clock was years ahead lasts its ten minutes.
        assert_eq!((restored(4.0, 604.0).since, restored(4.0, 604.0).until), (seconds(4), seconds(604)));
        let ahead = restored(1.8e9, 1.8e9 + 600.0);
        assert_eq!((ahead.since, ahead.until), (seconds(5), seconds(605)));
    }
}
