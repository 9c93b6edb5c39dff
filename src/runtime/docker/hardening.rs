//! The body of a create, which restricts what a container may do ([design: hardening](crate::design::engine::hardening)).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, NetworkingConfig, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{
    addresses::Place,
    names::endpoint,
    reach::{key, mode},
    settings::Ports,
    volume::AgentVolume,
};
use crate::domain::spec::{self, Limits, StartSpec};

/// The capabilities that a container keeps: enough for a package manager or a web server that changes its user and owns its
/// files, and none that reaches beyond the container.
///
/// - `CHOWN`, `DAC_OVERRIDE`, `FOWNER`: root installs packages: it writes files of other users, gives files to them, and sets
///   their modes. The kernel applies them to the container's own files, and to mounts that the configuration allows.
/// - `SETUID`, `SETGID`: a server that root starts goes on as another user; `su` and the agent start processes of users.
/// - `NET_BIND_SERVICE`: a server listens on ports below 1024 of the container's own network.
/// - `KILL`: root ends processes of other users in the container.
///
/// Of those that Docker grants by default, these are left out: `NET_RAW`, with which a sandbox could send packets and ARP in
/// the name of others ([design: not defended](crate::design::walls::not_defended)); `MKNOD`, which makes devices;
/// `AUDIT_WRITE`, which writes to the host's log; `SETPCAP` and `SETFCAP`, which hand capabilities on; `SYS_CHROOT`, which
/// nothing here needs; `FSETID`, which keeps setuid bits when files change.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "NET_BIND_SERVICE", "KILL"];

/// Limits the engine's log files of a container to 3 of 10 MB.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];

const BYTES_PER_MEBIBYTE: u64 = 1 << 20;
const NANOS_PER_CPU: f64 = 1e9;

/// `place` is where the container will be on a network of ours, if it joins one.
pub(super) fn body(
    spec: &StartSpec,
    place: Option<&Place>,
    ports: Ports,
    labels: HashMap<String, String>,
) -> ContainerCreateBody {
    let endpoints = place.map(|place| HashMap::from([(place.network.clone(), endpoint(place.address))]));
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: spec.command.clone(),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels),
        exposed_ports: Some(spec.ports.iter().copied().map(key).collect()),
        host_config: Some(host_config(spec, place, ports)),
        networking_config: endpoints.map(|endpoints| NetworkingConfig { endpoints_config: Some(endpoints) }),
        ..Default::default()
    }
}

fn host_config(spec: &StartSpec, place: Option<&Place>, ports: Ports) -> HostConfig {
    let memory = spec.limits.memory_mb.map(|mebibytes| clamp(mebibytes.saturating_mul(BYTES_PER_MEBIBYTE)));
    HostConfig {
        security_opt: Some(security_options(spec)),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        memory,
        // The sum of memory and swap, so that there is no swap.
        memory_swap: memory,
        nano_cpus: nano_cpus(spec.limits),
        pids_limit: spec.limits.pids.map(clamp),
        init: Some(spec.init),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_OPTIONS.map(|(option, value)| (option.to_owned(), value.to_owned())).into()),
        }),
        network_mode: Some(place.map_or_else(|| mode(&spec.network), |place| place.network.as_str()).to_owned()),
        port_bindings: Some(ports.bindings(&spec.network, &spec.ports)),
        publish_all_ports: Some(false),
        mounts: Some(spec.mounts.iter().map(bind).chain(spec.agent.then(AgentVolume::mount)).collect()),
        // Only Sandglass decides whether a container runs.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        ..Default::default()
    }
}

/// Empty where processes may gain privileges, so that the engine's default applies.
fn security_options(spec: &StartSpec) -> Vec<String> {
    if spec.privilege_escalation { Vec::new() } else { vec!["no-new-privileges:true".to_owned()] }
}

/// A bind mount with separate paths, not joined by colons: so no path can contain another one, and a missing source is an
/// error instead of a new directory that belongs to root.
fn bind(mount: &spec::Mount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    }
}

fn nano_cpus(limits: Limits) -> Option<i64> {
    // The cast saturates, and the engine rejects an absurd share.
    limits.cpus.map(|cpus| (cpus * NANOS_PER_CPU).round() as i64)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
