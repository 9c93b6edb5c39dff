//! The messages of `process.Process`, in the JSON of Proto3, with our additions.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{end::End, output::Stream};

/// What to run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) cmd: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) envs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Start {
    pub(super) process: Config,
    pub(super) pty: Option<Pty>,
    pub(super) tag: Option<String>,
    pub(super) stdin: Option<bool>,
    /// Whether it begins in the container's own directory, not at home, if it has no `cwd`.
    pub(super) container_cwd: bool,
    #[serde(deserialize_with = "number")]
    pub(super) timeout_ms: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) keep_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pty {
    pub(super) size: Size,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Size {
    pub(super) cols: u32,
    pub(super) rows: u32,
}

/// Names a process by its number or its tag.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Selector {
    Pid(u32),
    Tag(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connect {
    pub(super) process: Option<Selector>,
    pub(super) from: From,
    /// Whether only the end is told.
    #[serde(rename = "endOnly")]
    pub(super) end_only: bool,
}

/// The offsets that a reader wants to read on from.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct From {
    #[serde(deserialize_with = "number")]
    pub(super) stdout: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) stderr: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) pty: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct List {
    pub(super) ended: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) processes: Vec<Info>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    pub(super) config: Config,
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    /// Seconds since the Unix epoch.
    pub(super) started_at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Update {
    pub(super) process: Option<Selector>,
    pub(super) pty: Option<Pty>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SendInput {
    pub(super) process: Option<Selector>,
    pub(super) input: Option<Input>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Input {
    Stdin(Base64),
    Pty(Base64),
    /// For the terminal if there is one, else for standard input.
    Any(Base64),
}

/// One message of a stream of input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum StreamInput {
    Start {
        process: Option<Selector>,
    },
    Data {
        input: Option<Input>,
    },
    #[serde(rename_all = "camelCase")]
    Keepalive {},
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CloseStdin {
    pub(super) process: Option<Selector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SendSignal {
    pub(super) process: Option<Selector>,
    pub(super) signal: Option<Signal>,
}

/// A signal by its name in the protocol (`SIGNAL_SIGTERM`), or by its number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Signal {
    Number(i32),
    Name(String),
}

/// An answer that says nothing more.
#[derive(Debug, Serialize)]
pub(super) struct Empty {}

/// An event of a process, as streams tell it.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    pub(super) event: Event<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Event<'a> {
    Start { pid: u32 },
    Data(Data<'a>),
    End(&'a End),
    Keepalive {},
}

/// Some output.
#[derive(Debug)]
pub(super) struct Data<'a> {
    pub(super) stream: Stream,
    /// The position of the first byte in its stream.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.stream.name(), &BASE64_STANDARD.encode(self.bytes))?;
        map.serialize_entry("offset", &self.offset.to_string())?;
        map.end()
    }
}

/// Bytes, as Proto3's JSON writes them. The URL-safe alphabet and missing padding are read, too.
#[derive(Debug)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::{
            alphabet,
            engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
        };
        const LENIENT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let text = String::deserialize(deserializer)?;
        let standard = GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(&text);
        let bytes = standard.or_else(|_| GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(&text));
        bytes.map(Self).map_err(|error| serde::de::Error::custom(format!("bytes must be in base64: {error}")))
    }
}

/// Reads a number that may stand in a text, as Proto3's JSON writes 64 bits.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Plain(u64),
        Text(String),
    }
    match Option::<Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Number::Plain(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is not a whole number of 0 or more"))),
    }
}
