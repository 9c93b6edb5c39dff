//! `sandglass cp` puts things where `docker cp` would.

use std::{fs, path::Path};

use serde_json::json;

use super::{directory, on_a_file, work::client};
use crate::support::{docker::Corner, program::Program};

/// The files below a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).expect("a directory").flatten() {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(directory).expect("below it").display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The two sides of the copies.
struct Sides<'a> {
    program: &'a Program,
    id: &'a str,
    here: &'a Path,
}

impl Sides<'_> {
    /// `@` is the sandbox, and other paths are below the directory here. Returns what was said of a failure.
    async fn copy(&self, from: &str, to: &str) -> Result<(), String> {
        let whole = |side: &str| match side.strip_prefix('@') {
            Some(path) => format!("{}:{path}", self.id),
            None => format!("{}/{side}", self.here.display()),
        };
        let ran = client(self.program, &["cp", &whole(from), &whole(to)], b"").await;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        if ran.status.success() { Ok(()) } else { Err(said) }
    }

    /// The files below a directory inside, sorted.
    async fn inside(&self, directory: &str) -> Vec<String> {
        let find = format!("cd {directory} && find . -type f | sort");
        let ran = client(self.program, &["exec", self.id, "--", "sh", "-c", &find], b"").await;
        assert!(ran.status.success(), "{ran:?}");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        text.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
    }

    async fn must_refuse(&self, from: &str, to: &str, because: &str) {
        let said = self.copy(from, to).await.expect_err("it is refused");
        assert!(said.contains(because), "{from} {to}: {said}");
    }
}

#[tokio::test]
async fn what_is_copied_lands_where_docker_cp_would_put_it() {
    let (directory, corner) = (directory(), Corner::new().await);
    let program = on_a_file(&directory, &corner, &[]).await;
    let id = corner.prefix.as_str();
    program.create(&json!({"id": id})).await;
    let here = directory.path();
    fs::create_dir_all(here.join("tree/sub")).expect("directories");
    for (path, text) in [("tree/a", "A"), ("tree/sub/b", "B"), ("one", "1")] {
        fs::write(here.join(path), text).expect("a file");
    }
    let sides = Sides { program: &program, id, here };
    let copied = async |from: &str, to: &str| sides.copy(from, to).await.expect("it is copied");

    copied("tree", "@/tmp/new").await;
    assert_eq!(sides.inside("/tmp/new").await, ["a", "sub/b"], "a name that is free becomes that of the copy");
    copied("tree", "@/tmp/new").await;
    assert_eq!(sides.inside("/tmp/new/tree").await, ["a", "sub/b"], "a directory takes it in");
    copied("tree/.", "@/tmp/new/sub").await;
    assert_eq!(sides.inside("/tmp/new/sub").await, ["a", "b", "sub/b"], "only what is in it");
    copied("tree/.", "@/tmp/dot").await;
    assert_eq!(sides.inside("/tmp/dot").await, ["a", "sub/b"]);
    copied("one", "@/tmp/renamed").await;
    copied("one", "@/tmp/dot").await;
    copied("tree/a", "@/tmp/dot/one").await;
    assert_eq!(sides.inside("/tmp/dot").await, ["a", "one", "sub/b"]);
    sides.must_refuse("one", "@/tmp/missing/", "/tmp/missing/: no such directory").await;
    sides.must_refuse("tree", "@/tmp/renamed", "/tmp/renamed is no directory").await;
    sides.must_refuse("nothing", "@/tmp/", "nothing: No such file or directory").await;

    copied("@/tmp/dot", "back").await;
    assert_eq!(files(&here.join("back")), ["a", "one", "sub/b"]);
    assert_eq!(fs::read_to_string(here.join("back/one")).expect("a file"), "A", "it was written over");
    copied("@/tmp/dot", "back").await;
    assert_eq!(files(&here.join("back/dot")), ["a", "one", "sub/b"]);
    copied("@/tmp/dot/.", "back/sub").await;
    assert_eq!(files(&here.join("back/sub")), ["a", "b", "one", "sub/b"]);
    copied("@/tmp/renamed", "back").await;
    copied("@/tmp/renamed", "back/a").await;
    assert_eq!(fs::read_to_string(here.join("back/a")).expect("a file"), "1");
    assert_eq!(fs::read_to_string(here.join("back/renamed")).expect("a file"), "1");
    sides.must_refuse("@/tmp/renamed", "missing/", "missing/: no such directory").await;
    sides.must_refuse("@/tmp/dot", "one", "one is no directory").await;
    sides.must_refuse("@/tmp/dot", "missing/deeper", "missing").await;
}
