//! Files in a sandbox, one by one, and directories as tar. Contents are streamed.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::{Bytes, Data, Payload},
};
use futures_util::StreamExt;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::sse;
use crate::{
    domain::leaf::{Leaf, Text},
    http::{
        body::{Body, discard},
        error::{ApiError, ErrorAnswer},
        extract::Id,
        json::json as answer_json,
        query::{FilesQuery, Shape},
        upload::{AHEAD, LINGER, send},
    },
    sandboxes::Sandboxes,
    work::{FileRequest, Work, WorkError},
};

/// A file, a directory or a link in a sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EntryAnswer {
    /// Its name.
    name: String,
    /// Its absolute path.
    path: String,
    /// What it is; of a link, what it leads to.
    #[serde(rename = "type")]
    kind: EntryKind,
    /// Its size in bytes.
    size: u64,
    /// Its permissions, as the lowest bits of a number.
    mode: u32,
    /// The name of its owner, or the number.
    owner: String,
    /// The name of its group, or the number.
    group: String,
    /// When it was last written to (RFC 3339).
    modified_at: Option<String>,
    /// Where it leads, if it is a symbolic link.
    target: Option<String>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EntryKind {
    /// A file, or something that is neither of the others.
    File,
    /// A directory.
    Directory,
    /// A symbolic link that leads nowhere.
    Symlink,
}

/// What a directory has.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EntriesAnswer {
    /// The entries, each directory before what is in it.
    entries: Vec<EntryAnswer>,
}

/// Moves a file or a directory.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct MoveRequest {
    /// Its path.
    #[schema(value_type = String)]
    from: Text,
    /// Its new path.
    #[schema(value_type = String)]
    to: Text,
    /// Who moves it: a name or `UID[:GID]`; left out: whom the image names.
    #[schema(value_type = Option<String>)]
    user: Option<Text>,
}

impl EntryAnswer {
    /// Reads what the agent tells of an entry.
    fn of(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        Self {
            name: text("name").unwrap_or_default(),
            path: text("path").unwrap_or_default(),
            kind: match entry["type"].as_str() {
                Some("FILE_TYPE_DIRECTORY") => EntryKind::Directory,
                Some("FILE_TYPE_SYMLINK") => EntryKind::Symlink,
                _ => EntryKind::File,
            },
            size: entry["size"].as_str().and_then(|size| size.parse().ok()).unwrap_or(0),
            mode: entry["mode"].as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0),
            owner: text("owner").unwrap_or_default(),
            group: text("group").unwrap_or_default(),
            modified_at: text("modifiedTime"),
            target: text("symlinkTarget"),
        }
    }
}

