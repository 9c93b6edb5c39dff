//! The checks of templates, and what each falls back to: timeouts to the `lifecycle` section; limits, ports and init to
//! the template `base`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    check::{Check, TIMEOUT},
    raw::{RawLimits, RawMount, RawReady, RawTemplate},
    rules,
    settings::{BASE_TEMPLATE, DockerSettings, LifecycleSettings, Template},
};
use crate::domain::{
    Policy,
    spec::{Mount, Readiness, StartSpec},
};

/// What templates are checked against and fall back to.
struct Defaults<'a> {
    lifecycle: &'a LifecycleSettings,
    docker: &'a DockerSettings,
    ready_timeout: Duration,
    limits: RawLimits,
    ports: Option<Vec<i64>>,
    init: bool,
}

/// Checks all templates.
pub(super) fn settle(
    check: &mut Check<'_>,
    raw: BTreeMap<String, RawTemplate>,
    lifecycle: &LifecycleSettings,
    docker: &DockerSettings,
    ready_timeout: Duration,
) -> BTreeMap<String, Template> {
    let base = raw.get(BASE_TEMPLATE);
    let limits = base.map(|base| base.limits).unwrap_or_default();
    let ports = base.and_then(|base| base.ports.clone());
    let init = base.and_then(|base| base.init).unwrap_or(true);
    let defaults = Defaults { lifecycle, docker, ready_timeout, limits, ports, init };
    raw.into_iter()
        .map(|(name, raw)| {
            let key = format!("templates.{name}");
            if !rules::is_template_name(&name) {
                check.refuse(&key, format!("the name must be {}", rules::TEMPLATE_NAME_RULE));
            }
            let policy = policy(check, &key, &raw, &defaults);
            let start = start(check, &key, raw, &defaults);
            (name, Template { start, policy })
        })
        .collect()
}

fn policy(check: &mut Check<'_>, key: &str, raw: &RawTemplate, defaults: &Defaults<'_>) -> Policy {
    let lifecycle = defaults.lifecycle;
    let key = |name: &str| format!("{key}.{name}");
    Policy {
        idle_timeout: raw.idle_timeout.map_or(lifecycle.idle_timeout, |timeout| {
            check.idle_timeout(&key("idle_timeout"), timeout, lifecycle.allow_no_idle_timeout)
        }),
        paused_timeout: raw
            .paused_timeout
            .map_or(lifecycle.paused_timeout, |timeout| check.seconds_or_none(&key("paused_timeout"), timeout)),
        heartbeat_timeout: raw
            .heartbeat_timeout
            .and_then(|timeout| check.seconds_or_none(&key("heartbeat_timeout"), timeout)),
        active_timeout: raw
            .active_timeout
            .map_or(lifecycle.active_timeout, |timeout| check.seconds(&key("active_timeout"), Some(timeout), TIMEOUT)),
        on_timeout: raw.on_timeout.unwrap_or(lifecycle.on_timeout),
    }
}

fn start(check: &mut Check<'_>, key: &str, raw: RawTemplate, defaults: &Defaults<'_>) -> StartSpec {
    let key = |name: &str| format!("{key}.{name}");
    let image = check.required(&key("image"), raw.image, "missing".into());
    if !rules::is_image(&image) {
        check.refuse(&key("image"), format!("must be {}", rules::IMAGE_RULE));
    }
    // An empty command takes the image's own, so that a layer can take back a command below it.
    let command = raw.command.filter(|command| !command.is_empty());
    if !command.iter().flatten().all(|argument| rules::is_text(argument)) {
        check.refuse(&key("command"), format!("each argument must be {}", rules::TEXT_RULE));
    }
    for (name, value) in &raw.env {
        if !rules::is_env_name(name) {
            check.refuse(&key(&format!("env.{name}")), format!("the name must be {}", rules::ENV_NAME_RULE));
        }
        if !rules::is_text(value) {
            check.refuse(&key(&format!("env.{name}")), format!("must be {}", rules::TEXT_RULE));
        }
    }
    let ports = ports(check, &key("ports"), raw.ports.as_ref().or(defaults.ports.as_ref()));
    let limits = RawLimits {
        cpus: raw.limits.cpus.or(defaults.limits.cpus),
        memory_mb: raw.limits.memory_mb.or(defaults.limits.memory_mb),
        pids: raw.limits.pids.or(defaults.limits.pids),
    };
    StartSpec {
        image,
        command,
        env: raw.env,
        limits: check.limits(&key("limits"), &limits),
        init: raw.init.unwrap_or(defaults.init),
        // What loosens a container holds only for the template that says so.
        privilege_escalation: raw.privilege_escalation.unwrap_or(false),
        mounts: mounts(check, &key("mounts"), raw.mounts.unwrap_or_default(), defaults.docker),
        readiness: readiness(check, &key("ready"), raw.ready, &ports),
        ports,
        ready_timeout: raw
            .ready_timeout
            .map_or(defaults.ready_timeout, |timeout| check.seconds(&key("ready_timeout"), Some(timeout), TIMEOUT)),
    }
}

