//! The layer of environment variables.

use std::{collections::BTreeMap, env};

use super::{error::Origin, layers::Layers};

const PREFIX: &str = "SANDGLASS_";
const SEPARATOR: &str = "__";

/// The Docker client takes every text but an empty one as true, even "0".
const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";

/// Variables of the reference system and of the Docker client, and the keys they set. Empty ones count as unset, as they do
/// there; Sandglass's own variables override them.
const BORROWED: [(&str, [&str; 2]); 7] = [
    ("SANDBOX_INACTIVE_TIMEOUT", ["lifecycle", "idle_timeout"]),
    ("SANDBOX_LEGACY_TTL", ["lifecycle", "legacy_ttl"]),
    ("REDIS_URL", ["store", "redis_url"]),
    ("DOCKER_HOST", ["docker", "host"]),
    (DOCKER_TLS_VERIFY, ["docker", "tls"]),
    ("DOCKER_CERT_PATH", ["docker", "cert_path"]),
    ("DOCKER_CONFIG", ["docker", "client_config"]),
];

/// Returns the variables of this process, for [`Settings::load`](super::Settings::load), without those that are not UTF-8.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Adds the variables as the highest layer.
pub(super) fn add(variables: impl IntoIterator<Item = (String, String)>, layers: &mut Layers) {
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    for (name, key) in BORROWED {
        if let Some(value) = variables.get(name).filter(|value| !value.is_empty()) {
            let value = if name == DOCKER_TLS_VERIFY { "true" } else { value };
            layers.text(&key.map(String::from), value, &Origin::Environment(name.into()));
        }
    }
    for (name, value) in &variables {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if path.contains(SEPARATOR) {
            layers.text(&key(path, layers), value, &Origin::Environment(name.clone()));
        }
    }
}

/// Returns the names that begin with `SANDGLASS_` but name no setting, sorted. Orchestrators inject such variables for a
/// service called `sandglass`, for example `SANDGLASS_PORT`. They deserve a warning, since one may be a typo.
pub fn ignored_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_ignored = |name: &String| name.strip_prefix(PREFIX).is_some_and(|path| !path.contains(SEPARATOR));
    let mut ignored: Vec<String> = names.into_iter().filter(is_ignored).collect();
    ignored.sort();
    ignored
}

