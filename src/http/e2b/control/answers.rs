//! Sandboxes as E2B's SDKs read them. A field that a struct has here without `Option` is one that they cannot do without.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    domain::{EpochSeconds, Now, OnTimeout, Sandbox, Status, egress::Ranges},
    http::e2b::access::{self, Opens},
    sandboxes::Sandboxes,
};

/// The version of E2B's agent that ours is like. SDKs ask only for what that version has.
const AGENT_VERSION: &str = "0.6.3";
/// A field of early versions, which SDKs still insist on.
const CLIENT: &str = "sandglass";

/// The latest time that RFC 3339 can say, in epoch seconds.
const END_OF_TIME: f64 = 253_402_300_799.0;

/// What create, connect and resume answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxAnswer<'a> {
    #[serde(flatten)]
    names: Names<'a>,
    envd_access_token: String,
    traffic_access_token: Option<String>,
    domain: Option<&'a str>,
}

/// What a list has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedSandbox<'a> {
    #[serde(flatten)]
    names: Names<'a>,
    started_at: String,
    end_at: String,
    cpu_count: u64,
    #[serde(rename = "memoryMB")]
    memory_mb: u64,
    #[serde(rename = "diskSizeMB")]
    disk_size_mb: u64,
    state: &'static str,
    metadata: BTreeMap<&'a str, Cow<'a, str>>,
}

/// All that is told of one sandbox.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxDetail<'a> {
    #[serde(flatten)]
    listed: ListedSandbox<'a>,
    envd_access_token: String,
    domain: Option<&'a str>,
    lifecycle: Lifecycle,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_mode: Option<&'static str>,
}

#[derive(Serialize)]
struct Names<'a> {
    #[serde(rename = "templateID")]
    template: &'a str,
    #[serde(rename = "sandboxID")]
    sandbox: &'a str,
    #[serde(rename = "clientID")]
    client: &'static str,
    #[serde(rename = "envdVersion")]
    agent_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    on_timeout: &'static str,
    auto_resume: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Network<'a> {
    allow_public_traffic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_request_host: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_out: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny_out: Vec<IpNet>,
}

impl<'a> Names<'a> {
    fn of(sandbox: &'a Sandbox) -> Self {
        let details = &sandbox.details;
        let template = details.template.as_deref();
        Self {
            // One that was taken over has an image and no template.
            template: template.or(details.image.as_deref()).unwrap_or("unknown"),
            sandbox: details.id.as_str(),
            client: CLIENT,
            agent_version: AGENT_VERSION,
            alias: template,
        }
    }
}

impl<'a> SandboxAnswer<'a> {
    pub(super) fn of(sandbox: &'a Sandbox, sandboxes: &'a Sandboxes) -> Self {
        let settings = sandboxes.settings();
        Self {
            names: Names::of(sandbox),
            envd_access_token: access::token(settings, sandbox, Opens::Agent).expose().to_owned(),
            traffic_access_token: (!sandbox.details.public_traffic)
                .then(|| access::token(settings, sandbox, Opens::Traffic).expose().to_owned()),
            domain: settings.http.sandbox_domain.as_deref(),
        }
    }
}

impl<'a> ListedSandbox<'a> {
    pub(super) fn of(sandbox: &'a Sandbox, sandboxes: &Sandboxes, now: &Now) -> Self {
        let details = &sandbox.details;
        let template = details.template.as_deref().and_then(|name| sandboxes.settings().templates.get(name));
        let limits = template.map(|template| template.start.limits).unwrap_or_default();
        // A paused sandbox has used up its time when it was paused.
        let end = sandbox.paused_since().unwrap_or(sandbox.expires_at());
        Self {
            names: Names::of(sandbox),
            started_at: rfc3339(details.created_at),
            end_at: rfc3339(now.wall_at(end)),
            // 0: there is no limit.
            cpu_count: limits.cpus.map_or(0, |cpus| cpus.ceil() as u64),
            memory_mb: limits.memory_mb.unwrap_or(0),
            disk_size_mb: 0,
            state: state(sandbox),
            metadata: metadata(sandbox),
        }
    }
}

impl<'a> SandboxDetail<'a> {
    pub(super) fn of(sandbox: &'a Sandbox, sandboxes: &'a Sandboxes, now: &Now) -> Self {
        let settings = sandboxes.settings();
        Self {
            listed: ListedSandbox::of(sandbox, sandboxes, now),
            envd_access_token: access::token(settings, sandbox, Opens::Agent).expose().to_owned(),
            domain: settings.http.sandbox_domain.as_deref(),
            lifecycle: Lifecycle {
                on_timeout: if sandbox.rules().on_timeout() == OnTimeout::Pause { "pause" } else { "kill" },
                auto_resume: sandboxes.is_woken_by_work(sandbox),
            },
            network: Network::of(sandbox),
            // A pause keeps the memory, too.
            pause_mode: (state(sandbox) == "paused").then_some("full"),
        }
    }
}

impl<'a> Network<'a> {
    /// What was asked for, if anything was.
    fn of(sandbox: &'a Sandbox) -> Option<Self> {
        let details = &sandbox.details;
        let mask_request_host = details.mask_request_host.as_deref();
        let Ranges { allow, deny } = sandbox.egress().request;
        let is_usual = details.public_traffic && mask_request_host.is_none() && allow.is_empty() && deny.is_empty();
        (!is_usual).then_some(Self {
            allow_public_traffic: details.public_traffic,
            mask_request_host,
            allow_out: allow,
            deny_out: deny,
        })
    }
}

/// E2B knows two states. A sandbox that is being started counts as one that runs, since work in it waits.
pub(super) fn state(sandbox: &Sandbox) -> &'static str {
    if sandbox.status() == Status::Paused { "paused" } else { "running" }
}

/// E2B's metadata are texts; other values are told as their JSON.
fn metadata(sandbox: &Sandbox) -> BTreeMap<&str, Cow<'_, str>> {
    let text = |raw: &'_ str| serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
    let fields = sandbox.details.metadata.iter();
    fields.map(|(name, raw)| (name, text(raw.get()).unwrap_or(Cow::Borrowed(raw.get())))).collect()
}

/// A time in UTC.
pub(super) fn rfc3339(at: EpochSeconds) -> String {
    let since = Duration::try_from_secs_f64(at.clamp(0.0, END_OF_TIME)).unwrap_or_default();
    humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_said() {
        assert_eq!(rfc3339(1_795_658_400.25), "2026-11-26T02:00:00.250000Z");
        assert_eq!(rfc3339(-1.0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(f64::NAN), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1e300), "9999-12-31T23:59:59.000000Z");
    }
}
