//! The files of the pages, which are part of the binary.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

/// A file of a page.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its name below `/page/`.
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

macro_rules! assets {
    ($($name:literal)+) => {
        const ASSETS: &[Asset] =
            &[$(Asset { name: $name, content_type: content_type($name), text: include_str!(concat!("assets/", $name)) }),+];
    };
}

assets! {
    "actions.js" "api.js" "bar.js" "blank.js" "boot.js" "chart.js" "clock.js" "details.js" "docs.css" "docs.js" "dom.js" "ends.js"
    "glass.js" "health.js" "icon.svg" "inside.js" "key.js" "link.js" "main.js" "notice.js" "page.css" "row.js" "schema.js"
    "store.js" "stream.js" "summary.js" "table.js" "view.js" "why.js" "words.js"
}

/// The dashboard.
pub(super) const DASHBOARD: Asset =
    Asset { name: "index.html", content_type: HTML, text: include_str!("assets/index.html") };
/// The specification's page.
pub(super) const DOCS: Asset = Asset { name: "docs.html", content_type: HTML, text: include_str!("assets/docs.html") };

const HTML: &str = "text/html; charset=utf-8";

const fn content_type(name: &str) -> &'static str {
    match name.as_bytes() {
        [.., b'.', b'j', b's'] => "text/javascript; charset=utf-8",
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        [.., b'.', b's', b'v', b'g'] => "image/svg+xml",
        _ => panic!("a file of an unknown type"),
    }
}

/// The names below `/page/`.
pub(in crate::http) fn names() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.name)
}

/// The file `/page/{name}`.
pub(super) fn named(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// Whether `path` is a page or one of its files. They contain no secrets, and a browser has no key before the page has
/// asked for it.
pub(in crate::http) fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/docs") || path.strip_prefix("/page/").is_some_and(|name| named(name).is_some())
}

impl Asset {
    /// The entity tag, which changes with the text.
    pub(super) fn tag(&self) -> String {
        static TAGS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
            ASSETS.iter().chain([&DASHBOARD, &DOCS]).map(|asset| (asset.name, tag_of(asset.text))).collect()
        });
        let known = TAGS.iter().find(|(name, _)| *name == self.name);
        known.map_or_else(|| tag_of(self.text), |(_, tag)| tag.clone())
    }
}

fn tag_of(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_beside_is_in_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page/assets");
        let files = fs::read_dir(folder).expect("the folder is there");
        let files: BTreeSet<_> =
            files.map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        let known = ASSETS.iter().chain([&DASHBOARD, &DOCS]).map(|asset| asset.name.to_owned()).collect();
        assert_eq!(files, known);
    }

    #[test]
    fn whatever_a_page_loads_is_there() {
        for asset in ASSETS.iter().chain([&DASHBOARD, &DOCS]) {
            let imported = asset.text.split("from \"./").skip(1);
            let linked = asset.text.split("=\"page/").skip(1);
            let module = asset.text.split("data-module=\"./").skip(1);
            for rest in imported.chain(linked).chain(module) {
                let name = rest.split('"').next().unwrap_or_default();
                assert!(named(name).is_some(), "{} loads {name}", asset.name);
            }
        }
    }

    #[test]
    fn nothing_in_a_page_depends_on_the_path_below_which_it_is_served() {
        for asset in ASSETS.iter().chain([&DASHBOARD, &DOCS]) {
            for absolute in [
                "href=\"/",
                "src=\"/",
                "data-module=\"/",
                "href: \"/",
                "from \"/",
                "url(/",
                "location.host",
                "location.origin",
            ] {
                assert!(!asset.text.contains(absolute), "{} has {absolute}", asset.name);
            }
        }
    }

    #[test]
    fn nothing_in_a_page_goes_around_its_policy() {
        for asset in ASSETS.iter().chain([&DASHBOARD, &DOCS]) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                " style=",
                " onclick=",
                "//cdn",
            ] {
                assert!(!asset.text.contains(forbidden), "{} has {forbidden}", asset.name);
            }
            // The content policy refuses inline scripts.
            for script in asset.text.split("<script").skip(1) {
                assert!(
                    script.split_once('>').is_some_and(|(_, rest)| rest.starts_with("</script>")),
                    "{}",
                    asset.name
                );
            }
        }
    }
}
