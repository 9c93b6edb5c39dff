//! `/files` and `/files/archive`: who asks for what, and what the answer says.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /files?path` | sends a file; `Range`, gzip |
//! | `POST /files?path` | writes a file in place, or the files of a form; answers `[{"path","name","type"}]` |
//! | `PUT /files?path` | replaces a file atomically; `mode` (octal), `owner` and `group` (names or numbers), `mtime` (seconds since the epoch); the same answer |
//! | `GET /files/archive?path` | packs a file or directory; `name` is what it is called in the archive, `.` for its content alone |
//! | `PUT /files/archive?path` | unpacks below a directory; `owners=keep` (root's default) or `user`; answers `{"entries": N}` |
//!
//! `username` names the user, or else `Authorization: Basic`. Paths are absolute or start at the user's home. Errors are
//! `{"code": STATUS, "message"}`: 400 for what cannot be done with that path or body, 401 unknown user, 403 not allowed, 404 no
//! such file, 416 a range outside, 429 too many transfers, 507 disk full. An error while a body is sent breaks it off.

use std::path::PathBuf;

use hyper::{
    HeaderMap, Method,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName,
        HeaderValue, LAST_MODIFIED, RANGE, VARY,
    },
};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Files, TRANSFERS_AT_ONCE,
    failure::Failure,
    multipart,
    pack::Packing,
    paths,
    query::{Attributes, Query},
    read::{Opened, Part},
    times, transfer, tree,
    unpack::{self, Owners},
    write::{self, Metadata},
};
use crate::{
    body::{self, Request, Response},
    connect::basic_user,
    users::User,
};

/// The prefix of headers whose values E2B's clients attach to a file.
const METADATA_HEADER: &str = "x-metadata-";

/// Answers a request for `/files` or a path below it.
pub(super) async fn answer(files: &Files, request: Request) -> Response {
    let answered = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/files") => get(files, request).await,
        (&Method::POST, "/files") => post(files, request).await,
        (&Method::PUT, "/files") => put(files, request).await,
        (&Method::GET, "/files/archive") => get_archive(files, request).await,
        (&Method::PUT, "/files/archive") => put_archive(files, request).await,
        (_, "/files/archive") => {
            Err(Failure { status: 405, message: String::from("/files/archive answers GET and PUT") })
        }
        (_, "/files") => Err(Failure { status: 405, message: String::from("/files answers GET, HEAD, POST and PUT") }),
        (_, path) => Err(Failure { status: 404, message: format!("there is nothing at {path}") }),
    };
    answered.unwrap_or_else(|failure| failure.response())
}

/// Who asks, for what, and whether its turn has come.
struct Asked {
    user: User,
    query: Query,
    permit: OwnedSemaphorePermit,
}

impl Asked {
    fn read(files: &Files, request: &Request) -> Result<Self, Failure> {
        let query = Query::parse(request.uri().query());
        let user = match query.get("username") {
            Some(name) => name.to_owned(),
            None => basic_user(request.headers())?,
        };
        let user = User::find(&user)?;
        let permit = files.transfers.clone().try_acquire_owned().map_err(|_| Failure {
            status: 429,
            message: format!("{TRANSFERS_AT_ONCE} transfers are under way, which is the most at once; try again later"),
        })?;
        Ok(Self { user, query, permit })
    }

    /// The path, which has to be given.
    fn path(&self) -> Result<PathBuf, Failure> {
        let path = self.query.get("path").ok_or_else(|| Failure::bad("path: is missing from the query"))?;
        Ok(paths::resolve(path, &self.user)?)
    }
}

