//! Leaves that only the configuration has; see [`crate::domain::leaf`].

use std::{
    fmt,
    marker::PhantomData,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use ipnet::Ipv4Net;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use tracing_subscriber::EnvFilter;

use super::secret::Secret;
use crate::domain::{
    leaf::{AbsolutePath, Cpus, Leaf, MemoryMb, Pids, is_name, text_leaf},
    spec::Limits,
};

text_leaf! {
    /// The path of a file, relative to the working directory.
    pub(super) FilePath(String), "must be the path of a file", |text| !text.is_empty() && !text.contains('\0');

    /// The absolute path of a directory; `~/` is the home directory.
    pub(super) Directory(String),
    "must be an absolute path without '..'; it may begin with ~/, the home directory", |text| {
        let absolute = text.strip_prefix('~').unwrap_or(text);
        absolute.is_empty() || AbsolutePath::try_from(absolute.to_owned()).is_ok()
    };

    /// An API key, which has to fit into a header.
    pub(super) ApiKey(Secret), "must be one or more visible ASCII characters without spaces", |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    };

    /// A host's name, with or without a port.
    pub(super) Domain(String), "must be the name of a host, with its port if clients need it, such as sandbox.example.com or \
                                localhost:8080",
    |text| {
        let (host, port) = text.split_once(':').unwrap_or((text, "80"));
        let is_label = |label: &str| is_name(label, 63, b"-") && !label.ends_with('-');
        host.len() <= 253
            && host.split('.').all(is_label)
            && host.parse::<Ipv4Addr>().is_err()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };

    /// `store.prefix`.
    pub(super) Prefix(String), "must be 1 to 128 letters, digits, '_', '.', ':' or '-', the first a letter or a digit",
    |text| is_name(text, 128, b"_.:-");

    /// The URL of a Redis server.
    pub(super) RedisUrl(Secret), "must be a URL such as redis://127.0.0.1:6379/0 or redis+unix:///run/redis.sock; TLS is \
                                  not supported together with Sentinel", |text| {
        const SCHEMES: [&str; 8] =
            ["redis", "rediss", "redis+sentinel", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
        text.split_once("://").is_some_and(|(scheme, place)| SCHEMES.contains(&scheme) && !place.is_empty())
    };

    /// The address of the container engine.
    pub(super) EngineAddress(String),
    "must be unix://PATH with an absolute path, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
    |text| match text.split_once("://") {
        Some(("unix", path)) => AbsolutePath::try_from(path.to_owned()).is_ok(),
        Some(("tcp" | "http" | "https", address)) => !address.is_empty(),
        _ => false,
    };

    /// The name of a registry, as it begins the names of its images.
    pub(super) RegistryName(String),
    "must be a registry as images name it, such as ghcr.io or registry.example.com:5000",
    |text| is_name(text, 255, b".-:");

    /// The name of a template.
    pub(super) TemplateName(String),
    "the name must be 1 to 63 letters, digits, '_' or '-', the first a letter or a digit",
    |text| is_name(text, 63, b"_-");

    /// A pattern for images; each `*` matches any characters.
    pub ImagePattern(String), "must be a pattern such as \"ghcr.io/acme/*\", without spaces",
    |text| !text.is_empty() && !text.contains(char::is_whitespace);

    /// A log level or a list of directives. The filter would read a misspelled level as the name of a module and log
    /// nothing, so a single word must be a known level.
    pub Level(String), "must be off, error, warn, info, debug or trace, or directives such as info,sandglass=debug", |text| {
        let is_word = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        let plausible =
            |directive: &str| directive.contains(['=', '[']) || is_word(&directive.trim().to_ascii_lowercase());
        text.split(',').all(plausible) && EnvFilter::try_new(text).is_ok()
    };
}

impl ImagePattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches all of `image`.
    pub(super) fn fits(&self, image: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|head| image.strip_prefix(head)) else { return false };
        // The earliest match of each part leaves the most room for the next ones. The last part must match the end.
        let Some(tail) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(start) => rest = &rest[start + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(tail)
    }
}

