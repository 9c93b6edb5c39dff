//! The dependencies of the architecture, read from the code: what each module may use, which files use each other, and
//! which files may use frameworks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The other modules that each module may use, and does use. The map in `lib.rs` says the same in words.
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
    ("loops", &["domain"]),
    ("host", &["domain"]),
    ("inside", &[]),
    ("runtime", &["domain", "host", "inside", "loops", "ports"]),
    ("store", &["domain", "host", "ports", "random"]),
    ("journal", &["clock", "domain", "metrics", "ports", "tasks"]),
    ("feed", &["domain", "random", "tasks"]),
    ("actor", &["clock", "domain", "feed", "journal", "metrics", "ports", "tasks"]),
    ("sandboxes", &["actor", "config", "domain", "feed", "journal", "metrics", "ports", "tasks"]),
    ("work", &["domain", "ports", "random", "sandboxes"]),
    ("keeper", &["actor", "config", "domain", "feed", "journal", "loops", "ports", "sandboxes"]),
    ("supervisor", &["actor", "config", "keeper", "ports", "sandboxes"]),
    ("http", &["config", "domain", "feed", "journal", "ports", "sandboxes", "tasks", "work"]),
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
            "work",
        ],
    ),
    ("drill", &["actor", "app", "clock", "config", "domain", "runtime", "sandboxes", "store", "supervisor"]),
    ("cli", &["actor", "app", "clock", "config", "domain", "drill", "logging", "ports", "random"]),
    ("main", &["cli"]),
    ("build", &[]),
    ("lib", &[]),
];

/// Crates that only some files and folders may use.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix::", &["actor"]),
    ("actix_http::", &["http"]),
    ("actix_server::", &["http"]),
    ("actix_service::", &["http"]),
    ("actix_web::", &["http", "app.rs"]),
    ("bollard::", &["drill", "runtime/docker"]),
    ("::redis::", &["drill"]),
    ("use redis::", &["store"]),
    ("redb::", &["store"]),
    ("clap::", &["cli", "main.rs"]),
    ("utoipa::", &["http"]),
    ("rand::", &["drill", "random.rs"]),
];

/// Uses that close a circle of files, each with the reason why it stays: `(from, to, why)`.
const CIRCLES: &[(&str, &str, &str)] = &[(
    "actor/registry.rs",
    "actor/handle.rs",
    "the registry holds the addresses of actors, and an actor that has ended takes itself out of it",
)];

/// A source file, without tests and comments.
struct Source {
    /// Below `src`.
    path: String,
    /// The path of its module: `["runtime", "docker"]` for `runtime/docker/mod.rs`.
    module: Vec<String>,
    code: String,
}