fn ports(check: &mut Check<'_>, key: &str, raw: Option<&Vec<i64>>) -> Vec<u16> {
    let mut ports = Vec::new();
    for number in raw.into_iter().flatten() {
        match rules::port(*number) {
            Some(port) if ports.contains(&port) => check.refuse(key, format!("has {port} twice")),
            Some(port) => ports.push(port),
            None => check.refuse(key, format!("each must be {}", rules::PORT_RULE)),
        }
    }
    ports
}

fn readiness(check: &mut Check<'_>, key: &str, raw: Option<RawReady>, ports: &[u16]) -> Readiness {
    let (number, path) = match raw {
        None | Some(RawReady::None) => return Readiness::Started,
        Some(RawReady::Tcp(number)) => (number, None),
        Some(RawReady::Http { port, path }) => (port, Some(path)),
    };
    // It is asked for from the host, so it has to be published.
    let port = rules::port(number).filter(|port| ports.contains(port)).unwrap_or_else(|| {
        check.refuse(key, "its port must be one of the template's ports");
        0
    });
    match path {
        None => Readiness::Tcp(port),
        Some(path) => {
            if !rules::is_http_path(&path) {
                check.refuse(key, format!("its path must be {}", rules::HTTP_PATH_RULE));
            }
            Readiness::Http { port, path }
        }
    }
}

