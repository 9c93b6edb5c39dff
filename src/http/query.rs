//! Query parameters, which are read one by one so that each error names its parameter.

use std::time::Duration;

use actix_web::{HttpRequest, web::Query};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::{
    domain::{
        SandboxId, Status,
        leaf::{Leaf, Seconds},
    },
    feed::Position,
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

fn pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
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