impl Source {
    fn is_below(&self, home: &str) -> bool {
        self.path == home || self.path.starts_with(&format!("{home}/"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // A package of its own, with its own root: it cannot use anything of this one.
                if path != root.join("agent") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                let path = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
                let module = path.trim_end_matches(".rs").split('/').filter(|name| !["mod", "lib"].contains(name));
                let module = module.map(str::to_owned).collect();
                files.push(Source { module, path, code: code_of(&text) });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Removes line comments, and the unit tests at a file's end, which may use anything.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// A path in the crate that code names, with the name that it gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    path: Vec<String>,
    name: String,
}

/// The paths in the crate that the code of `module` names: in imports, in re-exports (`pub use`), and in
/// expressions.
#[derive(Debug, Default, PartialEq)]
struct Paths {
    used: BTreeSet<Named>,
    passed_on: BTreeSet<Named>,
}

fn paths_of(module: &[String], code: &str) -> Paths {
    let mut paths = Paths::default();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let Some(start) = use_keyword(statement) else {
            rest.push_str(statement);
            continue;
        };
        let (before, tree) = statement.split_at(start);
        rest.push_str(before);
        let is_public = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
        let tree = tree.trim_start_matches("use").trim_end_matches(';');
        for named in expand(tree) {
            if let Some(path) = absolute(module, &named.path, true) {
                let named = Named { path, name: named.name };
                if is_public {
                    paths.passed_on.insert(named)
                } else {
                    paths.used.insert(named)
                };
            }
        }
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(start) {
            // In `super::super::x`, only the first one begins a path.
            if rest[..at].ends_with("::") || rest[..at].ends_with(is_in_names) {
                continue;
            }
            let end = rest[at..].find(|character: char| !is_in_names(character) && character != ':');
            let path: Vec<_> =
                rest[at..end.map_or(rest.len(), |end| at + end)].split("::").map(str::to_owned).collect();
            if let Some(path) = absolute(module, &path, false) {
                let name = path.last().cloned().unwrap_or_default();
                paths.used.insert(Named { path, name });
            }
        }
    }
    paths
}

fn is_in_names(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The start of the `use` at the end of a statement.
fn use_keyword(statement: &str) -> Option<usize> {
    let at = statement.match_indices("use ").map(|(at, _)| at).find(|at| {
        let before = statement[..*at].rsplit('\n').next().unwrap_or_default().trim();
        before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'))
    })?;
    Some(at)
}

/// The leaves of a tree such as `a::{b, c::{self, d as e}}`.
fn expand(tree: &str) -> Vec<Named> {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<_> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.trim().to_owned() };
        return vec![Named { path, name }];
    };
    let stem: Vec<_> = stem.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let members = group.split(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    let members = members.filter(|member| !member.trim().is_empty()).flat_map(expand);
    members
        .map(|Named { path, name }| match path[..] {
            [ref own] if own == "self" => Named { path: stem.clone(), name: stem.last().cloned().unwrap_or(name) },
            _ => Named { path: [&stem[..], &path[..]].concat(), name },
        })
        .collect()
}

/// The path from the crate's root, or `None` if it leads out of the crate. In a `use`, a path may begin in its own module.
fn absolute(module: &[String], path: &[String], in_use: bool) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" | "sandglass" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while let [first, more @ ..] = rest
                && first == "super"
            {
                base.pop();
                rest = more;
            }
        }
        _ if !in_use => return None,
        _ => {}
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The files that each file uses, by their paths.
fn edges(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let by_module: BTreeMap<&[String], &Source> = sources.iter().map(|source| (&source.module[..], source)).collect();
    let paths: BTreeMap<_, _> =
        sources.iter().map(|source| (source.path.as_str(), paths_of(&source.module, &source.code))).collect();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let used = edges.entry(&source.path).or_default();
        for named in &paths[source.path.as_str()].used {
            used.extend(home(&named.path, &by_module, &paths).filter(|home| *home != source.path));
        }
    }
    edges
}

/// The file that defines `path`. A module that only re-exports a name does not count.
fn home<'a>(
    path: &[String],
    by_module: &BTreeMap<&[String], &'a Source>,
    paths: &BTreeMap<&str, Paths>,
) -> Option<&'a str> {
    let length = (0..=path.len()).rev().find(|length| by_module.contains_key(&path[..*length]))?;
    let file: &'a str = &by_module[&path[..length]].path;
    let Some(name) = path.get(length) else { return Some(file) };
    let passed_on = paths[file].passed_on.iter().find(|named| named.name == *name);
    match passed_on {
        Some(named) if named.path != path => home(&named.path, by_module, paths).or(Some(file)),
        // The crate's root contains only modules, so this path leads out of the crate.
        None if length == 0 => None,
        _ => Some(file),
    }
}

