//! Snapshots: images of sandboxes' files, from which other sandboxes can be made.

use std::fmt;

use super::{id::SandboxId, spec::Asked, time::EpochSeconds};

/// The repository of all snapshots. Nothing is pulled from or pushed to it.
const REPOSITORY: &str = "sandglass-snapshot";

/// How many characters an identifier has.
const LENGTH: usize = 20;

/// A valid snapshot identifier: `s` and 19 lower-case letters and digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId(Box<str>);

impl SnapshotId {
    /// Parses an identifier; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('s')?;
        let valid = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        (text.len() == LENGTH && rest.bytes().all(valid)).then(|| Self(text.into()))
    }

    /// Makes an identifier from `number`, of which it encodes 98 bits.
    pub fn of_number(number: u128) -> Self {
        let sandbox = SandboxId::of_number(number);
        Self(format!("s{}", &sandbox.as_str()[1..]).into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// An image of a sandbox's files as they were at a moment. The engine keeps it; there is no record of it in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its identifier.
    pub id: SnapshotId,
    /// What its owner calls it. Several can have the same name, and the newest of them is meant.
    pub name: Option<String>,
    /// The sandbox that it was taken of.
    pub sandbox: SandboxId,
    /// The template of that sandbox.
    pub template: Option<String>,
    /// What was asked for when that sandbox was made.
    pub asked: Asked,
    /// When it was taken.
    pub created_at: EpochSeconds,
    /// Whether it exists only until the sandboxes that are made from it are gone.
    pub passing: bool,
}

impl Snapshot {
    /// The reference of its image.
    pub fn image(&self) -> String {
        reference(&self.id)
    }

    /// Whether a client means it by `text`, its identifier or its name.
    pub fn is_called(&self, text: &str) -> bool {
        self.id.as_str() == text || self.name.as_deref() == Some(text)
    }
}

/// The reference of a snapshot's image.
pub fn reference(id: &SnapshotId) -> String {
    format!("{REPOSITORY}:{id}")
}

/// The snapshot whose image has this reference.
pub fn of_reference(image: &str) -> Option<SnapshotId> {
    SnapshotId::parse(image.strip_prefix(REPOSITORY)?.strip_prefix(':')?)
}

/// The repository and the tag of a snapshot's image.
pub fn repository_and_tag(id: &SnapshotId) -> (&'static str, &str) {
    (REPOSITORY, id.as_str())
}

/// Whether `text` can be the name of one: such names follow the rule for ids of sandboxes,
/// [`ID_RULE`](super::ID_RULE).
pub fn is_valid_name(text: &str) -> bool {
    SandboxId::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_found_in_the_reference_of_its_image_and_in_no_other() {
        for number in [0, 1, u128::MAX] {
            let id = SnapshotId::of_number(number);
            assert_eq!(SnapshotId::parse(id.as_str()), Some(id.clone()));
            assert_eq!(of_reference(&reference(&id)), Some(id));
        }
        for image in ["busybox:stable", "sandglass-snapshot", "sandglass-snapshot:latest", "sandglass-snapshot:sUPPER"]
        {
            assert_eq!(of_reference(image), None, "{image}");
        }
        let long = format!("s{}", "a".repeat(LENGTH));
        for text in ["", "s", "i0000000000000000000", &long] {
            assert_eq!(SnapshotId::parse(text), None, "{text}");
        }
    }
}
