//! What a new sandbox is made from: the merged and validated outcome of a template and a request.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// What a container may use. `None` leaves a resource to the engine's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Limits {
    /// CPU cores; 0.5 is half of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory in MiB, swap included.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Processes and threads.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// A whole number from 0 on. Whether it is written as 80 or as 80.0 is the same to JSON, and to many encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Whole;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number from 0 on")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                u64::try_from(number).map(Whole).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                // 2^64 is the first that is too large.
                let fits = number.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&number);
                if fits { Ok(Whole(number as u64)) } else { Err(E::invalid_value(Unexpected::Float(number), &self)) }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|Whole(number)| number))
}

/// When a started container counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Readiness {
    /// As soon as it runs.
    #[default]
    Started,
    /// When this container port takes a TCP connection; it is one of `ports`.
    Tcp(u16),
    /// When a GET of this path on this container port answers with a status below 400.
    Http {
        /// The container port, one of `ports`.
        port: u16,
        /// The path, beginning with `/`.
        path: String,
    },
}

/// A directory of the host that the container may see; the configuration has to allow its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The absolute path on the host.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// Everything the runtime needs to make a container.
#[derive(Clone, Debug, PartialEq)]
pub struct StartSpec {
    /// The image's reference.
    pub image: String,
    /// The command; `None` takes the image's own.
    pub command: Option<Vec<String>>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// TCP ports of the container that are reached from outside.
    pub ports: Vec<u16>,
    /// What it may use.
    pub limits: Limits,
    /// Whether the engine's init is its first process: it hands signals on and reaps what others leave.
    pub init: bool,
    /// Whether a process may gain privileges that its parent does not have, as `sudo` does.
    pub privilege_escalation: bool,
    /// Host directories it may see.
    pub mounts: Vec<Mount>,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// How long it may take to become ready, from its start.
    pub ready_timeout: Duration,
}