/// The sets of files that all lead to each other.
fn circles<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<BTreeSet<&'a str>> {
    let reach = |from: &'a str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = edges[from].iter().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(&edges[file]);
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reach(file))).collect();
    let circle = |file: &&'a str| -> BTreeSet<&'a str> {
        reached[file].iter().copied().filter(|other| reached[other].contains(file)).collect()
    };
    edges.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn modules_use_only_what_the_arrows_allow_and_all_of_that() {
    let mut unused: BTreeSet<_> = ARROWS.iter().flat_map(|(from, to)| to.iter().map(move |to| (*from, *to))).collect();
    let arrows: BTreeSet<_> = unused.clone();
    let modules: BTreeSet<_> = ARROWS.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let own = source.module.first().map_or("lib", String::as_str);
        assert!(modules.contains(own), "{own} has no arrows here");
        let Paths { used, passed_on } = paths_of(&source.module, &source.code);
        for named in used.iter().chain(&passed_on) {
            let used = named.path.first().map_or("lib", String::as_str);
            // Other paths lead into their own module or out of the crate.
            if used == own || !modules.contains(used) {
                continue;
            }
            match arrows.iter().find(|(from, to)| *from == own && *to == used) {
                Some(arrow) => _ = unused.remove(arrow),
                None => wrong.push(format!("{} uses {used}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "against the arrows:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "arrows that nothing follows: take them out of the list: {unused:?}");
}

#[test]
fn frameworks_are_seen_only_where_they_belong() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (framework, homes) in CONFINED {
        let knows = |source: &&Source| {
            let mut found = source.code.match_indices(framework);
            found.any(|(at, _)| !source.code[..at].ends_with(is_in_names) || framework.starts_with(':'))
        };
        let known: Vec<_> = sources.iter().filter(knows).collect();
        let strangers = known.iter().filter(|source| !homes.iter().any(|home| source.is_below(home)));
        wrong.extend(strangers.map(|source| format!("{} uses {framework}", source.path)));
        let empty = homes.iter().filter(|home| !known.iter().any(|source| source.is_below(home)));
        wrong.extend(empty.map(|home| format!("{home} does not use {framework} any more: take it out of the list")));
    }
    assert!(wrong.is_empty(), "out of their place:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let sources = sources();
    let mut edges = edges(&sources);
    let all = circles(&edges);
    for (from, to, why) in CIRCLES {
        let is_used = all.iter().any(|circle| circle.contains(from) && circle.contains(to)) && edges[from].contains(to);
        assert!(is_used, "{from} -> {to} closes no circle any more: take it out of the list ({why})");
    }
    for (from, to, _) in CIRCLES {
        edges.get_mut(from).expect("it was there just now").remove(to);
    }
    let left = circles(&edges);
    let told = left.iter().map(|circle| {
        let inner = circle.iter().flat_map(|from| edges[from].intersection(circle).map(move |to| (from, to)));
        inner.map(|(from, to)| format!("{from} -> {to}\n")).collect::<String>()
    });
    assert!(left.is_empty(), "files in a circle:\n{}", told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_reader_of_this_test_understands_uses_and_paths() {
    let code = "use std::fmt;\npub(super) use inner::Passed;\nuse crate::{\n    actor::{Ask, Look as Sight},\n    clock,\n    \
                domain::{a::{self, b}, d},\n};\nuse super::beside;\nfn f() { crate::http::g(super::super::h::I) }";
    let module = ["one".to_owned(), "two".to_owned()];
    let Paths { used, passed_on } = paths_of(&module, code);
    let told = |paths: &BTreeSet<Named>| {
        let told = paths.iter().map(|Named { path, name }| format!("{} {name}", path.join("::")));
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(&passed_on), ["one::two::inner::Passed Passed"]);
    let expected = [
        "actor::Ask Ask",
        "actor::Look Sight",
        "clock clock",
        "domain::a a",
        "domain::a::b b",
        "domain::d d",
        "h::I I",
        "http::g g",
        "one::beside beside",
        "one::two::std::fmt fmt",
    ];
    assert_eq!(told(&used), expected);
}

#[test]
fn the_reader_of_this_test_finds_circles() {
    let source = |path: &str, code: &str| {
        let module = path.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").map(str::to_owned).collect();
        Source { path: path.to_owned(), module, code: code.to_owned() }
    };
    let sources = [
        source("part/mod.rs", "mod a;\nmod b;\npub use a::Thing;"),
        source("part/a.rs", "use super::b::helper;\npub struct Thing;"),
        source("part/b.rs", "fn helper(_: super::Thing) {}"),
        source("other.rs", "use crate::part::Thing;"),
    ];
    let edges = edges(&sources);
    assert_eq!(edges["other.rs"], BTreeSet::from(["part/a.rs"]), "a facade is not the home of what it passes on");
    assert_eq!(circles(&edges), BTreeSet::from([BTreeSet::from(["part/a.rs", "part/b.rs"])]));
}

#[test]
fn files_hold_one_idea_each() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|source| (source.code.lines().count(), source.path))
        .filter(|(lines, _)| *lines > 450)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "probably two ideas:\n{}", long.join("\n"));
}

#[test]
fn comments_cite_the_design_by_links_that_are_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for Source { path, .. } in sources() {
        let text = fs::read_to_string(root.join(&path)).expect("readable");
        for (number, line) in text.lines().enumerate() {
            let numbered =
                line.split("design, ").skip(1).any(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
            if numbered || (line.contains("section ") && line.contains(" of the design")) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "write `[design: lazy timer](crate::design::time::lazy_timer)`:\n{}", wrong.join("\n"));
}
