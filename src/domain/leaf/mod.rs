//! Single values that check themselves while they are read. The configuration and requests are read with the same types,
//! so a value breaks the same rule, in the same words, wherever it stands.
//!
//! A leaf is read with serde and then gives its [`Plain`](Leaf::Plain) value, which is what the rest of the program works
//! with. [`checked`] does both for a field: `#[serde(deserialize_with = "checked::<Timeout, _>")] timeout: Duration`.

mod number;
mod seconds;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub use number::{Cpus, MemoryMb, Pids, Port, Ports, Whole};
pub use seconds::{Grace, Seconds, Timeout};
pub use text::{AbsolutePath, EnvName, HttpPath, ImageRef, Text};
pub(crate) use text::{is_name, text_leaf};

/// A value that has kept its rule since it was read.
pub trait Leaf {
    /// The value without its rule.
    type Plain;

    /// Takes the value out.
    fn plain(self) -> Self::Plain;
}

/// Reads a field as an `L` and keeps its plain value.
///
/// # Errors
/// The rule that the value breaks, as a sentence without a subject: "must be …".
pub fn checked<'de, L, D>(deserializer: D) -> Result<L::Plain, D::Error>
where
    L: Leaf + Deserialize<'de>,
    D: Deserializer<'de>,
{
    L::deserialize(deserializer).map(L::plain)
}

impl<L: Leaf> Leaf for Option<L> {
    type Plain = Option<L::Plain>;

    fn plain(self) -> Self::Plain {
        self.map(L::plain)
    }
}

impl<L: Leaf> Leaf for Vec<L> {
    type Plain = Vec<L::Plain>;

    fn plain(self) -> Self::Plain {
        self.into_iter().map(L::plain).collect()
    }
}

impl<K: Leaf<Plain: Ord>, V: Leaf> Leaf for BTreeMap<K, V> {
    type Plain = BTreeMap<K::Plain, V::Plain>;

    fn plain(self) -> Self::Plain {
        self.into_iter().map(|(key, value)| (key.plain(), value.plain())).collect()
    }
}
