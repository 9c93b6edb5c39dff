//! The checks of the `docker` section.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    check::{Check, GRACE, TIMEOUT},
    raw::{OrNone, RawDocker, RawRegistry},
    rules,
    secret::Secret,
    settings::{DockerSettings, Login, Reach},
};

impl Check<'_> {
    pub(super) fn docker(&mut self, raw: RawDocker) -> DockerSettings {
        let allowed_images = self.required("docker.allowed_images", raw.allowed_images, Vec::new());
        if allowed_images.iter().any(|pattern| pattern.is_empty() || pattern.contains(char::is_whitespace)) {
            self.refuse("docker.allowed_images", "must be patterns such as \"ghcr.io/acme/*\", without spaces");
        }
        let allowed_mounts = self.required("docker.allowed_mounts", raw.allowed_mounts, Vec::new());
        if !allowed_mounts.iter().all(|path| rules::is_absolute_path(path)) {
            self.refuse("docker.allowed_mounts", format!("each must be {}", rules::PATH_RULE));
        }
        DockerSettings {
            host: self.docker_host(raw.host),
            tls: self.required("docker.tls", raw.tls, false),
            cert_path: self.directory("docker.cert_path", raw.cert_path),
            network: self.network(raw.network),
            reach: self.required("docker.reach", raw.reach, Reach::Published),
            publish_address: self.publish_address(raw.publish_address),
            client_config: self
                .required("docker.client_config", raw.client_config, OrNone(None))
                .0
                .map(|path| self.directory("docker.client_config", Some(path))),
            registries: self.registries(raw.registries),
            concurrency: self.count("docker.concurrency", raw.concurrency, 1..=1024),
            max_creates: self.count("docker.max_creates", raw.max_creates, 1..=10_000),
            call_timeout: self.seconds("docker.call_timeout", raw.call_timeout, TIMEOUT),
            pull_timeout: self.seconds("docker.pull_timeout", raw.pull_timeout, TIMEOUT),
            stop_grace: self.seconds("docker.stop_grace", raw.stop_grace, 0.0..=3600.0),
            reconcile_interval: self.seconds("docker.reconcile_interval", raw.reconcile_interval, TIMEOUT),
            orphan_grace: self.seconds("docker.orphan_grace", raw.orphan_grace, GRACE),
            allowed_images,
            allowed_mounts: allowed_mounts.into_iter().map(Into::into).collect(),
            max_sandboxes: self.count("docker.max_sandboxes", raw.max_sandboxes, 1..=10_000_000),
            max_limits: self.limits("docker.max_limits", &raw.max_limits),
        }
    }

    fn docker_host(&mut self, raw: Option<String>) -> String {
        let host = self.required("docker.host", raw, String::new());
        let known = match host.split_once("://") {
            Some(("unix", path)) => rules::is_absolute_path(path),
            Some(("tcp" | "http" | "https", address)) => !address.is_empty(),
            _ => false,
        };
        if !known {
            self.refuse(
                "docker.host",
                "must be unix://PATH with an absolute path, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            );
        }
        host
    }

    fn directory(&mut self, key: &str, raw: Option<String>) -> String {
        let path = self.required(key, raw, "/".to_owned());
        let absolute = path.strip_prefix('~').unwrap_or(&path);
        if !(absolute.is_empty() || rules::is_absolute_path(absolute)) {
            self.refuse(key, "must be an absolute path without '..'; it may begin with ~/, the home directory");
        }
        path
    }

    fn network(&mut self, raw: Option<String>) -> String {
        const KEY: &str = "docker.network";
        let network = self.required(KEY, raw, "default".to_owned());
        if network == "host" {
            self.refuse(KEY, "a sandbox on the host's own network is none: name a network of its own");
        } else if !rules::is_network(&network) {
            self.refuse(KEY, format!("must be {}", rules::NETWORK_RULE));
        }
        network
    }

    fn publish_address(&mut self, raw: Option<String>) -> Ipv4Addr {
        const KEY: &str = "docker.publish_address";
        self.required(KEY, raw, String::new()).parse().unwrap_or_else(|_| {
            self.refuse(KEY, "must be an IPv4 address, such as 127.0.0.1");
            Ipv4Addr::LOCALHOST
        })
    }

    fn registries(&mut self, raw: BTreeMap<String, RawRegistry>) -> BTreeMap<String, Login> {
        let mut registries = BTreeMap::new();
        for (name, RawRegistry { server, username, password }) in raw {
            let key = format!("docker.registries.{name}");
            let server = server.unwrap_or(name);
            if !rules::is_registry(&server) {
                self.refuse(&key, format!("its server must be {}", rules::REGISTRY_RULE));
            }
            let (Some(username), Some(password)) = (username, password) else {
                self.refuse(&key, "needs a username and a password");
                continue;
            };
            if registries.insert(server, Login { username, password: Secret::new(password) }).is_some() {
                self.refuse(&key, "another entry has the same server");
            }
        }
        registries
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_variables_of_the_docker_client_set_what_they_mean_there() {
        let docker = load("", &[], &[]).unwrap().docker;
        assert_eq!(
            (docker.tls, docker.cert_path.as_str(), docker.client_config.as_deref()),
            (false, "~/.docker", Some("~/.docker"))
        );
        // There, every text but an empty one turns verification on.
        for on in ["1", "yes", "0"] {
            let variables = [("DOCKER_TLS_VERIFY", on), ("DOCKER_CERT_PATH", "/certs"), ("DOCKER_CONFIG", "/client")];
            let docker = load("", &variables, &[]).unwrap().docker;
            assert_eq!((docker.tls, docker.cert_path.as_str()), (true, "/certs"));
            assert_eq!(docker.client_config.as_deref(), Some("/client"));
        }
        assert!(!load("", &[("DOCKER_TLS_VERIFY", ""), ("DOCKER_CERT_PATH", "")], &[]).unwrap().docker.tls);
        let ours = [("DOCKER_TLS_VERIFY", "1"), ("SANDGLASS_DOCKER__TLS", "false")];
        assert!(!load("", &ours, &[]).unwrap().docker.tls);
        assert_eq!(load("docker.client_config = \"none\"", &[], &[]).unwrap().docker.client_config, None);
    }

    #[test]
    fn a_registry_is_named_by_its_entry_or_by_its_server_and_its_password_is_shown_nowhere() {
        let file = r#"
            docker.registries."ghcr.io" = { username = "a", password = "open sesame" }
            docker.registries.corp = { server = "registry.corp:5000", username = "b" }
        "#;
        let password = ("SANDGLASS_DOCKER__REGISTRIES__CORP__PASSWORD", "1234");
        let settings = load(file, &[password], &[]).unwrap();
        let login = |name: &str, password: &str| Login { username: name.into(), password: Secret::new(password) };
        let registries = &settings.docker.registries;
        let expected = [("ghcr.io", login("a", "open sesame")), ("registry.corp:5000", login("b", "1234"))];
        assert_eq!(*registries, expected.map(|(name, login)| (name.to_owned(), login)).into());
        assert!(!format!("{settings:?}").contains("sesame"));
        for (wrong, rule) in [
            ("a = {username = \"u\"}", "needs a username and a password"),
            ("a = {username = \"u\", password = \"sesame\", server = \"https://a\"}", "its server must be"),
            ("a = {username = \"u\", password = \"sesame\", token = \"sesame\"}", "unknown key"),
            ("a = {username = \"u\", password = [\"sesame\"]}", "must be a string"),
            (
                "a = {username = \"u\", password = \"sesame\"}\n\"b\" = {server = \"a\", username = \"u\", password = \"x\"}",
                "another entry has the same server",
            ),
        ] {
            let refused = refusal(&format!("[docker.registries]\n{wrong}"));
            assert!(refused.starts_with("some.toml: docker.registries.") && refused.contains(rule), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
    }

    #[test]
    fn a_value_beyond_its_rule_is_refused() {
        for wrong in [
            "host = \"ssh://host\"",
            "host = \"unix://relative\"",
            "cert_path = \"certs\"",
            "cert_path = \"~me/certs\"",
            "client_config = \"/a/../b\"",
            "network = \"host\"",
            "network = \"container:x\"",
            "network = \"\"",
            "reach = \"telepathy\"",
            "publish_address = \"localhost\"",
            "publish_address = \"::1\"",
            "concurrency = 0",
            "max_sandboxes = 0",
            "call_timeout = 0",
            "allowed_images = [\"\"]",
            "allowed_mounts = [\"srv\"]",
            "allowed_mounts = [\"/srv/../etc\"]",
            "max_limits.cpus = 0",
            "max_limits.memory_mb = 5",
        ] {
            let message = refusal(&format!("docker.{wrong}"));
            let key = wrong.split(' ').next().unwrap();
            assert!(
                message.starts_with(&format!("some.toml: docker.{key}")) && message.lines().count() == 1,
                "{message}"
            );
        }
        for good in ["network = \"sandboxes\"", "host = \"https://engine:2376\"", "publish_address = \"0.0.0.0\""] {
            assert!(load(&format!("docker.{good}"), &[], &[]).is_ok(), "{good}");
        }
    }
}
