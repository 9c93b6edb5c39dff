//! What the headers of a call say.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName},
};

use super::Error;

/// How often a quiet stream sends a keepalive event, unless the client asks for another pace. As in E2B's `envd`.
const KEEPALIVE: Duration = Duration::from_secs(90);

/// What the headers of a call say about the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The user's name from `Authorization: Basic`; empty for the user whom the agent runs as.
    pub(crate) user: String,
    /// `Connect-Timeout-Ms`: how long the client waits. `None` if for ever.
    pub(crate) timeout: Option<Duration>,
    /// `Keepalive-Ping-Interval`: after how long without an event a stream sends one.
    pub(crate) keepalive: Duration,
}

impl Context {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for a header that cannot be read.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let number = |name: &'static str| -> Result<Option<u64>, Error> {
            let Some(value) = headers.get(HeaderName::from_static(name)) else { return Ok(None) };
            let number = value.to_str().ok().and_then(|value| value.trim().parse().ok());
            number.map(Some).ok_or_else(|| Error::invalid(format!("the header {name} must be a whole number")))
        };
        // Zero means none, as in E2B.
        let timeout = number("connect-timeout-ms")?.filter(|timeout| *timeout > 0).map(Duration::from_millis);
        let keepalive = number("keepalive-ping-interval")?.filter(|pace| *pace > 0);
        let keepalive = keepalive.map_or(KEEPALIVE, Duration::from_secs);
        Ok(Self { user: basic_user(headers)?, timeout, keepalive })
    }
}

/// The user of `Authorization: Basic base64("user:")`. Any other authorization is for the proxy in front, and names nobody.
///
/// # Errors
///
/// `invalid_argument` if it cannot be decoded.
pub(crate) fn basic_user(headers: &HeaderMap) -> Result<String, Error> {
    let Some(given) = headers.get(AUTHORIZATION).and_then(|given| given.to_str().ok()) else {
        return Ok(String::new());
    };
    let Some((scheme, encoded)) = given.trim().split_once(' ') else { return Ok(String::new()) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(String::new());
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|decoded| String::from_utf8(decoded).ok());
    let decoded = decoded.ok_or_else(|| Error::invalid("the header authorization must be Basic base64(\"USER:\")"))?;
    // `UID:GID` has a colon of its own; the last one ends the name.
    Ok(decoded.rsplit_once(':').map_or(decoded.as_str(), |(user, _)| user).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(authorization: &str) -> Result<String, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        basic_user(&headers)
    }

    #[test]
    fn the_authorization_names_the_user() {
        assert_eq!(user("Basic dXNlcjo=").unwrap(), "user");
        assert_eq!(user(&format!("basic {}", BASE64_STANDARD.encode("1000:100:"))).unwrap(), "1000:100");
        assert_eq!(user("Bearer abc").unwrap(), "");
        assert_eq!(user("Basic ?").unwrap_err().code, super::super::Code::InvalidArgument);
        assert_eq!(basic_user(&HeaderMap::new()).unwrap(), "");
    }

    #[test]
    fn headers_that_are_no_numbers_are_refused_by_name() {
        let mut headers = HeaderMap::new();
        headers.insert("connect-timeout-ms", "0".parse().unwrap());
        let context = Context::of(&headers).unwrap();
        assert_eq!((context.timeout, context.keepalive), (None, KEEPALIVE));
        headers.insert("connect-timeout-ms", "1500".parse().unwrap());
        headers.insert("keepalive-ping-interval", "5".parse().unwrap());
        let context = Context::of(&headers).unwrap();
        assert_eq!((context.timeout, context.keepalive), (Some(Duration::from_millis(1500)), Duration::from_secs(5)));
        headers.insert("connect-timeout-ms", "soon".parse().unwrap());
        assert!(Context::of(&headers).unwrap_err().message.contains("connect-timeout-ms"));
    }
}