/// The key that a variable sets; `path` is its name without the prefix.
fn key(path: &str, layers: &Layers) -> Vec<String> {
    let parts: Vec<&str> = path.split(SEPARATOR).collect();
    let lower = |part: &&str| part.to_ascii_lowercase();
    match parts.as_slice() {
        [section, name, rest @ ..] if section.eq_ignore_ascii_case("templates") => {
            let mut key = vec![lower(section), layers.template_name(name)];
            match rest {
                // The names of a container's variables are case-sensitive.
                [env, variable @ ..] if env.eq_ignore_ascii_case("env") && !variable.is_empty() => {
                    key.extend([lower(env), variable.join(SEPARATOR)]);
                }
                rest => key.extend(rest.iter().map(lower)),
            }
            key
        }
        parts => parts.iter().map(lower).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_variable_is_read_as_what_its_key_takes() {
        let settings = load(
            "",
            &[
                ("SANDGLASS_HTTP__API_KEY", "0123"),
                ("SANDGLASS_STORE__PREFIX", "42"),
                ("SANDGLASS_LIFECYCLE__ALLOW_NO_IDLE_TIMEOUT", "true"),
                ("SANDGLASS_LIFECYCLE__IDLE_TIMEOUT", "none"),
                ("SANDGLASS_LIFECYCLE__ON_TIMEOUT", "pause"),
                ("SANDGLASS_DOCKER__ALLOWED_IMAGES", "alpine:*, busybox"),
                ("SANDGLASS_DOCKER__MAX_LIMITS__CPUS", "2"),
                ("SANDGLASS_TEMPLATES__BASE__PORTS", "80,443"),
                ("SANDGLASS_TEMPLATES__BASE__COMMAND", "[\"sleep\", \"1,5\"]"),
                ("SANDGLASS_TEMPLATES__BASE__LIMITS", "{pids = 9}"),
            ],
            &[],
        )
        .unwrap();
        assert!(settings.http.api_key.unwrap().matches(b"0123"));
        assert_eq!(settings.store.prefix, "42");
        assert_eq!(settings.lifecycle.idle_timeout, None);
        let images: Vec<&str> = settings.sandboxes.allowed_images.iter().map(|pattern| pattern.as_str()).collect();
        assert_eq!(images, ["alpine:*", "busybox"]);
        assert_eq!(settings.sandboxes.max_limits.cpus, Some(2.0));
        let start = &settings.templates["base"].start;
        assert_eq!(
            (start.ports.as_slice(), start.limits.pids, start.limits.cpus),
            (&[80, 443][..], Some(9), Some(1.0))
        );
        assert_eq!(start.command.as_ref().unwrap(), &["sleep", "1,5"]);
    }

    #[test]
    fn a_template_is_found_whatever_its_case_and_its_variables_keep_theirs() {
        let file = "templates.ClaudeCode.image = \"a\"";
        let settings = load(
            file,
            &[
                ("SANDGLASS_TEMPLATES__CLAUDECODE__ENV__Http_Proxy", "p"),
                ("SANDGLASS_TEMPLATES__CLAUDECODE__ENV__A__B", "c"),
                ("SANDGLASS_TEMPLATES__NEW__IMAGE", "n"),
                ("SANDGLASS_TEMPLATES__Mixed__IMAGE", "m"),
            ],
            &[],
        )
        .unwrap();
        let names: Vec<&str> = settings.templates.keys().map(String::as_str).collect();
        assert_eq!(names, ["ClaudeCode", "Mixed", "base", "new"]);
        let env = &settings.templates["ClaudeCode"].start.env;
        assert_eq!((env["Http_Proxy"].as_str(), env["A__B"].as_str()), ("p", "c"));
    }

    #[test]
    fn variables_that_are_no_keys_are_left_alone_and_empty_borrowed_ones_are_unset() {
        let variables = [("HTTP__BIND", "x"), ("PATH", "x")];
        let borrowed = [("REDIS_URL", ""), ("DOCKER_HOST", ""), ("SANDBOX_INACTIVE_TIMEOUT", "")];
        assert_eq!(load("", &[&variables[..], &borrowed].concat(), &[]), load("", &[], &[]));
        // An empty key is refused; it does not mean "no key".
        assert!(load("", &[("SANDGLASS_HTTP__API_KEY", "")], &[]).is_err());
        assert!(load("", &[("SANDGLASS_HTTP__", "x")], &[]).is_err());
    }

    #[test]
    fn a_name_without_two_underscores_is_no_setting_and_one_with_them_has_to_be() {
        let injected = [("SANDGLASS_PORT", "tcp://10.0.0.7:80"), ("SANDGLASS_PORT_80_TCP_ADDR", "10.0.0.7")];
        assert_eq!(load("", &injected, &[]), load("", &[], &[]));
        let names = ["SANDGLASS_PORT", "PATH", "SANDGLASS_HTTP__BIND", "SANDGLASS_HOST", "sandglass_x"];
        assert_eq!(super::ignored_variables(names.map(String::from)), ["SANDGLASS_HOST", "SANDGLASS_PORT"]);
        let refused = load("", &[("SANDGLASS_HTTP__BIMD", "x")], &[]).unwrap_err();
        assert!(refused.contains("SANDGLASS_HTTP__BIMD") && refused.contains("did you mean http.bind?"), "{refused}");
    }

    #[test]
    fn borrowed_names_set_their_keys() {
        let variables = [("SANDBOX_INACTIVE_TIMEOUT", "9"), ("SANDBOX_LEGACY_TTL", "8"), ("DOCKER_HOST", "tcp://h:1")];
        let settings = load("", &variables, &[]).unwrap();
        let lifecycle = &settings.lifecycle;
        assert_eq!((lifecycle.idle_timeout.unwrap().as_secs(), lifecycle.legacy_ttl.as_secs()), (9, 8));
        assert_eq!(settings.docker.host, "tcp://h:1");
    }
}
