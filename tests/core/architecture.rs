//! The arrows of the architecture, read from the code: what each module may use, and where frameworks may be seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each module of the crate may use, beside itself. The map in `lib.rs` tells the same in words.
const ARROWS: &[(&str, &[&str])] = &[
    ("design", &[]),
    ("domain", &[]),
    ("ports", &["domain"]),
    ("clock", &["domain"]),
    ("config", &["domain"]),
    ("logging", &["config"]),
    ("metrics", &["domain"]),
    ("tasks", &["clock", "domain", "metrics"]),
    ("open_files", &[]),
    ("random", &["domain"]),
    ("host", &["domain"]),
    ("runtime", &["domain", "host", "ports"]),
    ("store", &["domain", "host", "ports", "random"]),
    ("journal", &["clock", "domain", "metrics", "ports", "tasks"]),
    ("feed", &["domain", "ports", "random", "tasks"]),
    ("actor", &["clock", "domain", "feed", "journal", "metrics", "ports", "tasks"]),
    ("sandboxes", &["actor", "clock", "config", "domain", "feed", "journal", "metrics", "ports", "tasks"]),
    ("keeper", &["actor", "config", "domain", "feed", "journal", "ports", "sandboxes"]),
    ("supervisor", &["actor", "config", "keeper", "ports", "sandboxes"]),
    ("http", &["clock", "config", "domain", "feed", "journal", "ports", "sandboxes", "tasks"]),
    (
        "app",
        &[
            "actor",
            "clock",
            "config",
            "domain",
            "feed",
            "host",
            "http",
            "journal",
            "keeper",
            "metrics",
            "open_files",
            "ports",
            "runtime",
            "store",
            "supervisor",
            "tasks",
        ],
    ),
    ("drill", &["actor", "app", "clock", "config", "domain", "ports", "runtime", "sandboxes", "store", "supervisor"]),
    ("cli", &["actor", "app", "config", "domain", "drill", "logging", "ports"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Crates that only one part of the code may know.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix::", &["actor"]),
    ("actix_http::", &["http"]),
    ("actix_server::", &["http"]),
    ("actix_service::", &["http"]),
    ("actix_web::", &["http", "app"]),
    ("bollard::", &["drill", "runtime"]),
    ("::redis::", &["drill", "store"]),
    ("redb::", &["store"]),
    ("clap::", &["cli", "main"]),
];

/// Every source file with the top-level module it belongs to and its text, without tests and comments.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).expect("below src").to_owned();
                let first = relative.iter().next().expect("a name").to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).expect("readable");
                files.push((first.trim_end_matches(".rs").to_owned(), relative, code_of(&text)));
            }
        }
    }
    files
}

/// Without line comments, and without the unit tests at a file's end: those may use what they like.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The names that follow `crate::`, alone or as a group's own members.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name_at(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (position, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                _ if start && !character.is_whitespace() => {
                    names.insert(name_at(&group[position..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn modules_use_only_what_the_arrows_allow() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, path, code) in sources() {
        let allowed = arrows.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no arrows here"));
        for used in used_modules(&code) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn frameworks_are_seen_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (module, path, code) in sources() {
        for (framework, homes) in CONFINED {
            if code.contains(framework) && !homes.contains(&module.as_str()) {
                wrong.push(format!("{} uses {framework}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "out of their place:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_this_test_understands_groups() {
    let code = "use crate::{\n    actor::{Ask, Look},\n    clock,\n    domain::{a::{b, c}, d},\n};\nfn f() { crate::http::g() }";
    let expected = ["actor", "clock", "domain", "http"].map(str::to_owned);
    assert_eq!(used_modules(code), BTreeSet::from(expected));
}

#[test]
fn files_hold_one_idea_each() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(_, path, code)| (code.lines().count(), path))
        .filter(|(lines, _)| *lines > 450)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "probably two ideas:\n{}", long.join("\n"));
}
