//! Bodies of requests. The content type does not matter: JSON is accepted under any.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::PayloadError, http::header, web};
use futures_util::{
    StreamExt,
    future::{Either, LocalBoxFuture},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use tokio::time::timeout;

use super::error::{ApiError, Code};
use crate::{domain::ID_RULE, sandboxes::Sandboxes};

/// How long a client whose body is refused may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// A JSON object as a body; a missing body is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = read(request, payload.take());
        Box::pin(async move { parse(&read.await?).map(Self) })
    }
}

/// A body without content: none, or `{}`. Reading none costs nothing.
pub(super) struct NoBody;

impl FromRequest for NoBody {
    type Error = ApiError;
    type Future = Either<Ready<Result<Self, ApiError>>, LocalBoxFuture<'static, Result<Self, ApiError>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if matches!(payload, Payload::None) {
            return Either::Left(ready(Ok(Self)));
        }
        let read = read(request, payload.take());
        Either::Right(Box::pin(async move { parse::<Empty>(&read.await?).map(|Empty {}| Self) }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Empty {}

/// Reads a body up to the configured size.
fn read(request: &HttpRequest, mut payload: Payload) -> impl Future<Output = Result<web::BytesMut, ApiError>> + use<> {
    let sandboxes = request.app_data::<web::Data<Sandboxes>>();
    let most = sandboxes.map_or(0, |sandboxes| sandboxes.settings().http.max_body_bytes);
    let length = request.headers().get(header::CONTENT_LENGTH);
    let announced = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    async move {
        let too_large = || {
            let rule = format!("at most {most} bytes (http.max_body_bytes)");
            ApiError::new(Code::TooLarge, format!("the body is too large: {rule}"))
        };
        if announced.is_some_and(|announced| announced > most) {
            discard(payload).await;
            return Err(too_large());
        }
        let mut body = web::BytesMut::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| unreadable(&error))?;
            if body.len() + chunk.len() > most {
                discard(payload).await;
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Reads the rest of a body and drops it. Most clients read the answer only after they have sent everything; if their
/// connection was closed before that, they would never see it.
pub(super) async fn discard(mut payload: Payload) {
    let rest = async { while let Some(Ok(_)) = payload.next().await {} };
    let _ = timeout(LINGER, rest).await;
}

fn unreadable(error: &PayloadError) -> ApiError {
    ApiError::new(Code::InvalidRequest, format!("the body could not be read: {error}"))
}

#[derive(Serialize)]
struct Position<'a> {
    line: usize,
    column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

/// Parses a body as an object. The error names the wrong field.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = match body.trim_ascii() {
        [] => b"{}",
        // Derived readers would take an array for the fields in their order.
        [b'[', ..] => return Err(ApiError::new(Code::InvalidRequest, "the body is an array, not an object")),
        _ => body,
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    reader.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    if error.classify() != Category::Data {
        // The syntax error may be in a field: a string with a lone surrogate, or a number that overflows. A name that is
        // not Unicode has no path.
        let path = path.trim_end_matches('?').trim_end_matches('.');
        let field = (error.classify() == Category::Syntax && !path.is_empty()).then_some(path);
        let place = field.map_or_else(String::new, |field| format!(" at {field}"));
        let position = Position { line: error.line(), column: error.column(), field };
        return ApiError::new(Code::InvalidRequest, format!("the body is not valid JSON{place}: {text}"))
            .with(&position);
    }
    // The path of a value says more than its position.
    let rule = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    // Wrong ids have an error code of their own.
    if rule.ends_with(ID_RULE) {
        return ApiError::id(Some(path), rule);
    }
    let rule = &rule.replace("expected f64", "expected a number");
    let named = quoted(rule, "missing field `").or_else(|| quoted(rule, "duplicate field `"));
    let field = match named {
        Some(name) if path == "." => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    };
    match field.as_str() {
        "." => ApiError::new(Code::InvalidRequest, format!("the body: {rule}")),
        field => ApiError::field(field, rule),
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        #[serde(default)]
        inner: Option<Inner>,
        list: Vec<u16>,
        #[serde(default)]
        raw: Option<Box<serde_json::value::RawValue>>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        number: u8,
    }

    fn refused(body: &str) -> (String, Option<String>) {
        let error = parse::<Outer>(body.as_bytes()).unwrap_err();
        let json = serde_json::to_value(error.body()).unwrap();
        let field = json["details"]["field"].as_str().map(str::to_owned);
        (json["message"].as_str().unwrap().to_owned(), field)
    }

    #[test]
    fn an_error_names_the_field_by_its_path() {
        for (body, field) in [
            (r#"{"list": [1, "2"]}"#, Some("list[1]")),
            (r#"{"list": [], "inner": {"number": 300}}"#, Some("inner.number")),
            (r#"{"list": [], "inner": {}}"#, Some("inner.number")),
            (r#"{"list": [], "inner": {"number": 1, "more": 2}}"#, Some("inner.more")),
            (r#"{"list": [], "inner": 5}"#, Some("inner")),
            (r#"{"list": [], "lists": 2}"#, Some("lists")),
            (r#"{"list": [], "list": []}"#, Some("list")),
            (r#"{"list": [], "inner": {"number": 1, "number": 1}}"#, Some("inner.number")),
            ("{}", Some("list")),
            ("", Some("list")),
            ("7", None),
            ("[]", None),
            (r#"{"list": []} {}"#, None),
        ] {
            assert_eq!(refused(body).1.as_deref(), field, "{body}: {}", refused(body).0);
        }
    }

    #[test]
    fn what_is_not_json_is_told_where() {
        let (message, _) = refused("{\"list\": [1,\n 2");
        assert!(message.contains("line 2 column 2"), "{message}");
        let error = parse::<Outer>(b"{\"list\": nonsense}").unwrap_err();
        let json = serde_json::to_value(error.body()).unwrap();
        assert_eq!(json["details"]["line"], 1);
        assert!(json["details"]["column"].as_u64().unwrap() > 8);
    }
}
