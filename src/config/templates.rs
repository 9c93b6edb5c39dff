//! Templates: as they are written, and as they hold once everything that they leave out is settled.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::leaf::{LimitKeys, OrNone};
use crate::domain::{
    OnTimeout, Rules,
    leaf::{EnvName, ImageRef, Ports, Text, Timeout, checked},
    sandbox::{RuleClock, Spelling},
    spec::{Mount, Readiness, StartSpec},
};

/// The name of the template that a request without one gets. It always exists.
pub const BASE_TEMPLATE: &str = "base";

/// A named preset: what a sandbox is made from and how long it lives, before a request changes some of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// What the container is made from.
    pub start: StartSpec,
    /// The rules that it lives by.
    pub rules: Rules,
}

/// A template as it is written: every key may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct TemplateKeys {
    #[serde(deserialize_with = "checked::<Option<ImageRef>, _>")]
    pub(super) image: Option<String>,
    #[serde(deserialize_with = "checked::<Option<Vec<Text>>, _>")]
    pub(super) command: Option<Vec<String>>,
    #[serde(deserialize_with = "checked::<BTreeMap<EnvName, Text>, _>")]
    pub(super) env: BTreeMap<String, String>,
    #[serde(deserialize_with = "checked::<Option<Ports>, _>")]
    pub(super) ports: Option<Vec<u16>>,
    pub(super) limits: LimitKeys,
    pub(super) init: Option<bool>,
    pub(super) privilege_escalation: Option<bool>,
    pub(super) mounts: Vec<Mount>,
    pub(super) ready: Readiness,
    #[serde(deserialize_with = "checked::<Option<Timeout>, _>")]
    pub(super) ready_timeout: Option<Duration>,
    #[serde(deserialize_with = "checked::<Option<OrNone<Timeout>>, _>")]
    pub(super) idle_timeout: Option<Option<Duration>>,
    #[serde(deserialize_with = "checked::<Option<Timeout>, _>")]
    pub(super) active_timeout: Option<Duration>,
    #[serde(deserialize_with = "checked::<Option<OrNone<Timeout>>, _>")]
    pub(super) paused_timeout: Option<Option<Duration>>,
    #[serde(deserialize_with = "checked::<Option<OrNone<Timeout>>, _>")]
    pub(super) heartbeat_timeout: Option<Option<Duration>>,
    pub(super) on_timeout: Option<OnTimeout>,
}

impl TemplateKeys {
    /// The rules that it spells; of the rest, those of the `lifecycle` section hold.
    pub(super) fn rules(&self, lifecycle: &Rules) -> Rules {
        let mut spelling = Spelling::new(self.on_timeout);
        for (clock, timeout) in [
            (RuleClock::Idle, self.idle_timeout),
            (RuleClock::Active, self.active_timeout.map(Some)),
            (RuleClock::Paused, self.paused_timeout),
            (RuleClock::Heartbeat, self.heartbeat_timeout),
        ] {
            spelling = timeout.map_or(spelling, |after| spelling.with(clock, after));
        }
        spelling.or(lifecycle)
    }
}
