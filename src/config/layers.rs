//! Lays the sources of the configuration over each other, key by key, and remembers where each value came from.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    error::{ConfigError, Origin, Problem},
    manual::MANUAL,
    raw::Raw,
    suggestion::closest,
    text,
    value::{Mismatch, Node},
};

/// The merged configuration, and what has been refused so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    values: Table,
    /// Where each value came from, by its dotted key.
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Layers {
    /// The built-in defaults.
    pub(super) fn built_in() -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        layers.toml(MANUAL, Path::new("config/default.toml"), &Origin::BuiltIn)?;
        Ok(layers)
    }

    /// Lays a file over what is there.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        self.toml(&text, path, &Origin::File(path.into()))
    }

    /// Lays the text of a file over what is there.
    pub(super) fn toml(&mut self, text: &str, path: &Path, origin: &Origin) -> Result<(), ConfigError> {
        self.lay(&[], Value::Table(parse(text, path)?), origin);
        Ok(())
    }

    /// Lays a value over what is there that was given as text.
    pub(super) fn text(&mut self, key: &[String], text: &str, origin: &Origin) {
        let readings = text::readings(text);
        let fitting = readings.iter().find(|value| read_at(key, value).is_ok());
        // When none fits, the refusal is about the likeliest one.
        if let Some(value) = fitting.or_else(|| readings.first()) {
            self.lay(key, value.clone(), origin);
        }
    }

    /// The template that a variable calls `segment`. Names of variables are upper-case by custom, those of templates
    /// need not be: the case counts only when it tells two templates apart.
    pub(super) fn template_name(&self, segment: &str) -> String {
        let names = || self.values.get("templates").and_then(Value::as_table).into_iter().flat_map(Table::keys);
        let named = |same: fn(&str, &str) -> bool| names().find(|name| same(name, segment)).cloned();
        named(|name, segment| name == segment).or_else(|| named(str::eq_ignore_ascii_case)).unwrap_or_else(|| {
            let shouted = !segment.contains(|letter: char| letter.is_ascii_lowercase());
            if shouted { segment.to_ascii_lowercase() } else { segment.to_owned() }
        })
    }

    /// What is written in all layers together.
    pub(super) fn raw(&mut self) -> Raw {
        // Each value was read alone before it was laid down, so that together they can be read too.
        Raw::deserialize(Node(Value::Table(self.values.clone()))).unwrap_or_else(|mismatch| {
            self.refuse("", mismatch.to_string());
            Raw::default()
        })
    }

    /// Refuses the value at `key`, for breaking `rule`.
    pub(super) fn refuse(&mut self, key: &str, rule: impl Into<String>) {
        let value = self.value(key).filter(|value| !value.is_table() || is_whole_key(key));
        self.add(Problem {
            origin: self.origin(key),
            key: key.to_owned(),
            value: value.and_then(|value| shown(key, value)),
            rule: rule.into(),
        });
    }

    /// What has been refused, if anything has.
    pub(super) fn verdict(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError::Wrong(self.problems)) }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let mut names = key.split('.');
        let section = self.values.get(names.next()?)?;
        names.try_fold(section, |above, name| above.get(name))
    }

    /// Where the value at `key` came from; for a key that is missing, where something beside it came from.
    fn origin(&self, key: &str) -> Origin {
        let mut key = key;
        loop {
            let below = format!("{key}.");
            let mut from_here = self.origins.range(key.to_owned()..);
            if let Some((_, origin)) = from_here.find(|(name, _)| *name == key || name.starts_with(&below)) {
                return origin.clone();
            }
            match key.rsplit_once('.') {
                Some((above, _)) => key = above,
                None => return Origin::BuiltIn,
            }
        }
    }

    /// Lays `value` over what is at `key`: a table key by key, everything else as a whole.
    fn lay(&mut self, key: &[String], value: Value, origin: &Origin) {
        let dotted = key.join(".");
        match value {
            Value::Table(table) if key.is_empty() || !(table.is_empty() || is_whole_key(&dotted)) => {
                for (name, value) in table {
                    self.lay(&[key, &[name]].concat(), value, origin);
                }
            }
            value => match read_at(key, &value) {
                Ok(_) => {
                    insert(&mut self.values, key, value);
                    self.origins.insert(dotted, origin.clone());
                }
                Err(error) => self.add(refusal(error, &dotted, &value, origin)),
            },
        }
    }

    fn add(&mut self, problem: Problem) {
        // A section that does not exist is refused once, not once for each of its keys.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Whether the table at `key` is one value, to be replaced as a whole: half of an HTTP check and half of a TCP check
/// make no check.
fn is_whole_key(key: &str) -> bool {
    key.starts_with("templates.") && key.ends_with(".ready") && key.split('.').count() == 3
}

/// Whether the value at `key` may be a secret: an API key, a password in a URL, a registry's, a token in an
/// environment.
fn is_secret(key: &str) -> bool {
    let mut names = key.split('.');
    let known = (names.next(), names.next(), names.next());
    matches!(known, (Some("http"), Some("api_key"), _) | (Some("store"), Some("redis_url"), _))
        || matches!(known, (Some("docker"), Some("registries"), _) | (Some("templates"), Some(_), Some("env")))
}

/// The value at `key` for an error message.
fn shown(key: &str, value: &Value) -> Option<String> {
    const LONGEST: usize = 80;
    let text = value.to_string().replace(char::is_control, " ");
    let cut = text.char_indices().nth(LONGEST).map(|(end, _)| format!("{}…", &text[..end]));
    (!is_secret(key)).then(|| cut.unwrap_or(text))
}

/// Reads a configuration that has nothing but `value` at `key`.
fn read_at(key: &[String], value: &Value) -> Result<Raw, serde_path_to_error::Error<Mismatch>> {
    let nest = |inner, name: &String| Value::Table(Table::from_iter([(name.clone(), inner)]));
    serde_path_to_error::deserialize(Node(key.iter().rev().fold(value.clone(), nest)))
}

/// What is wrong with `value`, which could not be read at `key`.
fn refusal(error: serde_path_to_error::Error<Mismatch>, key: &str, value: &Value, origin: &Origin) -> Problem {
    let place = error.path().to_string();
    match error.into_inner() {
        Mismatch::UnknownKey { key: unknown, known } => {
            let beside =
                |name| place.rsplit_once('.').map_or(String::from(name), |(above, _)| format!("{above}.{name}"));
            let rule = match closest(&unknown, known) {
                Some(name) => format!("unknown key; did you mean {}?", beside(name)),
                None => format!("unknown key; known here: {}", known.join(", ")),
            };
            Problem { origin: origin.clone(), key: place, value: None, rule }
        }
        Mismatch::Rule(rule) => Problem { origin: origin.clone(), key: place, value: shown(key, value), rule },
    }
}

fn insert(table: &mut Table, key: &[String], value: Value) {
    match key {
        [] => {}
        // A section that is opened and left empty changes nothing.
        [name] if value.as_table().is_some_and(Table::is_empty) => {
            table.entry(name.clone()).or_insert(value);
        }
        [name] => {
            table.insert(name.clone(), value);
        }
        [name, below @ ..] => {
            let inner = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, below, value);
            }
        }
    }
}