/// Reads an IP address and a port.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parsed(deserializer, "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Reads the range of addresses that isolated networks are taken from.
pub(super) fn subnets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipv4Net, D::Error> {
    const RULE: &str = "must be a private range of IPv4 addresses, at least a /22: 10.213.0.0/16, or another one within \
                        10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10";
    let range: Ipv4Net = parsed(deserializer, RULE)?;
    let is_private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)]
        .into_iter()
        .any(|(address, length)| Ipv4Net::new_assert(address.into(), length).contains(&range));
    if is_private && range.prefix_len() <= 22 { Ok(range.trunc()) } else { Err(D::Error::custom(RULE)) }
}

/// Reads an IPv4 address.
pub(super) fn ipv4<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipv4Addr, D::Error> {
    parsed(deserializer, "must be an IPv4 address, such as 127.0.0.1")
}

fn parsed<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D, rule: &'static str) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom(rule))
}

/// A value or the word `"none"`, with which a layer unsets the value of a lower one. TOML has no null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OrNone<T>(pub Option<T>);

/// Tells the deserializer that `"none"` is allowed.
pub(super) const OR_NONE: &str = "OrNone";

impl<L: Leaf> Leaf for OrNone<L> {
    type Plain = Option<L::Plain>;

    fn plain(self) -> Self::Plain {
        self.0.plain()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrNone<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrNoneVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OrNoneVisitor<T> {
            type Value = OrNone<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value or \"none\"")
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(OrNone(None))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                T::deserialize(deserializer).map(|value| OrNone(Some(value)))
            }
        }

        deserializer.deserialize_newtype_struct(OR_NONE, OrNoneVisitor(PhantomData))
    }
}

/// Limits of resources as they are written; each may be missing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct LimitKeys {
    cpus: Option<OrNone<Cpus>>,
    memory_mb: Option<OrNone<MemoryMb>>,
    pids: Option<OrNone<Pids>>,
}

impl LimitKeys {
    /// Fills in the missing limits from `base`.
    pub(super) fn or(self, base: Self) -> Self {
        Self {
            cpus: self.cpus.or(base.cpus),
            memory_mb: self.memory_mb.or(base.memory_mb),
            pids: self.pids.or(base.pids),
        }
    }
}

impl Leaf for LimitKeys {
    type Plain = Limits;

    fn plain(self) -> Limits {
        Limits {
            cpus: self.cpus.plain().flatten(),
            memory_mb: self.memory_mb.plain().flatten(),
            pids: self.pids.plain().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_text_or_not_at_all() {
        let fits = |pattern: &str, text: &str| ImagePattern(pattern.to_owned()).fits(text);
        for (pattern, text) in [
            ("*", ""),
            ("*", "busybox:stable"),
            ("busybox", "busybox"),
            ("busybox:*", "busybox:1.36"),
            ("*/tools:*", "ghcr.io/acme/tools:1"),
            ("a*b*c", "abbc"),
            ("a**c", "abc"),
        ] {
            assert!(fits(pattern, text), "{pattern} should fit {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("busybox", "busybox:1"),
            ("busybox:*", "xbusybox:1"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*x", "xy"),
        ] {
            assert!(!fits(pattern, text), "{pattern} should not fit {text}");
        }
    }

    #[test]
    fn a_level_is_a_known_word_or_directives() {
        let is_level = |text: &str| Level::try_from(text.to_owned()).is_ok();
        for good in ["info", "OFF", "info,sandglass=debug", "warn,sandglass[ping]=trace", "sandglass::actor=debug"] {
            assert!(is_level(good), "{good}");
        }
        for bad in ["", "inof", "info,", "debug sandglass", "sandglass=loud", "info,sandglass"] {
            assert!(!is_level(bad), "{bad:?}");
        }
    }
}
