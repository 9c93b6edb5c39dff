//! The body of a create: what a container may do, which is little ([design: hardening](crate::design::engine::hardening)).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, RestartPolicy, RestartPolicyNameEnum,
};

use super::{reach::key, settings::Ports};
use crate::domain::spec::{self, Limits, StartSpec};

/// What is left after all capabilities are dropped: enough for a package manager and a web server that change their
/// user and own their files, and nothing that reaches beyond the container.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "NET_BIND_SERVICE", "KILL"];

/// The engine's log files, per container: 3 of 10 MB at most.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];

const BYTES_PER_MEBIBYTE: u64 = 1 << 20;
const NANOS_PER_CPU: f64 = 1e9;

/// What to create for `spec`, with these labels.
pub(super) fn body(spec: &StartSpec, ports: &Ports, labels: HashMap<String, String>) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: spec.command.clone(),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels),
        exposed_ports: Some(spec.ports.iter().copied().map(key).collect()),
        host_config: Some(host_config(spec, ports)),
        ..Default::default()
    }
}

fn host_config(spec: &StartSpec, ports: &Ports) -> HostConfig {
    let memory = spec.limits.memory_mb.map(|mebibytes| clamp(mebibytes.saturating_mul(BYTES_PER_MEBIBYTE)));
    HostConfig {
        security_opt: Some(security_options(spec)),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        memory,
        // The same again: memory and swap together, so that there is no swap beyond the limit.
        memory_swap: memory,
        nano_cpus: nano_cpus(spec.limits),
        pids_limit: spec.limits.pids.map(clamp),
        init: Some(spec.init),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_OPTIONS.map(|(option, value)| (option.to_owned(), value.to_owned())).into()),
        }),
        network_mode: Some(ports.network.clone()),
        port_bindings: Some(ports.bindings(&spec.ports)),
        publish_all_ports: Some(false),
        mounts: Some(spec.mounts.iter().map(bind).collect()),
        // Whether a container lives is Sandglass's decision alone.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        ..Default::default()
    }
}

/// Left out where privileges may be gained, so that a rule of the engine's own counts.
fn security_options(spec: &StartSpec) -> Vec<String> {
    if spec.privilege_escalation { Vec::new() } else { vec!["no-new-privileges:true".to_owned()] }
}

/// A bind mount with its paths apart, not joined by colons: no path can then smuggle in another one, and a source that
/// is missing is an error instead of a fresh directory of root's.
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
    // A float-to-integer cast saturates; what is no sensible share, the engine refuses.
    limits.cpus.map(|cpus| (cpus * NANOS_PER_CPU).round() as i64)
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
