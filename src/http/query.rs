//! Query parameters, which are read one by one so that each error names its parameter.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpRequest, web::Query};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::{
    domain::{
        SandboxId, Status,
        leaf::{Leaf, Seconds},
    },
    feed::Position,
    ports::inside::OutputQuery,
    sandboxes::Filter,
};

const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;
/// Longer than proxies keep a silent connection.
pub(super) type Wait = Seconds<0, 300_000>;

/// The parameters of a list.
#[derive(Debug, PartialEq)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    pub(super) after: Option<SandboxId>,
    pub(super) limit: usize,
}

impl ListQuery {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let (mut filter, mut after, mut limit) = (Filter::default(), None, None);
        for (name, value) in pairs(request)? {
            match name.as_str() {
                "status" => add_statuses(&mut filter, &value)?,
                "limit" => once(&mut limit, "limit", limit_of(&value)?)?,
                "cursor" => {
                    let rule = "the next_cursor of an earlier answer";
                    let id = SandboxId::parse(&value).map_err(|_| wrong("cursor", rule, &value))?;
                    once(&mut after, "cursor", id)?;
                }
                _ => add_metadata(&mut filter, &name, value, "status, metadata.KEY, limit and cursor")?,
            }
        }
        Ok(Self { filter, after, limit: limit.unwrap_or(DEFAULT_LIMIT) })
    }
}

/// The parameters of a stream.
#[derive(Debug, PartialEq)]
pub(super) struct StreamQuery {
    pub(super) filter: Filter,
    pub(super) since: Option<Position>,
}

impl StreamQuery {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let (mut filter, mut since) = (Filter::default(), None);
        for (name, value) in pairs(request)? {
            match name.as_str() {
                "id" => {
                    for text in value.split(',') {
                        filter.ids.insert(SandboxId::parse(text).map_err(|wrong| ApiError::id(Some("id"), &wrong))?);
                    }
                }
                "status" => add_statuses(&mut filter, &value)?,
                "since" => once(&mut since, "since", value.parse().map_err(|rule| wrong("since", rule, &value))?)?,
                _ => add_metadata(&mut filter, &name, value, "id, status, metadata.KEY and since")?,
            }
        }
        Ok(Self { filter, since })
    }
}

/// Splits words at commas.
fn add_statuses(filter: &mut Filter, value: &str) -> Result<(), ApiError> {
    value.split(',').try_for_each(|word| add_status(filter, "status", word))
}

/// Adds a status, or `all` of them. `field` is the name for errors.
pub(super) fn add_status(filter: &mut Filter, field: &str, word: &str) -> Result<(), ApiError> {
    match Status::from_word(word) {
        Some(status) => filter.statuses.push(status),
        None if word == "all" => filter.statuses.extend(Status::ALL),
        None => return Err(wrong(field, &format!("all, or {}", Status::RULE), word)),
    }
    Ok(())
}

/// Adds `metadata.KEY=VALUE`; refuses any other parameter.
fn add_metadata(filter: &mut Filter, name: &str, value: String, known: &str) -> Result<(), ApiError> {
    match name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
        Some(key) => filter.metadata.push((key.to_owned(), value)),
        None => return Err(unknown(name, known)),
    }
    Ok(())
}

/// Whether a create waits for the start, which is the default.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "these are words of the specification, and read below")]
pub(super) enum WaitForStart {
    /// Answer at once.
    #[schema(rename = "0")]
    No,
    /// The same as above.
    #[schema(rename = "false")]
    False,
    /// Answer when the sandbox runs or has failed.
    #[schema(rename = "1")]
    Yes,
    /// The same as above.
    #[schema(rename = "true")]
    True,
}

/// Reads whether a create waits for the start; `wait=0` does not.
pub(super) fn wait_for_start(request: &HttpRequest) -> Result<bool, ApiError> {
    let wait = the_one(request, "wait")?;
    match wait.as_deref() {
        None | Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(other) => Err(wrong("wait", "0 or 1", other)),
    }
}

/// Reads how long a delete waits for the end.
pub(super) fn wait_for_end(request: &HttpRequest) -> Result<Duration, ApiError> {
    let Some(wait) = the_one(request, "wait")? else { return Ok(Duration::ZERO) };
    Wait::parse(&wait).map(Wait::plain).map_err(|rule| ApiError::field("wait", format_args!("{rule}, not {wait:?}")))
}

/// The value of `name`, if it is the only parameter.
fn the_one(request: &HttpRequest, known: &str) -> Result<Option<String>, ApiError> {
    let mut found = None;
    for (name, value) in pairs(request)? {
        if name != known {
            return Err(unknown(&name, known));
        }
        once(&mut found, known, value)?;
    }
    Ok(found)
}