async fn get(files: &Files, request: Request) -> Result<Response, Failure> {
    let asked = Asked::read(files, &request)?;
    let path = asked.path()?;
    let header =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (range, is_head) = (header(RANGE), request.method() == Method::HEAD);
    let gzip = range.is_none() && accepts_gzip(request.headers());
    let ((size, modified, part), body) = transfer::send(&asked.user, asked.permit, move |download| {
        let opened = Opened::open(&path)?;
        let part = opened.size.map_or(Part::Whole, |size| Part::of(range.as_deref(), size));
        let head = (opened.size, opened.modified, part);
        match part {
            _ if is_head => download.begin(head, false, |_| Ok(())),
            Part::Outside => download.begin(head, false, |_| Ok(())),
            _ => download.begin(head, gzip, |output| opened.copy_to(part, output)),
        }
        Ok(())
    })
    .await?;
    if part == Part::Outside {
        let size = size.unwrap_or_default();
        let mut response = Failure { status: 416, message: format!("the file has {size} bytes") }.response();
        set(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
        return Ok(response);
    }
    let mut response = body::answer(if part == Part::Whole { 200 } else { 206 }, body);
    set(&mut response, CONTENT_TYPE, "application/octet-stream");
    set(&mut response, VARY, ACCEPT_ENCODING.as_str());
    set(&mut response, LAST_MODIFIED, &times::http(modified));
    match (part, size) {
        (Part::Bytes { first, last }, Some(size)) => {
            set(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            set(&mut response, CONTENT_LENGTH, &(last - first + 1).to_string());
        }
        _ if gzip => set(&mut response, CONTENT_ENCODING, "gzip"),
        (_, Some(size)) => {
            set(&mut response, ACCEPT_RANGES, "bytes");
            set(&mut response, CONTENT_LENGTH, &size.to_string());
        }
        (_, None) => {}
    }
    Ok(response)
}

/// Writes files in place, as E2B's `envd` does.
async fn post(files: &Files, request: Request) -> Result<Response, Failure> {
    let asked = Asked::read(files, &request)?;
    let gzip = is_gzip(request.headers())?;
    let metadata = metadata(request.headers())?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let user = asked.user.clone();
    let written = if media_type == "application/octet-stream" {
        let path = asked.path()?;
        transfer::receive(&asked.user, asked.permit, request.into_body(), gzip, move |body| {
            write::in_place(&path, &metadata, |file| body.copy_to(file, &path))?;
            Ok(vec![tree::written(&path, &metadata)])
        })
        .await?
    } else if media_type.starts_with("multipart/") {
        let boundary = multer::parse_boundary(content_type);
        let boundary = boundary.map_err(|error| Failure::bad(format!("the header content-type: {error}")))?;
        let path = asked.query.get("path").map(|_| asked.path()).transpose()?;
        transfer::receive(&asked.user, asked.permit, request.into_body(), gzip, move |body| {
            let written = multipart::receive(body, &boundary, path.as_deref(), &user, &metadata)?;
            Ok(written.iter().map(|path| tree::written(path, &metadata)).collect())
        })
        .await?
    } else {
        let message = "the header content-type must be multipart/form-data or application/octet-stream";
        return Err(Failure::bad(message));
    };
    Ok(body::json(200, &Value::Array(written)))
}

/// Writes a file atomically, with mode, owner and time.
async fn put(files: &Files, request: Request) -> Result<Response, Failure> {
    let asked = Asked::read(files, &request)?;
    let path = asked.path()?;
    let gzip = is_gzip(request.headers())?;
    let metadata = metadata(request.headers())?;
    let attributes = Attributes::of(&asked.query)?;
    let written = transfer::receive(&asked.user, asked.permit, request.into_body(), gzip, move |body| {
        write::atomically(&path, body, &attributes, &metadata)?;
        Ok(tree::written(&path, &metadata))
    })
    .await?;
    Ok(body::json(200, &Value::Array(vec![written])))
}

/// Packs a file or a directory. `name` is what it is called in the archive.
async fn get_archive(files: &Files, request: Request) -> Result<Response, Failure> {
    let asked = Asked::read(files, &request)?;
    let path = asked.path()?;
    let gzip = accepts_gzip(request.headers());
    let name = asked.query.get("name").map(str::to_owned);
    let ((), body) = transfer::send(&asked.user, asked.permit, move |download| {
        let packing = Packing::prepare(&path, name.as_deref())?;
        download.begin((), gzip, |output| packing.write(output));
        Ok(())
    })
    .await?;
    let mut response = body::answer(200, body);
    set(&mut response, CONTENT_TYPE, "application/x-tar");
    set(&mut response, VARY, ACCEPT_ENCODING.as_str());
    if gzip {
        set(&mut response, CONTENT_ENCODING, "gzip");
    }
    Ok(response)
}

/// Unpacks an archive below a directory. `owners` is `keep`, root's default, or `user`, everybody else's.
async fn put_archive(files: &Files, request: Request) -> Result<Response, Failure> {
    let asked = Asked::read(files, &request)?;
    let path = asked.path()?;
    let gzip = is_gzip(request.headers())?;
    let owners = match asked.query.get("owners") {
        Some("keep") => Owners::Kept,
        Some("user") => Owners::Mine,
        Some(_) => return Err(Failure::bad("owners: must be keep or user")),
        None if asked.user.uid.is_root() => Owners::Kept,
        None => Owners::Mine,
    };
    let entries = transfer::receive(&asked.user, asked.permit, request.into_body(), gzip, move |body| {
        unpack::unpack(body, &path, owners)
    })
    .await?;
    Ok(body::json(200, &serde_json::json!({ "entries": entries })))
}

/// Whether the client reads gzip, as far as it says so by name.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| {
                part.strip_prefix("q=")
                    .and_then(|quality| quality.parse::<f32>().ok())
                    .is_some_and(|quality| quality <= 0.0)
            });
            named && !refused
        })
}

/// Whether the body of a request is compressed.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(Failure::bad("the header content-encoding must be gzip or identity")),
    }
}

/// What E2B's clients attach to the files of a request.
fn metadata(headers: &HeaderMap) -> Result<Metadata, Failure> {
    let tags = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(METADATA_HEADER)?, value)));
    tags.map(|(key, value)| match value.to_str() {
        Ok(value) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::bad(format!("the header {METADATA_HEADER}{key} must have a key and printable ASCII"))),
    })
    .collect()
}

/// Sets a header to a text that fits one.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_clients_that_name_it() {
        for (header, accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("*", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, header.parse().unwrap());
            assert_eq!(accepts_gzip(&headers), accepted, "{header:?}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
