//! Merges the layers of the configuration key by key, and remembers where each value came from.

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

use super::{
    error::{ConfigError, Origin, Problem},
    manual::MANUAL,
    refusal::{self, Unreadable},
    settings::Sections,
    templates::BASE_TEMPLATE,
    text,
    value::{Mismatch, Node},
};

/// The layers merged so far, and the problems found so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The lowest layer, which has every required key.
    defaults: Table,
    /// The values of the layers above it, by key.
    set: BTreeMap<Vec<String>, (Value, Origin)>,
    problems: Vec<Problem>,
    /// How many of the problems are about single values.
    unreadable: usize,
}

impl Layers {
    /// The built-in defaults.
    pub(super) fn built_in() -> Result<Self, ConfigError> {
        Ok(Self { defaults: parse(MANUAL, Path::new("config/default.toml"))?, ..Self::default() })
    }

    /// Adds a file as the highest layer.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        self.toml(&text, path, &Origin::File(path.into()))
    }

    /// Adds the text of a file as the highest layer.
    pub(super) fn toml(&mut self, text: &str, path: &Path, origin: &Origin) -> Result<(), ConfigError> {
        self.set(&[], Value::Table(parse(text, path)?), origin);
        Ok(())
    }

    /// Adds a value that was given as text as the highest layer.
    pub(super) fn text(&mut self, key: &[String], text: &str, origin: &Origin) {
        let readings = text::readings(text);
        let fits = |value: &&Value| {
            self.read(key, value).map_or_else(|error| !matches!(error.inner(), Mismatch::Kind(_)), |()| true)
        };
        // If no reading fits, the error is about the likeliest one.
        if let Some(value) = readings.iter().find(fits).or_else(|| readings.first()) {
            self.set(key, value.clone(), origin);
        }
    }

    /// The template that a variable names by `segment`. Variables are upper-case by convention and templates are not, so the
    /// case matters only if two templates differ in nothing else.
    pub(super) fn template_name(&self, segment: &str) -> String {
        let base = BASE_TEMPLATE.to_owned();
        let set = self.set.keys().filter(|key| key[0] == "templates").filter_map(|key| key.get(1));
        let names: Vec<&String> = set.chain([&base]).collect();
        let named = |same: fn(&str, &str) -> bool| names.iter().find(|name| same(name, segment));
        match named(|name, segment| name == segment).or_else(|| named(str::eq_ignore_ascii_case)) {
            Some(name) => (*name).clone(),
            None if segment.contains(|letter: char| letter.is_ascii_lowercase()) => segment.to_owned(),
            None => segment.to_ascii_lowercase(),
        }
    }

    /// Reads all layers together. A value that breaks its rule becomes a problem, and is replaced by its default.
    pub(super) fn sections(&mut self) -> Result<Sections, ConfigError> {
        let mut all = self.defaults.clone();
        for (key, (value, origin)) in &self.set {
            match self.read(key, value) {
                Ok(()) => put(&mut all, key, value.clone()),
                Err(error) => add(&mut self.problems, refusal::unreadable(&error, key, value, origin)),
            }
        }
        self.unreadable = self.problems.len();
        let broken = |error: Unreadable| refusal::unreadable(&error, &[], &Value::Boolean(false), &Origin::BuiltIn);
        read(all).map_err(|error| ConfigError::Wrong(vec![broken(error)]))
    }

    /// Adds a problem with the first of `keys` if it is `wrong` together with the others, unless one of them was unreadable
    /// and so replaced by its default.
    pub(super) fn refuse_if(&mut self, wrong: bool, keys: &[&str], rule: impl Into<String>) {
        let is_at = |place: &str, key: &str| {
            place.strip_prefix(key).is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        };
        let unreadable = |key: &&str| self.problems[..self.unreadable].iter().any(|problem| is_at(&problem.key, key));
        let Some(key) = keys.first().filter(|_| wrong && !keys.iter().any(unreadable)) else { return };
        let value = self.set.iter().find(|(path, _)| path.join(".") == *key).map(|(_, (value, _))| value);
        // A missing key gets the source of its section.
        let mut above = Some(*key);
        let origin = std::iter::from_fn(|| {
            let place = above?;
            above = place.rsplit_once('.').map(|(above, _)| above);
            Some(self.set.iter().find(|(path, _)| is_at(&path.join("."), place)).map(|(_, (_, origin))| origin))
        });
        let origin = origin.flatten().next().cloned().unwrap_or(Origin::BuiltIn);
        let value = value.filter(|value| !value.is_table() || is_whole_key(key));
        let value = value.and_then(|value| refusal::shown(key, value));
        add(&mut self.problems, Problem { origin, key: (*key).to_owned(), value, rule: rule.into() });
    }

    /// Returns `settings`, unless there are problems.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(ConfigError::Wrong(self.problems)) }
    }

    /// Sets `key` in the highest layer: tables key by key, everything else as a whole.
    fn set(&mut self, key: &[String], value: Value, origin: &Origin) {
        match value {
            Value::Table(table) if key.is_empty() || !(table.is_empty() || is_whole_key(&key.join("."))) => {
                for (name, value) in table {
                    self.set(&[key, &[name]].concat(), value, origin);
                }
            }
            value => match self.read(key, &value) {
                // A higher layer may still override a value that breaks its rule.
                Err(error) if !matches!(error.inner(), Mismatch::Rule(_)) => {
                    add(&mut self.problems, refusal::unreadable(&error, key, &value, origin));
                }
                _ => {
                    self.set.insert(key.to_vec(), (value, origin.clone()));
                }
            },
        }
    }

    /// Tries to read `value` at `key`, on top of the defaults.
    fn read(&self, key: &[String], value: &Value) -> Result<(), Unreadable> {
        let mut values = self.defaults.clone();
        put(&mut values, key, value.clone());
        read(values).map(|_| ())
    }
}

