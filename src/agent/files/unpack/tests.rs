use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::PathBuf,
};

use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

/// One entry as a writer without scruples writes it.
#[derive(Clone, Debug)]
struct Entry {
    kind: EntryType,
    name: Vec<u8>,
    link: Vec<u8>,
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        let content = if entry.kind.is_file() { &b"written"[..] } else { b"" };
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..entry.name.len()].copy_from_slice(&entry.name);
        header.as_old_mut().linkname[..entry.link.len()].copy_from_slice(&entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Everything below a directory: types, links and contents.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else if metadata.is_file() {
            fs::read(&path).unwrap()
        } else {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        };
        found.insert(path, (metadata.mode(), content));
    }
    found
}

/// A directory to unpack in, between things that must not be touched, with links that lead to them.
struct Trap(TempDir);

impl Trap {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("outside/a")).unwrap();
        fs::write(at("outside/b"), "kept").unwrap();
        fs::create_dir_all(at("target/d")).unwrap();
        symlink("../outside", at("target/l")).unwrap();
        symlink(at("outside/b"), at("target/d/b")).unwrap();
        Self(directory)
    }

    fn unpack(&self, archive: &[u8]) -> Result<u64, Failure> {
        unpack(archive, &self.0.path().join("target"), Owners::Mine)
    }

    /// What stands beside the directory.
    fn around(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = snapshot(self.0.path());
        found.retain(|path, _| !path.starts_with(self.0.path().join("target")));
        found
    }
}

fn entry(kind: EntryType, name: &str, link: &str) -> Entry {
    Entry { kind, name: name.into(), link: link.into() }
}

fn file(name: &str) -> Entry {
    entry(EntryType::Regular, name, "")
}

#[test]
fn every_known_way_out_is_refused_by_its_name() {
    for (entries, told) in [
        (vec![file("/etc/x")], "absolute"),
        (vec![file("../x")], "\"..\""),
        (vec![file("a/../../x")], "\"..\""),
        (vec![file("a/..")], "\"..\""),
        (vec![file("l/b")], "l: is a symbolic link"),
        (vec![file("l/new")], "l: is a symbolic link"),
        (vec![entry(EntryType::Directory, "l/a/new", "")], "l: is a symbolic link"),
        (vec![entry(EntryType::Directory, "l", "")], "l: is a symbolic link"),
        (vec![entry(EntryType::Symlink, "s", "../outside"), file("s/b")], "s: is a symbolic link"),
        (vec![entry(EntryType::Symlink, "s", "/"), file("s/tmp/x")], "s: is a symbolic link"),
        (vec![entry(EntryType::Link, "h", "../outside/b"), file("h")], "\"..\""),
        (vec![entry(EntryType::Link, "h", "/etc/passwd")], "absolute"),
        (vec![entry(EntryType::Link, "h", "l/b")], "l: is a symbolic link"),
        (vec![entry(EntryType::Block, "dev", "")], "devices"),
        (vec![entry(EntryType::Char, "dev", "")], "devices"),
        (vec![entry(EntryType::Fifo, "pipe", "")], "pipes"),
        (vec![file(".")], "the directory itself"),
        (vec![file("d")], "d: is a directory"),
        (vec![entry(EntryType::Link, "f", "f")], "itself"),
    ] {
        let trap = Trap::new();
        let before = trap.around();
        let failure = trap.unpack(&archive(&entries)).expect_err(told);
        assert_eq!(failure.status, 400, "{failure:?}");
        assert!(failure.message.contains(told), "{entries:?}: {}", failure.message);
        assert_eq!(trap.around(), before, "{entries:?}");
    }
}

#[test]
fn a_file_replaces_a_link_and_not_what_it_leads_to() {
    let trap = Trap::new();
    let before = trap.around();
    let entries = [file("d/b"), entry(EntryType::Symlink, "l", "elsewhere"), file("l")];
    assert_eq!(trap.unpack(&archive(&entries)), Ok(3));
    let at = |name: &str| trap.0.path().join("target").join(name);
    assert_eq!((fs::read(at("d/b")).unwrap(), fs::read(at("l")).unwrap()), (b"written".to_vec(), b"written".to_vec()));
    assert_eq!(trap.around(), before);
}

