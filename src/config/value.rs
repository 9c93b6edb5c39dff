//! A deserializer for TOML values. Its errors list the known keys beside an unknown one, for suggestions, and never repeat
//! the value, which may be a secret.

use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use toml::Value;

use super::leaf::OR_NONE;

/// A value to deserialize.
pub(super) struct Node(pub Value);

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// There is no such key.
    UnknownKey {
        /// The key, without its section.
        key: String,
        /// The keys that are known there.
        known: &'static [&'static str],
    },
    /// The value has the wrong type; it must follow this rule.
    Kind(String),
    /// The value has the right type but breaks this rule.
    Rule(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, .. } => write!(formatter, "unknown key {key:?}"),
            Self::Kind(rule) | Self::Rule(rule) => formatter.write_str(rule),
        }
    }
}

impl std::error::Error for Mismatch {}

impl Mismatch {
    fn must_be(expected: &dyn Expected) -> Self {
        let words = match expected.to_string().as_str() {
            "i64" => "a whole number".to_owned(),
            "f64" => "a number".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a map" => "a table".to_owned(),
            other => other.to_owned(),
        };
        Self::Kind(format!("must be {words}"))
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Rule(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::must_be(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::must_be(expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: field.to_owned(), known: expected }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Kind(format!("must be one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Kind(format!("needs the key {field:?}"))
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A deserializer for the entries of a table.
fn entries<'de>(table: toml::Table) -> MapDeserializer<'de, impl Iterator<Item = (String, Node)>, Mismatch> {
    MapDeserializer::new(table.into_iter().map(|(key, value)| (key, Node(value))))
}

impl<'de> Deserializer<'de> for Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(truth) => visitor.visit_bool(truth),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Node))),
            Value::Table(table) => visitor.visit_map(entries(table)),
            // No key is a date.
            Value::Datetime(_) => Err(Mismatch::must_be(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        if name != OR_NONE {
            return visitor.visit_newtype_struct(self);
        }
        if self.0.as_str() == Some("none") {
            return visitor.visit_none();
        }
        visitor.visit_newtype_struct(self).map_err(|mismatch| match mismatch {
            Mismatch::Kind(rule) => Mismatch::Kind(format!("{rule} or \"none\"")),
            other => other,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        // Replace serde's messages about variants, which users would not understand.
        let words = (&visitor as &dyn Expected).to_string();
        let named = words == format!("enum {name}");
        let rule = if named { format!("one of {}", variants.join(", ")) } else { words };
        let refused = |_| Mismatch::Kind(format!("must be {rule}"));
        match self.0 {
            Value::String(word) => {
                visitor.visit_enum(IntoDeserializer::<Mismatch>::into_deserializer(word)).map_err(refused)
            }
            Value::Table(table) if !named => visitor.visit_enum(MapAccessDeserializer::new(entries(table))),
            _ => Err(refused(Mismatch::Kind(String::new()))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{super::settings::Sections, *};

    /// Why `text`, which sets one key, is refused.
    fn refusal(text: &str) -> Mismatch {
        let table: toml::Table = text.parse().unwrap();
        let mut all: toml::Table = super::super::MANUAL.parse().unwrap();
        lay(&mut all, table);
        Sections::deserialize(Node(all.into())).unwrap_err()
    }

    fn lay(all: &mut toml::Table, over: toml::Table) {
        for (key, value) in over {
            match (all.get_mut(&key), value) {
                (Some(Value::Table(below)), Value::Table(over)) => lay(below, over),
                (_, value) => {
                    all.insert(key, value);
                }
            }
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_told_what_it_must_be_and_is_not_repeated() {
        for (text, rule) in [
            ("http = 5", "must be a table"),
            ("http.bind = 5", "must be a string"),
            ("http.api_key = 12345", "must be a string or \"none\""),
            ("http.max_streams = 1.5", "must be a whole number"),
            ("lifecycle.idle_timeout = \"2x\"", "must be seconds (90) or a duration (\"1h 30m\") or \"none\""),
            ("lifecycle.idle_timeout = [2]", "must be seconds (90) or a duration (\"1h 30m\") or \"none\""),
            ("lifecycle.active_timeout = 2026-01-01", "must be seconds (90) or a duration (\"1h 30m\")"),
            ("docker.max_limits.cpus = true", "must be a number or \"none\""),
            ("lifecycle.allow_no_idle_timeout = 1", "must be true or false"),
            ("lifecycle.on_timeout = \"stop\"", "must be one of deactivate, terminate, terminate_unless_paused, pause"),
            (
                "lifecycle.on_timeout = {pause = 1}",
                "must be one of deactivate, terminate, terminate_unless_paused, pause",
            ),
            ("store.kind = 1", "must be one of auto, embedded, redis"),
            ("docker.allowed_images = \"*\"", "must be a list"),
            ("templates.a.ready = \"tcp\"", "must be \"none\", {tcp = PORT} or {http = {port = PORT, path = PATH}}"),
            ("templates.a.ready = {udp = 1}", "must be one of none, tcp, http"),
            ("templates.a.ready = {http = {port = 80}}", "needs the key \"path\""),
        ] {
            assert_eq!(refusal(text), Mismatch::Kind(rule.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_comes_with_those_that_are_known_in_its_place() {
        let known: &[&str] = &["level", "format"];
        assert_eq!(refusal("log.levle = 1"), Mismatch::UnknownKey { key: "levle".to_owned(), known });
        assert!(matches!(refusal("templates.a.ready = {http = {prot = 1}}"), Mismatch::UnknownKey { .. }));
    }
}
