//! Fallbacks of templates: the `lifecycle` and `docker` sections for timeouts and the network, the template `base` for limits, ports and
//! init.

use std::{collections::BTreeMap, path::Path};

use super::{
    layers::Layers,
    leaf::{OrNone, TemplateName},
    settings::{DockerSettings, LifecycleSettings, SandboxSettings},
    templates::{BASE_TEMPLATE, Template, TemplateKeys},
};
use crate::domain::{
    egress::{Egress, Network, Ranges},
    leaf::Leaf,
    spec::{Mount, StartSpec},
};

/// The key that allows "none" for an [idle timeout](crate::design::time::idle_timeout), and the rule.
pub(super) const ALLOWED: &str = "lifecycle.allow_no_idle_timeout";
pub(super) const NONE_NEEDS: &str = "none needs lifecycle.allow_no_idle_timeout = true";

/// Resolves the fallbacks of all templates, and reports wrong ones to `layers`.
pub(super) fn resolve(
    layers: &mut Layers,
    written: BTreeMap<TemplateName, TemplateKeys>,
    lifecycle: &LifecycleSettings,
    docker: &DockerSettings,
    sandboxes: &SandboxSettings,
) -> BTreeMap<String, Template> {
    let written: BTreeMap<String, TemplateKeys> =
        written.into_iter().map(|(name, keys)| (name.plain(), keys)).collect();
    let base = written.get(BASE_TEMPLATE).cloned().unwrap_or_default();
    let is_there = |(name, keys): &(String, TemplateKeys)| name == BASE_TEMPLATE || keys.image != Some(OrNone(None));
    let resolved = written.into_iter().filter(is_there).map(|(name, keys)| {
        let key = |below: &str| format!("templates.{name}.{below}");
        let rules = keys.rules(&lifecycle.rules());
        let may_idle = keys.idle_timeout.plain().is_none_or(|own| lifecycle.allows_idle_timeout(own));
        layers.refuse_if(!may_idle, &[&key("idle_timeout"), ALLOWED], NONE_NEEDS);
        let own_idle_timeout = keys.idle_timeout.is_some();
        let wake = keys.wake.or(base.wake).unwrap_or(false);
        let start = start(keys, &base, docker, sandboxes);
        check(layers, key, &start, sandboxes);
        (name, Template { start, rules, own_idle_timeout, wake })
    });
    resolved.collect()
}

fn start(keys: TemplateKeys, base: &TemplateKeys, docker: &DockerSettings, sandboxes: &SandboxSettings) -> StartSpec {
    StartSpec {
        // `check` refuses an empty one.
        image: keys.image.plain().flatten().unwrap_or_default(),
        // An empty command means the image's own, so that a layer can undo the command of a lower one.
        command: keys.command.plain().filter(|command| !command.is_empty()),
        env: keys.env.plain(),
        ports: keys.ports.or_else(|| base.ports.clone()).unwrap_or_default().plain(),
        limits: keys.limits.or(base.limits).plain(),
        init: keys.init.or(base.init).unwrap_or(true),
        // Each template that loosens its containers has to say so itself.
        privilege_escalation: keys.privilege_escalation.unwrap_or(false),
        agent: keys.agent.or(base.agent).unwrap_or(true),
        mounts: keys.mounts,
        network: keys.network.unwrap_or_else(|| docker.network.clone()),
        // As above: no template opens what another one has opened.
        egress: Egress { template: keys.egress, request: Ranges::default() },
        readiness: keys.ready,
        ready_timeout: keys.ready_timeout.plain().unwrap_or(sandboxes.ready_timeout),
    }
}

fn check(layers: &mut Layers, key: impl Fn(&str) -> String, start: &StartSpec, sandboxes: &SandboxSettings) {
    layers.refuse_if(start.image.is_empty(), &[&key("image")], "is missing");
    let walls = start.network == Network::Isolated || start.egress.is_empty();
    let rule = "needs network = \"isolated\": rules are for isolated networks alone";
    layers.refuse_if(!walls, &[&key("egress"), &key("network"), "docker.network"], rule);
    let (ports, ready, mounts) = (key("ports"), key("ready"), key("mounts"));
    let rule = "its port must be one of the template's ports";
    layers.refuse_if(start.unpublished_probe().is_some(), &[&ready, &ports, "templates.base.ports"], rule);
    for (index, Mount { source, target, .. }) in start.mounts.iter().enumerate() {
        let mut refuse = |wrong, rule: String| layers.refuse_if(wrong, &[&mounts, "docker.allowed_mounts"], rule);
        let allowed = sandboxes.allows_mount(Path::new(source));
        refuse(!allowed, format!("{source} is not below a path of docker.allowed_mounts"));
        let twice = start.mounts[..index].iter().any(|earlier| earlier.target == *target);
        refuse(twice, format!("has the target {target} twice"));
        let root = target.trim_matches('/').is_empty();
        refuse(root, "a target must not be the root of the container".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::testing::*, *};
    use crate::domain::sandbox::RuleClock;

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
        let Template { start, rules, .. } = &templates["other"];
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((rules.after(RuleClock::Idle), rules.after(RuleClock::Paused)), (seconds(11), seconds(13)));
        assert_eq!((rules.active_timeout().as_secs(), rules.on_timeout().as_str()), (12, "terminate"));
        assert_eq!((rules.after(RuleClock::Heartbeat), start.ready_timeout.as_secs()), (None, 14));
        assert_eq!((start.limits.cpus, start.limits.memory_mb, start.limits.pids), (Some(3.0), None, Some(5)));
        assert_eq!((start.ports.as_slice(), &start.command, start.env.len()), (&[81][..], &None, 0));
        let Template { start, rules, .. } = &templates["own"];
        assert_eq!((rules.after(RuleClock::Idle), rules.after(RuleClock::Paused)), (seconds(1), None));
        assert_eq!((rules.after(RuleClock::Heartbeat), start.ready_timeout.as_secs()), (seconds(5), 4));
        assert_eq!((start.ports.len(), rules.on_timeout().as_str()), (0, "pause"));
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
    fn a_template_is_there_only_with_an_image_and_that_of_the_code_interpreter_needs_nothing_else() {
        let name = "code-interpreter-v1";
        assert!(!load("", &[], &[]).unwrap().templates.contains_key(name));
        let settings = load("templates.code-interpreter-v1.image = \"tools:1\"", &[], &[]).unwrap();
        let Template { start, wake, .. } = &settings.templates[name];
        assert_eq!((start.image.as_str(), start.privilege_escalation, *wake), ("tools:1", true, false));
        assert_eq!(start.command.as_deref(), Some(&["sleep".to_owned(), "infinity".to_owned()][..]));
        // A layer can take a template of a lower one away, but not `base`.
        let file = "templates.a.image = \"x\"";
        let none = [("SANDGLASS_TEMPLATES__A__IMAGE", "none")];
        assert!(!load(file, &none, &[]).unwrap().templates.contains_key("a"));
        assert!(refusal("templates.base.image = \"none\"").contains("is missing"));
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
            (r#"{source = "/srv"}"#, "needs the key \"target\""),
            (r#"{source = "/srv", target = "/a"}, {source = "/srv/b", target = "/a"}"#, "twice"),
        ] {
            let refused = mount(wrong).unwrap_err();
            assert!(refused.starts_with("some.toml: templates.base.mounts") && refused.contains(rule), "{refused}");
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