#[test]
fn a_hard_link_to_a_link_is_the_link() {
    let trap = Trap::new();
    let before = trap.around();
    let entries = [entry(EntryType::Link, "h", "d/b"), file("h")];
    assert_eq!(trap.unpack(&archive(&entries)), Ok(2));
    assert_eq!(trap.around(), before);
}

#[test]
fn a_description_that_is_too_long_is_refused_before_it_is_read() {
    let trap = Trap::new();
    let mut long = entry(EntryType::XHeader, "x", "");
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink, EntryType::XGlobalHeader] {
        long.kind = kind;
        let mut bytes = archive(std::slice::from_ref(&long));
        let header = bytes.first_chunk_mut::<512>().unwrap();
        let mut changed = Header::new_ustar();
        changed.as_mut_bytes().copy_from_slice(header);
        changed.set_size(1 << 33);
        changed.set_cksum();
        header.copy_from_slice(changed.as_bytes());
        // If it were read, the end of the body would be told.
        let failure = trap.unpack(&bytes).unwrap_err();
        assert!(failure.message.contains("1048576"), "{}", failure.message);
    }
}

#[test]
fn an_archive_that_breaks_off_is_no_archive() {
    let trap = Trap::new();
    let whole = archive(&[file("x"), file("y")]);
    for length in [1, 100, 511, 513, 515, 1023, 1500] {
        assert_eq!(trap.unpack(&whole[..length]).unwrap_err().status, 400, "{length}");
    }
    // Without the empty blocks at the end it is whole all the same, and what follows them does not matter.
    assert_eq!(trap.unpack(&whole[..2048]), Ok(2));
    assert_eq!(trap.unpack(&[&whole[..], b"anything"].concat()), Ok(2));
    let mut broken = whole;
    broken[3] ^= 1;
    assert!(trap.unpack(&broken).unwrap_err().message.contains("checksum"));
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "d", "l", "s"]),
        1 => prop::sample::select(vec!["..", ".", "", "outside", "target"]),
    ];
    let start = prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("../")];
    (start, prop::collection::vec(part, 0..4))
        .prop_map(|(start, parts)| format!("{start}{}", parts.join("/")).into_bytes())
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let kind = prop::sample::select(vec![
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
    ]);
    let link = prop_oneof![names(), Just(b"../outside".to_vec()), Just(b"../outside/b".to_vec())];
    let entry = (kind, names(), link).prop_map(|(kind, name, link)| Entry { kind, name, link });
    prop::collection::vec(entry, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_archive_writes_outside(entries in entries()) {
        let trap = Trap::new();
        let before = trap.around();
        // One after the other, so that those behind a refused one are tried, too.
        for entry in &entries {
            _ = trap.unpack(&archive(std::slice::from_ref(entry)));
        }
        _ = trap.unpack(&archive(&entries));
        prop_assert_eq!(trap.around(), before);
    }

    #[test]
    fn a_name_is_taken_apart_or_refused(name in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(steps) = beneath::steps(&name) {
            prop_assert!(!name.starts_with(b"/"));
            for step in steps {
                prop_assert!(!step.is_empty() && step != b"." && step != b".." && !step.contains(&b'/') && !step.contains(&0));
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_read(
        mut bytes in prop::collection::vec(any::<u8>(), 0..3000),
        mutations in prop::collection::vec((0usize..3000, any::<u8>()), 0..8),
        real in any::<bool>(),
    ) {
        let trap = Trap::new();
        let before = trap.around();
        if real {
            bytes = archive(&[entry(EntryType::XHeader, "p", ""), file("a"), entry(EntryType::GNULongName, "n", ""), file("b")]);
        }
        for (at, byte) in mutations {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        _ = trap.unpack(&bytes);
        prop_assert_eq!(trap.around(), before);
    }
}