/// Reads a file; with `tar` a file or a directory as a tar; with `list` what a directory has; with `stat` what stands there.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/files", operation_id = "read_file", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("path" = String, Query, min_length = 1, pattern = "^[^\\u0000]*$", description = "The path; a relative one begins at the user's home"),
        ("user" = Option<String>, Query, description = "Who reads: a name or `UID[:GID]`; left out: whom the image names"),
        ("list" = Option<bool>, Query, description = "List the directory"),
        ("depth" = Option<i64>, Query, minimum = 1, maximum = 4294967295_i64, description = "With `list`: how deep, 1 when it is left out"),
        ("stat" = Option<bool>, Query, description = "Describe what stands there"),
        ("tar" = Option<bool>, Query, description = "As a tar"),
        ("Range" = Option<String>, Header, description = "A part of the file: `bytes=0-99`"),
    ),
    responses(
        (status = 200, description = "The content; with `list` or `stat`, what there is", body = EntriesAnswer),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream"),
        (status = 400, description = "`invalid_request`; also: it is a directory", body = ErrorAnswer),
        (status = 403, description = "`forbidden`: the user may not read it", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox or file", body = ErrorAnswer),
        (status = 416, description = "The file has no such part", content_type = "application/json", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn read(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = FilesQuery::of_read(&request)?;
    let failed = |error: WorkError| ApiError::of_work(&error, &sandboxes.now());
    let user = query.user.as_deref();
    let (path, kind) = match query.shape {
        Shape::List(depth) => {
            let message = json!({"path": query.path, "depth": depth});
            let listed = work.file_call(&id, "ListDir", &message, user).await.map_err(failed)?;
            let entries: Vec<_> = listed["entries"].as_array().into_iter().flatten().map(EntryAnswer::of).collect();
            let capacity = 256 * (entries.len() + 1);
            return Ok(answer_json(StatusCode::OK, &EntriesAnswer { entries }, capacity));
        }
        Shape::Stat => {
            let found = work.file_call(&id, "Stat", &json!({"path": query.path}), user).await.map_err(failed)?;
            return Ok(answer_json(StatusCode::OK, &EntryAnswer::of(&found["entry"]), 256));
        }
        Shape::Tar => ("/files/archive", "application/x-tar"),
        Shape::Plain => ("/files", "application/octet-stream"),
    };
    let mut headers = hyper::HeaderMap::new();
    copy(request.headers(), &mut headers, &[header::RANGE, header::IF_RANGE]);
    let parameters = [("path", query.path.as_str())];
    let asked = FileRequest { method: Method::GET, path, query: &parameters, headers, user };
    let answer = work.file_request(&id, asked, None).await.map_err(failed)?;
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
    for name in [header::CONTENT_RANGE, header::ACCEPT_RANGES, header::LAST_MODIFIED, header::ETAG] {
        if let Some(value) =
            answer.headers.get(name.as_str()).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
        {
            response.insert_header((name, value));
        }
    }
    let length = answer.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        response.no_chunking(length);
    }
    Ok(response.streaming(answer.into_stream()))
}

fn copy(from: &HeaderMap, to: &mut hyper::HeaderMap, names: &[HeaderName]) {
    for name in names {
        let value = from.get(name).and_then(|value| hyper::header::HeaderValue::from_bytes(value.as_bytes()).ok());
        if let (Some(value), Ok(name)) = (value, hyper::header::HeaderName::from_bytes(name.as_str().as_bytes())) {
            to.insert(name, value);
        }
    }
}

/// Writes a file; with `tar` unpacks a tar below a directory; with `directory` makes a directory.
///
/// The body is the content, of any size. A file is replaced in one step: others see the old content or the new, never a
/// part. Directories above it are made.
#[utoipa::path(put, path = "/v1/sandboxes/{id}/files", operation_id = "write_file", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("path" = String, Query, min_length = 1, pattern = "^[^\\u0000]*$", description = "The path; a relative one begins at the user's home"),
        ("user" = Option<String>, Query, description = "Who writes, and owns it: a name or `UID[:GID]`; left out: whom the image names"),
        ("mode" = Option<String>, Query, description = "Its permissions in octal digits, such as `644`"),
        ("owner" = Option<String>, Query, description = "Another owner than `user`: a name or a number"),
        ("group" = Option<String>, Query, description = "Another group"),
        ("mtime" = Option<f64>, Query, description = "When it was last written to, in epoch seconds"),
        ("tar" = Option<bool>, Query, description = "The body is a tar, to be unpacked below `path`"),
        ("owners" = Option<String>, Query, description = "With `tar`: `keep` takes the owners in it, as root does by default; `user`: all belongs to `user`"),
        ("directory" = Option<bool>, Query, description = "Make a directory"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The content"),
    responses(
        (status = 204, description = "It is written"),
        (status = 403, description = "`forbidden`: the user may not write there", body = ErrorAnswer),
        (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`, `conflict`", body = ErrorAnswer),
        (status = 507, description = "`disk_full`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn write(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let payload = payload.into_inner();
    let query = match FilesQuery::of_write(&request) {
        Ok(query) => query,
        Err(error) => {
            discard(payload).await;
            return Err(error);
        }
    };
    let failed = |error: WorkError| ApiError::of_work(&error, &sandboxes.now());
    let user = query.user.as_deref();
    if query.directory {
        match work.file_call(&id, "MakeDir", &json!({"path": query.path}), user).await {
            Err(error) if error.is_code("already_exists") => {
                let found = work.file_call(&id, "Stat", &json!({"path": query.path}), user).await.map_err(failed)?;
                if found["entry"]["type"] != "FILE_TYPE_DIRECTORY" {
                    return Err(failed(error));
                }
            }
            made => drop(made.map_err(failed)?),
        }
        return Ok(HttpResponse::NoContent().finish());
    }
    let path = if query.shape == Shape::Tar { "/files/archive" } else { "/files" };
    let mut parameters = vec![("path", query.path.as_str())];
    parameters.extend(query.attributes.iter().map(|(name, value)| (*name, value.as_str())));
    let (parts, upload) = mpsc::channel(AHEAD);
    let headers = hyper::HeaderMap::new();
    let asked = FileRequest { method: Method::PUT, path, query: &parameters, headers, user };
    let mut sending = std::pin::pin!(send(payload, parts));
    let mut written = std::pin::pin!(work.file_request(&id, asked, Some(upload)));
    let written = tokio::select! {
        biased;
        written = &mut written => {
            // It is refused. Most clients read no answer before they have sent everything.
            let _ = tokio::time::timeout(LINGER, sending).await;
            written
        }
        () = &mut sending => written.await,
    };
    written.map_err(failed)?.whole().await.map_err(failed)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes a file or a directory with all that is in it.
#[utoipa::path(delete, path = "/v1/sandboxes/{id}/files", operation_id = "remove_file", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("path" = String, Query, min_length = 1, pattern = "^[^\\u0000]*$", description = "The path; a relative one begins at the user's home"),
        ("user" = Option<String>, Query, description = "Who removes it: a name or `UID[:GID]`; left out: whom the image names"),
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 403, description = "`forbidden`", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox or file", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn remove(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = FilesQuery::of_remove(&request)?;
    let removed =
        work.file_call(&id, "Remove", &json!({"path": query.path, "mustExist": true}), query.user.as_deref()).await;
    removed.map_err(|error| ApiError::of_work(&error, &sandboxes.now()))?;
    Ok(HttpResponse::NoContent().finish())
}

/// Moves a file or a directory. What stands at the new path is replaced, unless it is a directory.
#[utoipa::path(post, path = "/v1/sandboxes/{id}/files/move", operation_id = "move_file", tag = "work",
    params(("id" = String, Path, description = "The sandbox")),
    request_body = MoveRequest,
    responses(
        (status = 200, description = "It is moved", body = EntryAnswer),
        (status = 403, description = "`forbidden`", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox or file", body = ErrorAnswer),
        (status = 409, description = "`paused`, `inactive`, `wrong_state`, `terminating`, `conflict`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn rename(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(MoveRequest { from, to, user }): Body<MoveRequest>,
) -> Result<HttpResponse, ApiError> {
    let message = json!({"source": from.plain(), "destination": to.plain()});
    let moved = work.file_call(&id, "Move", &message, user.plain().as_deref()).await;
    let moved = moved.map_err(|error| ApiError::of_work(&error, &sandboxes.now()))?;
    Ok(answer_json(StatusCode::OK, &EntryAnswer::of(&moved["entry"]), 256))
}

/// Watches a directory: server-sent events `created`, `written`, `removed`, `renamed` and `mode` with the path. Before it
/// breaks off, `error` with a message.
#[utoipa::path(get, path = "/v1/sandboxes/{id}/files/watch", operation_id = "watch_files", tag = "work",
    params(
        ("id" = String, Path, description = "The sandbox"),
        ("path" = String, Query, min_length = 1, pattern = "^[^\\u0000]*$", description = "The directory"),
        ("user" = Option<String>, Query, description = "Who watches: a name or `UID[:GID]`; left out: whom the image names"),
        ("recursive" = Option<bool>, Query, description = "Also the directories in it"),
    ),
    responses(
        (status = 200, description = "The events", content_type = "text/event-stream", body = String),
        (status = 403, description = "`forbidden`", body = ErrorAnswer),
        (status = 404, description = "`not_found`: no such sandbox or directory", body = ErrorAnswer),
        (status = 429, description = "`limit_reached`", body = ErrorAnswer),
    ))]
pub(in crate::http) async fn watch(
    work: Data<Work>,
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = FilesQuery::of_watch(&request)?;
    let message = json!({"path": query.path, "recursive": query.recursive});
    let events = work.watch(&id, &message, query.user.as_deref()).await;
    let failed = |error: WorkError| ApiError::of_work(&error, &sandboxes.now());
    let events = sse::begun(events.map_err(failed)?).await.map_err(failed)?;
    let told = events.filter_map(|event| {
        std::future::ready(match event {
            Ok(event) => change(&event),
            Err(error) => Some(sse::error(&error)),
        })
    });
    Ok(sse::answer(&request, &sandboxes, StatusCode::OK, told))
}

fn change(event: &Value) -> Option<Bytes> {
    if event.get("start").is_some() {
        return Some(Bytes::from_static(b": watching\n\n"));
    }
    let kind = match event["filesystem"]["type"].as_str()? {
        "EVENT_TYPE_CREATE" => "created",
        "EVENT_TYPE_WRITE" => "written",
        "EVENT_TYPE_REMOVE" => "removed",
        "EVENT_TYPE_RENAME" => "renamed",
        "EVENT_TYPE_CHMOD" => "mode",
        _ => return None,
    };
    Some(sse::event(None, kind, &json!({"path": event["filesystem"]["name"]})))
}
