//! Single values that serde checks while it reads them. The configuration and requests use the same types, and so the same
//! rules and messages.
//!
//! The rest of the program works with a leaf's [`Plain`](Leaf::Plain) value. [`checked`] reads a field as a leaf and keeps
//! the plain value: `#[serde(deserialize_with = "checked::<Timeout, _>")] timeout: Duration`.

mod number;
mod seconds;
mod text;

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

pub use number::{Cpus, MemoryMb, Pids, Port, Ports, Whole};
pub use seconds::{Grace, Seconds, Timeout};
pub use text::{AbsolutePath, EnvName, HttpPath, ImageRef, Text};
pub(crate) use text::{is_name, text_leaf};

/// A value that was checked when it was read.
pub trait Leaf {
    /// The type of the value without its rule.
    type Plain;

    /// Unwraps the value.
    fn plain(self) -> Self::Plain;
}

/// Reads a field as an `L` and keeps its plain value.
///
/// # Errors
/// The rule that the value breaks, for example "must be 1 to 65535".
pub fn checked<'de, L, D>(deserializer: D) -> Result<L::Plain, D::Error>
where
    L: Leaf + Deserialize<'de>,
    D: Deserializer<'de>,
{
    L::deserialize(deserializer).map(L::plain)
}

/// Reads an object or `null`. Derived readers also accept an array, as the fields in their order.
///
/// # Errors
/// When it is something else, or when `T` refuses it.
pub fn object_or_null<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Reader<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
        type Value = Option<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Reader(PhantomData))
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