fn mounts(check: &mut Check<'_>, key: &str, raw: Vec<RawMount>, docker: &DockerSettings) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for RawMount { source, target, read_only } in raw {
        let (Some(source), Some(target)) = (source, target) else {
            check.refuse(key, "each needs a source and a target");
            continue;
        };
        if !rules::is_absolute_path(&source) || !rules::is_absolute_path(&target) {
            check.refuse(key, format!("each source and target must be {}", rules::PATH_RULE));
        } else if !docker.allows_mount(source.as_ref()) {
            check.refuse(key, format!("{source} is not below a path of docker.allowed_mounts"));
        }
        if target.trim_matches('/').is_empty() {
            check.refuse(key, "a target must not be the root of the container");
        }
        if mounts.iter().any(|mount| mount.target == target) {
            check.refuse(key, format!("has the target {target} twice"));
        }
        mounts.push(Mount { source, target, read_only: read_only.unwrap_or(true) });
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_template_falls_back_to_the_lifecycle_and_to_the_limits_and_ports_of_base() {
        let file = r#"
            lifecycle = { idle_timeout = 11, active_timeout = 12, paused_timeout = 13, on_timeout = "terminate" }
            docker.ready_timeout = 14
            templates.base = { ports = [81], limits = { cpus = 3 }, command = ["x"], env = { A = "1" } }
            templates.other = { image = "alpine", limits = { pids = 5, memory_mb = "none" } }
            templates.own = { image = "alpine", idle_timeout = 1, active_timeout = 2, paused_timeout = "none", ports = [],
                on_timeout = "pause", ready_timeout = 4, heartbeat_timeout = 5 }
        "#;
        let templates = load(file, &[], &[]).unwrap().templates;
        let Template { start, policy } = &templates["other"];
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((policy.idle_timeout, policy.paused_timeout), (seconds(11), seconds(13)));
        assert_eq!((policy.active_timeout.as_secs(), policy.on_timeout.as_str()), (12, "terminate"));
        assert_eq!((policy.heartbeat_timeout, start.ready_timeout.as_secs()), (None, 14));
        assert_eq!((start.limits.cpus, start.limits.memory_mb, start.limits.pids), (Some(3.0), None, Some(5)));
        assert_eq!((start.ports.as_slice(), &start.command, start.env.len()), (&[81][..], &None, 0));
        let Template { start, policy } = &templates["own"];
        assert_eq!((policy.idle_timeout, policy.paused_timeout), (seconds(1), None));
        assert_eq!((policy.heartbeat_timeout, start.ready_timeout.as_secs()), (seconds(5), 4));
        assert_eq!((start.ports.len(), policy.on_timeout.as_str()), (0, "pause"));
    }

    #[test]
    fn init_falls_back_to_base_and_privilege_escalation_is_off_unless_the_template_says_otherwise() {
        let of = |file: &str, name: &str| {
            let template = load(file, &[], &[]).unwrap().templates.remove(name).unwrap();
            (template.start.init, template.start.privilege_escalation)
        };
        assert_eq!(of("", "base"), (true, false));
        let file = "templates.base = {init = false, privilege_escalation = true}\ntemplates.a.image = \"a\"";
        assert_eq!((of(file, "base"), of(file, "a")), ((false, true), (false, false)));
        let file = "templates.base.init = false\ntemplates.a = {image = \"a\", init = true}";
        assert_eq!(of(file, "a"), (true, false));
        assert!(refusal("templates.base.init = 1").contains("must be true or false"));
    }

    #[test]
    fn a_template_without_an_image_is_refused_where_it_is_written() {
        assert_eq!(refusal("[templates.a]"), "some.toml: templates.a.image: is missing");
        assert_eq!(refusal("[templates.a]\nports = []"), "some.toml: templates.a.image: is missing");
        assert!(refusal("templates.\"a.b\".image = \"x\"").contains("the name must be"));
    }

    #[test]
    fn a_mount_has_to_be_allowed_absolute_and_alone_at_its_target() {
        let mount = |mounts: &str| {
            let file = format!("docker.allowed_mounts = [\"/srv\"]\ntemplates.base.mounts = [{mounts}]");
            load(&file, &[], &[]).map(|settings| settings.templates["base"].start.mounts.clone())
        };
        let good = mount(r#"{source = "/srv/a", target = "/a"}, {source = "/srv", target = "/b", read_only = false}"#);
        let good = good.unwrap();
        assert_eq!(good[0], Mount { source: "/srv/a".into(), target: "/a".into(), read_only: true });
        assert!(!good[1].read_only);
        for (wrong, rule) in [
            (r#"{source = "/etc", target = "/a"}"#, "/etc is not below"),
            (r#"{source = "/srv/../etc", target = "/a"}"#, "without '..'"),
            (r#"{source = "/srv", target = "a"}"#, "an absolute path"),
            (r#"{source = "/srv", target = "//"}"#, "the root"),
            (r#"{source = "/srv"}"#, "needs a source and a target"),
            (r#"{source = "/srv", target = "/a"}, {source = "/srv/b", target = "/a"}"#, "twice"),
        ] {
            let refused = mount(wrong).unwrap_err();
            assert!(refused.starts_with("some.toml: templates.base.mounts = [") && refused.contains(rule), "{refused}");
        }
    }

    #[test]
    fn a_value_beyond_its_rule_is_refused() {
        for (wrong, rule) in [
            ("image = \"-v\"", "an image's reference"),
            ("command = [\"a\\u0000\"]", "NUL"),
            ("env = {\"1A\" = \"\"}", "not a digit"),
            ("ports = [0]", "1 to 65535"),
            ("ports = [65536]", "1 to 65535"),
            ("ports = [80, 80]", "80 twice"),
            ("ready = {tcp = 81}", "one of the template's ports"),
            ("ready = {http = {port = 80, path = \"health\"}}", "begins with '/'"),
            ("limits.pids = 0", "1 to"),
            ("idle_timeout = 0", "0 is refused"),
            ("heartbeat_timeout = 0", "0 is refused"),
            ("ready_timeout = 0", "0 is refused"),
        ] {
            let refused = refusal(&format!("[templates.base]\n{wrong}"));
            assert!(refused.starts_with("some.toml: templates.base.") && refused.contains(rule), "{refused}");
        }
    }
}
