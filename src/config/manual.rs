//! `config/default.toml`, which is the manual and the lowest layer.

/// The text of `config/default.toml`: every key with its meaning, range and default.
pub const MANUAL: &str = include_str!("../../config/default.toml");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::{
        super::{
            Overrides, Settings,
            settings::Sections,
            testing::load,
            value::{Mismatch, Node},
        },
        *,
    };

    /// The known keys of a section, as the error about an unknown key lists them.
    fn known(section: &str) -> BTreeSet<&'static str> {
        let text = MANUAL.replacen(&format!("[{section}]\n"), &format!("[{section}]\n\"?\" = 0\n"), 1);
        let table: toml::Table = text.parse().unwrap();
        match Sections::deserialize(Node(table.into())) {
            Err(Mismatch::UnknownKey { known, .. }) => known.iter().copied().collect(),
            other => panic!("{section}: {other:?}"),
        }
    }

    /// The lines of a section of the manual, without its header.
    fn section(name: &str) -> Vec<&'static str> {
        let lines = MANUAL.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
        lines.take_while(|line| !line.starts_with('[')).collect()
    }

    /// The key that a line sets, also in a comment.
    fn key(line: &str) -> Option<&str> {
        let (key, _) = line.trim_start_matches("# ").split_once(" = ")?;
        (!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).then_some(key)
    }

    #[test]
    fn the_manual_holds_every_key_and_no_other() {
        for name in ["http", "store", "lifecycle", "docker", "docker.max_limits", "templates.base.limits", "log"] {
            let mut written: BTreeSet<&str> = section(name).into_iter().filter_map(key).collect();
            // A table inside a section has its own header.
            written.extend(["max_limits", "registries"].into_iter().filter(|_| name == "docker"));
            assert_eq!(written, known(name), "[{name}]");
        }
        let mut written: BTreeSet<&str> = section("templates.base").into_iter().filter_map(key).collect();
        written.extend(["env", "limits"]);
        assert_eq!(written, known("templates.base"));
        assert!(MANUAL.contains("\n[templates.base.env]\n"));
    }

    #[test]
    fn the_manual_explains_every_key_just_above_it() {
        let lines: Vec<&str> = MANUAL.lines().collect();
        for pair in lines.windows(2) {
            if key(pair[1]).is_some() || pair[1].starts_with('[') {
                assert!(pair[0].starts_with("# "), "nothing explains {:?}", pair[1]);
            }
        }
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        let defaults = Settings::load(None, [], Overrides::default()).unwrap();
        assert_eq!(load("", &[], &[]).unwrap(), defaults);
        // Nor does one that only opens sections, nor the manual itself.
        assert_eq!(load("[http]\n[docker.max_limits]\n[templates.base]\n", &[], &[]).unwrap(), defaults);
        assert_eq!(load(MANUAL, &[], &[]).unwrap(), defaults);
    }

    #[test]
    fn what_the_manual_shows_commented_out_is_what_holds_without_it() {
        let uncomment =
            |line: &&str| if key(line).is_some() { line.trim_start_matches("# ").to_owned() } else { String::new() };
        let base: Vec<String> = section("templates.base").iter().map(uncomment).collect();
        let file = format!("[templates.base]\n{}", base.join("\n"));
        let mut settings = load(&file, &[], &[]).unwrap();
        // What is written is its own, also where it says the same.
        settings.templates.get_mut("base").unwrap().own_idle_timeout = false;
        assert_eq!(settings, load("", &[], &[]).unwrap());
    }
}