fn parse(text: &str, path: &Path) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        ConfigError::Syntax {
            path: path.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn a_higher_layer_wins_key_by_key() {
        let file = "[lifecycle]\nidle_timeout = 1\nactive_timeout = 2\nretention = 3\nlegacy_ttl = 4";
        let variables = [
            ("SANDBOX_INACTIVE_TIMEOUT", "10"),
            ("SANDBOX_LEGACY_TTL", "40"),
            ("SANDGLASS_LIFECYCLE__IDLE_TIMEOUT", "100"),
            ("SANDGLASS_LIFECYCLE__ACTIVE_TIMEOUT", "200"),
        ];
        let settings = load(file, &variables, &[("lifecycle.active_timeout", "2000")]).unwrap().lifecycle;
        let seconds = [settings.active_timeout, settings.legacy_ttl, settings.retention, settings.sweep_interval];
        assert_eq!(settings.idle_timeout.unwrap().as_secs(), 100);
        assert_eq!(seconds.map(|timeout| timeout.as_secs()), [2000, 40, 3, 30]);
    }

    #[test]
    fn a_refusal_names_the_source_the_key_the_value_and_the_rule_in_one_line() {
        let rule = "0 is refused: must be 0.001 to 315360000 seconds";
        let key = "lifecycle.idle_timeout";
        for (refused, source) in [
            (load("lifecycle.idle_timeout = 0", &[], &[]), "some.toml"),
            (load("", &[("SANDBOX_INACTIVE_TIMEOUT", "0")], &[]), "environment variable SANDBOX_INACTIVE_TIMEOUT"),
            (
                load("", &[("SANDGLASS_LIFECYCLE__IDLE_TIMEOUT", "0")], &[]),
                "environment variable SANDGLASS_LIFECYCLE__IDLE_TIMEOUT",
            ),
            (load("", &[], &[(key, "0")]), "flag --flag"),
        ] {
            assert_eq!(refused.unwrap_err(), format!("{source}: {key} = 0: {rule}"));
        }
        assert_eq!(
            load("lifecycle.idle_timeout = \"2h\"", &[], &[]).unwrap_err(),
            "some.toml: lifecycle.idle_timeout = \"2h\": must be a number or \"none\""
        );
    }

    #[test]
    fn everything_that_is_wrong_is_reported_at_once() {
        let file = "htp = {a = 1, b = 2}\nhttp.bind = 5\nstore.prefix = \"\"";
        let refused = load(file, &[("SANDGLASS_LOG__LEVEL", "loud")], &[("log.format", "xml")]).unwrap_err();
        let mut lines: Vec<&str> = refused.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), 5, "{refused}");
        assert!(lines[0].starts_with("environment variable SANDGLASS_LOG__LEVEL: log.level = \"loud\": must be off"));
        assert_eq!(lines[1], "flag --flag: log.format = \"xml\": must be one of text, json");
        assert_eq!(lines[2], "some.toml: htp: unknown key; did you mean http?");
        assert_eq!(lines[3], "some.toml: http.bind = 5: must be a string");
        assert!(lines[4].starts_with("some.toml: store.prefix = \"\": must be 1 to 128"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        for (file, variable, message) in [
            (
                "[lifecycle]\nidle_timout = 5",
                "",
                "lifecycle.idle_timout: unknown key; did you mean lifecycle.idle_timeout?",
            ),
            ("", "SANDGLASS_HTTP__BNID", "http.bnid: unknown key; did you mean http.bind?"),
            (
                "",
                "SANDGLASS_COLOUR__X",
                "colour: unknown key; known here: http, store, lifecycle, docker, templates, log",
            ),
            ("[log]\ncolour = true", "", "log.colour: unknown key; known here: level, format"),
            (
                "templates.a.limits.cpu = 1",
                "",
                "templates.a.limits.cpu: unknown key; did you mean templates.a.limits.cpus?",
            ),
            (
                "[[templates.base.mounts]]\nsorce = \"/a\"",
                "",
                "templates.base.mounts[0].sorce: unknown key; did you mean templates.base.mounts[0].source?",
            ),
        ] {
            let variables: Vec<_> = Some((variable, "x")).filter(|(name, _)| !name.is_empty()).into_iter().collect();
            let source =
                variables.first().map_or("some.toml".into(), |(name, _)| format!("environment variable {name}"));
            assert_eq!(load(file, &variables, &[]).unwrap_err(), format!("{source}: {message}"));
        }
    }

    #[test]
    fn a_secret_is_in_no_error_and_in_no_debug_output() {
        for (file, variables) in [
            ("http = {api_key = 31337, bind = 1}", vec![]),
            ("http.api_kye = \"31337\"", vec![]),
            ("http.api_key.oops = \"31337\"", vec![]),
            ("[http]\napi_key = \"31337", vec![]),
            ("templates.base.env.TOKEN = 31337", vec![]),
            ("", vec![("SANDGLASS_HTTP__API_KEY", "31337 31337")]),
            ("", vec![("REDIS_URL", "rediss+sentinel://:31337@host")]),
            ("", vec![("REDIS_URL", "host:31337")]),
        ] {
            let refused = load(file, &variables, &[]).unwrap_err();
            assert!(!refused.contains("31337"), "{refused}");
        }
        let variables = [("SANDGLASS_HTTP__API_KEY", "31337"), ("REDIS_URL", "redis://:31337@host")];
        let settings = load("", &variables, &[]).unwrap();
        assert!(settings.http.api_key.as_ref().unwrap().matches(b"31337"));
        assert!(!format!("{settings:?}").contains("31337"));
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_the_place() {
        let refused = load("[http]\nbind = \"ä\" x", &[], &[]).unwrap_err();
        assert!(refused.starts_with("some.toml: line 2, column 12: "), "{refused}");
        let missing =
            super::super::Settings::load(Some(Path::new("/no/such.toml")), [], super::super::Overrides::default());
        assert!(missing.unwrap_err().to_string().starts_with("failed to read the configuration /no/such.toml: "));
    }

    #[test]
    fn tables_merge_and_lists_and_readiness_are_replaced_as_a_whole() {
        let file = r#"
            [templates.base]
            ports = [80, 443]
            ready = { http = { port = 443, path = "/" } }
            limits.cpus = 2
            env.A = "file"
            env.B = "file"
        "#;
        let variables =
            [("SANDGLASS_TEMPLATES__BASE__READY", "{tcp = 80}"), ("SANDGLASS_TEMPLATES__BASE__ENV__B", "7")];
        let start = load(file, &variables, &[]).unwrap().templates["base"].start.clone();
        assert_eq!(start.image, "busybox:stable");
        assert_eq!(start.ports, [80, 443]);
        assert_eq!(start.readiness, crate::domain::spec::Readiness::Tcp(80));
        assert_eq!((start.limits.cpus, start.limits.pids), (Some(2.0), Some(256)));
        assert_eq!((start.env["A"].as_str(), start.env["B"].as_str()), ("file", "7"));
    }
}
