//! What is passed on of a request.

use actix_web::{dev::RequestHead, http::header::HeaderMap};
use hyper::header::{self, HeaderName, HeaderValue};

use crate::{config::Secret, http::auth};

/// Headers that are for Sandglass.
const OURS: [&str; 2] = ["x-access-token", "x-api-key"];
const PREFIX: &str = "e2b-";

/// The headers that the inside gets: none that opens a sandbox. `key` is the API key.
pub(super) fn headers(of: &HeaderMap, key: Option<&Secret>) -> hyper::HeaderMap {
    let mut headers = hyper::HeaderMap::with_capacity(of.len());
    let names_key = key.is_some_and(|key| auth::bears(of, key));
    for (name, value) in of {
        let name = name.as_str();
        if OURS.contains(&name) || name.starts_with(PREFIX) || (names_key && name == "authorization") {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// The host that a program at a port sees: the one of the request, unless the sandbox names another.
pub(super) fn mask_host(headers: &mut hyper::HeaderMap, mask: Option<&str>, port: u16) {
    let masked = mask.map(|mask| mask.replace("${PORT}", &port.to_string()));
    if let Some(host) = masked.and_then(|host| HeaderValue::from_str(&host).ok()) {
        headers.insert(header::HOST, host);
    }
}

/// The path and query as they were sent.
pub(super) fn path(head: &RequestHead) -> String {
    head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn no_key_or_token_gets_inside() {
        let request = TestRequest::get()
            .insert_header(("X-Access-Token", "t"))
            .insert_header(("X-API-Key", "k"))
            .insert_header(("E2b-Sandbox-Id", "i"))
            .insert_header(("e2b-traffic-access-token", "t"))
            .insert_header(("Authorization", "Bearer k"))
            .append_header(("Cookie", "a=1"))
            .append_header(("Cookie", "b=2"))
            .to_srv_request();
        let passed = |key: &str| headers(request.headers(), Some(&Secret::new(key)));
        assert_eq!(passed("k").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cookie", "cookie"]);
        assert_eq!(passed("other")["authorization"], "Bearer k");
    }

    #[test]
    fn a_masked_host_has_the_port() {
        let mut headers = hyper::HeaderMap::new();
        mask_host(&mut headers, None, 80);
        assert!(headers.is_empty());
        mask_host(&mut headers, Some("localhost:${PORT}"), 80);
        assert_eq!(headers["host"], "localhost:80");
    }
}