fn read(values: Table) -> Result<Sections, Unreadable> {
    serde_path_to_error::deserialize(Node(Value::Table(values)))
}

/// Adds a problem once: an unknown section would be reported for each of its keys.
fn add(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// Whether the table at `key` is replaced as a whole. A readiness check mixed from two layers would be none.
fn is_whole_key(key: &str) -> bool {
    key.starts_with("templates.") && key.ends_with(".ready") && key.split('.').count() == 3
}

/// Replaces the value at `key`.
fn put(table: &mut Table, key: &[String], value: Value) {
    let Some((name, below)) = key.split_first() else { return };
    let entry = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
    if below.is_empty() {
        // An empty section changes nothing.
        let opens = entry.is_table() && value.as_table().is_some_and(Table::is_empty);
        if !opens {
            *entry = value;
        }
        return;
    }
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    if let Value::Table(inner) = entry {
        put(inner, below, value);
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
    use crate::domain::sandbox::RuleClock;

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
            load("lifecycle.idle_timeout = \"soon\"", &[], &[]).unwrap_err(),
            "some.toml: lifecycle.idle_timeout = \"soon\": must be seconds (90) or a duration (\"1h 30m\") or \"none\""
        );
    }

    #[test]
    fn a_duration_may_be_a_text_with_units_in_every_layer() {
        for (loaded, source) in [
            (load("lifecycle.idle_timeout = \"1h 30m\"", &[], &[]), "a file"),
            (load("", &[("SANDBOX_INACTIVE_TIMEOUT", "90m")], &[]), "a borrowed variable"),
            (load("", &[("SANDGLASS_LIFECYCLE__IDLE_TIMEOUT", "1h 30m")], &[]), "a variable"),
            (load("", &[], &[("lifecycle.idle_timeout", "5400s")]), "a flag"),
            (load("templates.base.idle_timeout = \"90min\"", &[], &[]), "a template"),
        ] {
            let idle = loaded.unwrap().templates["base"].rules.after(RuleClock::Idle);
            assert_eq!(idle, Some(std::time::Duration::from_secs(5400)), "{source}");
        }
        let out_of_range = "some.toml: store.lease_ttl = \"1s\": must be 3 to 3600 seconds";
        assert_eq!(load("store.lease_ttl = \"1s\"", &[], &[]).unwrap_err(), out_of_range);
    }

    #[test]
    fn a_value_that_breaks_its_rule_may_be_overridden_and_one_in_place_of_it_says_nothing_of_others() {
        let flag = [("lifecycle.idle_timeout", "5")];
        assert!(load("lifecycle.idle_timeout = 0", &[], &flag).is_ok());
        let file = "http = {bind = \"0.0.0.0:80\", api_key = \"a b\"}\ntemplates.a.image = \"-v\"\nlog.level = \"x\"";
        let refused = load(file, &[], &[]).unwrap_err();
        let keys: Vec<&str> = refused.lines().filter_map(|line| line.split([':', '=']).nth(1)).map(str::trim).collect();
        assert_eq!(keys, ["http.api_key", "log.level", "templates.a.image"], "{refused}");
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
        for (file, message) in [
            ("lifecycle.idle_timout = 5", "lifecycle.idle_timout: unknown key; did you mean lifecycle.idle_timeout?"),
            ("log.colour = true", "log.colour: unknown key; known here: level, format"),
            (
                "templates.a.limits.cpu = 1",
                "templates.a.limits.cpu: unknown key; did you mean templates.a.limits.cpus?",
            ),
            (
                "[[templates.base.mounts]]\nsorce = \"/a\"",
                "templates.base.mounts[0].sorce: unknown key; did you mean templates.base.mounts[0].source?",
            ),
        ] {
            assert_eq!(refusal(file), format!("some.toml: {message}"));
        }
        for (variable, message) in [
            ("SANDGLASS_HTTP__BNID", "http.bnid: unknown key; did you mean http.bind?"),
            ("SANDGLASS_COLOUR__X", "colour: unknown key; known here: http, store, lifecycle, docker, templates, log"),
        ] {
            let refused = load("", &[(variable, "x")], &[]).unwrap_err();
            assert_eq!(refused, format!("environment variable {variable}: {message}"));
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
