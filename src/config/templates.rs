//! Templates: as they are written, and with their fallbacks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::leaf::{LimitKeys, OrNone};
use crate::domain::{
    OnTimeout, Rules,
    egress::{Network, Ranges},
    leaf::{EnvName, ImageRef, Leaf, Ports, Text, Timeout},
    sandbox::{RuleClock, Spelling},
    spec::{Mount, Readiness, StartSpec},
};

/// The template of requests that name none. It always exists.
pub const BASE_TEMPLATE: &str = "base";

/// A named preset: what a sandbox is made from and how long it lives, unless a request says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The container.
    pub start: StartSpec,
    /// The rules for its timeouts.
    pub rules: Rules,
    /// Whether its idle timeout is its own, and not that of the `lifecycle` section.
    pub own_idle_timeout: bool,
    /// Whether work in a paused sandbox resumes it first, instead of being refused.
    pub wake: bool,
}

/// A template as it is written: every key may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct TemplateKeys {
    pub(super) image: Option<OrNone<ImageRef>>,
    pub(super) command: Option<Vec<Text>>,
    pub(super) env: BTreeMap<EnvName, Text>,
    pub(super) ports: Option<Ports>,
    pub(super) limits: LimitKeys,
    pub(super) init: Option<bool>,
    pub(super) privilege_escalation: Option<bool>,
    pub(super) agent: Option<bool>,
    pub(super) wake: Option<bool>,
    pub(super) mounts: Vec<Mount>,
    pub(super) network: Option<Network>,
    pub(super) egress: Ranges,
    pub(super) ready: Readiness,
    pub(super) ready_timeout: Option<Timeout>,
    pub(super) idle_timeout: Option<OrNone<Timeout>>,
    pub(super) active_timeout: Option<Timeout>,
    pub(super) paused_timeout: Option<OrNone<Timeout>>,
    pub(super) heartbeat_timeout: Option<OrNone<Timeout>>,
    pub(super) on_timeout: Option<OnTimeout>,
}

impl TemplateKeys {
    /// The template's own rules, and those of the `lifecycle` section for the rest.
    pub(super) fn rules(&self, lifecycle: &Rules) -> Rules {
        let mut spelling = Spelling::new(self.on_timeout);
        for (clock, timeout) in [
            (RuleClock::Idle, self.idle_timeout.plain()),
            (RuleClock::Active, self.active_timeout.plain().map(Some)),
            (RuleClock::Paused, self.paused_timeout.plain()),
            (RuleClock::Heartbeat, self.heartbeat_timeout.plain()),
        ] {
            spelling = timeout.map_or(spelling, |after| spelling.with(clock, after));
        }
        spelling.or(lifecycle)
    }
}
