//! Small maps. A sandbox has two or three entries in each, and there may be a million sandboxes; the spare room of a
//! [`BTreeMap`] would be most of their memory.

use std::{collections::BTreeMap, fmt, marker::PhantomData, ops::Index};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// An immutable map from names to values, sorted by name, in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<V>(Box<[(Box<str>, V)]>);

impl<V> Fields<V> {
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&V> {
        let found = self.0.binary_search_by(|(other, _)| (**other).cmp(name));
        found.ok().map(|index| &self.0[index].1)
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over all fields, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl<V> Default for Fields<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

/// If a name occurs twice, the last value wins, as usual in JSON.
impl<N: Into<Box<str>>, V> FromIterator<(N, V)> for Fields<V> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut fields: Vec<(Box<str>, V)> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        // The sort is stable, so the last of equal names comes first, and `dedup_by` keeps it.
        fields.reverse();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(fields.into())
    }
}

impl<N: Into<Box<str>>, V, W: Into<V>> From<BTreeMap<N, W>> for Fields<V> {
    fn from(map: BTreeMap<N, W>) -> Self {
        map.into_iter().map(|(name, value)| (name, value.into())).collect()
    }
}

impl<V> Index<&str> for Fields<V> {
    type Output = V;

    /// # Panics
    /// Panics if there is no such name.
    fn index(&self, name: &str) -> &V {
        self.get(name).unwrap_or_else(|| panic!("there is no field {name:?}"))
    }
}

impl<V: Serialize> Serialize for Fields<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Fields<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Fields<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(Box<str>, V)> = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields.into_iter().collect())
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_in_the_order_of_the_names() {
        let fields: Fields<u8> = [("b", 1), ("a", 2), ("c", 3)].into_iter().collect();
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("a", &2), ("b", &1), ("c", &3)]);
        assert_eq!((fields.get("b"), fields.get("bb"), fields["c"]), (Some(&1), None, 3));
        assert!(!fields.is_empty() && Fields::<u8>::new().is_empty());
    }

    #[test]
    fn of_a_name_that_occurs_twice_the_last_one_counts() {
        let text = r#"{"z":1,"a":1,"z":2,"a":3,"z":4}"#;
        let fields: Fields<u8> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"a":3,"z":4}"#);
        let map: BTreeMap<String, u8> = serde_json::from_str(text).unwrap();
        assert_eq!(Fields::from(map), fields);
    }
}