/// Which part of a log is asked for.
pub(super) fn logs_query(request: &HttpRequest) -> Result<OutputQuery, ApiError> {
    let (mut tail, mut since, mut follow) = (None, None, None);
    for (name, value) in pairs(request)? {
        match name.as_str() {
            "tail" => once(&mut tail, "tail", value.parse().map_err(|_| wrong("tail", "a number of lines", &value))?)?,
            "since" => {
                let at: f64 = value.parse().map_err(|_| wrong("since", "epoch seconds", &value))?;
                if !(0.0..=f64::from(i32::MAX)).contains(&at) {
                    return Err(wrong("since", "epoch seconds", &value));
                }
                once(&mut since, "since", at)?;
            }
            "follow" => once(&mut follow, "follow", flag("follow", &value)?)?,
            _ => return Err(unknown(&name, "tail, since and follow")),
        }
    }
    Ok(OutputQuery { tail, since, follow: follow.unwrap_or(false) })
}

/// Whether a parameter that is a flag is set: `list`, `list=1` or `list=true`.
fn flag(name: &str, value: &str) -> Result<bool, ApiError> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(wrong(name, "true or false", other)),
    }
}

/// In which shape files are asked for or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Tar,
    Stat,
    /// With the depth.
    List(u32),
}

/// Which file is meant, and how.
#[derive(Debug, PartialEq)]
pub(super) struct FilesQuery {
    pub(super) path: String,
    pub(super) user: Option<String>,
    pub(super) shape: Shape,
    pub(super) directory: bool,
    pub(super) recursive: bool,
    /// What a file that is written shall have, by the agent's names.
    pub(super) attributes: Vec<(&'static str, String)>,
}

impl FilesQuery {
    pub(super) fn of_read(request: &HttpRequest) -> Result<Self, ApiError> {
        Self::of(request, &["path", "user", "list", "depth", "stat", "tar"])
    }

    pub(super) fn of_write(request: &HttpRequest) -> Result<Self, ApiError> {
        Self::of(request, &["path", "user", "mode", "owner", "group", "mtime", "owners", "tar", "directory"])
    }

    pub(super) fn of_remove(request: &HttpRequest) -> Result<Self, ApiError> {
        Self::of(request, &["path", "user"])
    }

    pub(super) fn of_watch(request: &HttpRequest) -> Result<Self, ApiError> {
        Self::of(request, &["path", "user", "recursive"])
    }

    fn of(request: &HttpRequest, known: &[&'static str]) -> Result<Self, ApiError> {
        let mut found: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, value) in pairs(request)? {
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(unknown(&name, &known.join(", ")));
            };
            if found.insert(known, value).is_some() {
                return Err(ApiError::field(known, "given more than once"));
            }
        }
        let flagged = |name: &str| found.get(name).map_or(Ok(false), |value| flag(name, value));
        let shapes = [("list", flagged("list")?), ("stat", flagged("stat")?), ("tar", flagged("tar")?)];
        let mut asked = shapes.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
        let shape = match (asked.next(), asked.next()) {
            (Some(_), Some(other)) => return Err(ApiError::field(other, "only one of list, stat and tar")),
            (Some("list"), None) => {
                let depth = found.get("depth").map_or(Ok(1), |depth| depth.parse());
                let depth = depth.ok().filter(|depth| *depth > 0);
                Shape::List(depth.ok_or_else(|| wrong("depth", "a number from 1", &found["depth"]))?)
            }
            (Some("stat"), None) => Shape::Stat,
            (Some(_), None) => Shape::Tar,
            (None, _) => Shape::Plain,
        };
        let (directory, recursive) = (flagged("directory")?, flagged("recursive")?);
        let path = found.remove("path").filter(|path| !path.is_empty() && !path.contains('\0'));
        let path = path.ok_or_else(|| ApiError::field("path", "missing, or no path"))?;
        let user = found.remove("user");
        let mut attributes = Vec::new();
        for name in ["mode", "owner", "group", "mtime", "owners"] {
            attributes.extend(found.remove(name).map(|value| (name, value)));
        }
        Ok(Self { path, user, shape, directory, recursive, attributes })
    }
}

pub(super) fn pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
    request.query_string().split('&').try_for_each(must_be_text)?;
    Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|error| ApiError::field("query", error))
}

/// Refuses bytes that are not UTF-8. The parser would replace them by U+FFFD and so look for something else.
fn must_be_text(pair: &str) -> Result<(), ApiError> {
    let decode = |text| percent_decode_str(text).decode_utf8();
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let wrong = |name: &str| ApiError::field(name, "not UTF-8, once its percent-encoding is undone");
    let name = decode(name).map_err(|_| wrong("query"))?;
    decode(value).map(|_| ()).map_err(|_| wrong(&name))
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), ApiError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ApiError::field(name, "given more than once")),
    }
}

fn limit_of(value: &str) -> Result<usize, ApiError> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| wrong("limit", &format!("a number from 1 to {MAX_LIMIT}"), value))
}

fn wrong(name: &str, rule: &str, value: &str) -> ApiError {
    ApiError::field(name, format_args!("expected {rule}, not {value:?}"))
}

fn unknown(name: &str, known: &str) -> ApiError {
    ApiError::field(name, format_args!("an unknown parameter; known: {known}"))
}
