//! Who may ask: the API key, and the rules that keep browsers from asking on behalf of other sites (design, 9).

use std::net::IpAddr;

use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};

use super::{
    error::{ApiError, Code},
    page,
    stream::KEY_PROTOCOL,
};
use crate::config::Secret;

/// What anybody may ask for, beside the pages: a load balancer has no key. Everything else is closed, also what does not
/// exist.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the rules look at.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// As it was sent. The router decodes paths before it looks them up, so one that merely decodes to an open path
    /// needs a key; the other way round would be a hole.
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Whether the request may be looked at.
    ///
    /// # Errors
    /// The answer that it gets instead.
    pub(super) fn must_be_allowed(self, key: Option<&Secret>) -> Result<(), ApiError> {
        match key {
            // Without a key the name of the host is all that tells a page of ours from one whose name was made to point
            // here (DNS rebinding): a browser then takes the two for the same site.
            None => self.must_be_addressed_to_us()?,
            Some(key) if self.is_open() || self.has(key) => {}
            Some(_) => {
                let ways = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'";
                return Err(ApiError::new(Code::Unauthorized, format!("the API key is missing or wrong; {ways}")));
            }
        }
        if self.can_change_something() { self.must_not_be_cross_origin() } else { Ok(()) }
    }

    fn is_open(self) -> bool {
        OPEN.contains(&self.path) || page::is_page(self.path)
    }

    fn has(self, key: &Secret) -> bool {
        let bearer = self.headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let plain = self.headers.get(API_KEY).map(|value| value.as_bytes());
        [bearer, plain].into_iter().flatten().any(|candidate| key.matches(candidate)) || self.offers(key)
    }

    /// Whether a subprotocol that is offered carries the key: a browser has no other way.
    fn offers(self, key: &Secret) -> bool {
        if !self.headers.contains_key(header::UPGRADE) {
            return false;
        }
        let offered = self.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
        let mut keys = offered
            .flat_map(|value| value.split(','))
            .filter_map(|word| URL_SAFE_NO_PAD.decode(word.trim().strip_prefix(KEY_PROTOCOL)?).ok());
        keys.any(|candidate| key.matches(&candidate))
    }

    /// An upgrade opens a channel through which things can be changed.
    fn can_change_something(self) -> bool {
        !matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || self.headers.contains_key(header::UPGRADE)
    }

    /// Browsers say where a request comes from; other clients don't, and are not misled by other sites either.
    fn must_not_be_cross_origin(self) -> Result<(), ApiError> {
        let site = self.headers.get(SEC_FETCH_SITE).map(|value| value.as_bytes());
        let foreign_site = matches!(site, Some(site) if site != b"same-origin" && site != b"none");
        let foreign_origin = self.headers.get_all(header::ORIGIN).any(|origin| !self.is_our_origin(origin.as_bytes()));
        if foreign_site || foreign_origin {
            return Err(ApiError::new(Code::CrossOrigin, "requests on behalf of other sites are refused"));
        }
        Ok(())
    }

    /// An origin is a scheme, a host and a port; the last two are what the request was addressed to.
    fn is_our_origin(self, origin: &[u8]) -> bool {
        let Some(host) = self.headers.get(header::HOST) else { return false };
        let address = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        address.is_some_and(|address| address.eq_ignore_ascii_case(host.as_bytes()))
    }

    fn must_be_addressed_to_us(self) -> Result<(), ApiError> {
        let Some(host) = self.headers.get(header::HOST) else { return Ok(()) };
        if host.to_str().is_ok_and(is_numeric_or_localhost) {
            return Ok(());
        }
        let rule = "without an API key, only requests to an IP address or to localhost are answered";
        Err(ApiError::new(Code::CrossOrigin, format!("{rule}, not those to another host name")))
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Whether nobody's name server decides where `host` (with or without a port) leads.
fn is_numeric_or_localhost(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split_once(']').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_localhost = name.eq_ignore_ascii_case("localhost")
        || name
            .len()
            .checked_sub(".localhost".len())
            .is_some_and(|at| name.get(at..).is_some_and(|suffix| suffix.eq_ignore_ascii_case(".localhost")));
    is_localhost || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn verdict(method: &Method, pairs: &[(HeaderName, &str)], key: Option<&str>) -> Option<Code> {
        let (headers, key) = (headers(pairs), key.map(Secret::new));
        let asked = Asked { method, path: "/v1/sandboxes", headers: &headers };
        asked.must_be_allowed(key.as_ref()).err().map(|error| error.code())
    }

    #[test]
    fn a_browser_changes_things_only_for_our_own_pages() {
        let ours = (header::HOST, "127.0.0.1:8080");
        for (method, name, value, refused) in [
            (Method::POST, header::ORIGIN, "http://127.0.0.1:8080", false),
            (Method::POST, header::ORIGIN, "http://127.0.0.1:9090", true),
            (Method::POST, header::ORIGIN, "http://evil.example", true),
            (Method::DELETE, header::ORIGIN, "null", true),
            (Method::GET, header::ORIGIN, "http://evil.example", false),
            (Method::POST, SEC_FETCH_SITE, "cross-site", true),
            (Method::POST, SEC_FETCH_SITE, "same-site", true),
            (Method::POST, SEC_FETCH_SITE, "same-origin", false),
            (Method::POST, SEC_FETCH_SITE, "none", false),
            (Method::GET, SEC_FETCH_SITE, "cross-site", false),
        ] {
            let code = verdict(&method, &[ours.clone(), (name, value)], None);
            assert_eq!(code, refused.then_some(Code::CrossOrigin), "{method} {value}");
        }
        let upgrade = [ours, (header::UPGRADE, "websocket"), (header::ORIGIN, "http://evil.example")];
        assert_eq!(verdict(&Method::GET, &upgrade, None), Some(Code::CrossOrigin));
    }

    #[test]
    fn without_a_key_no_name_that_a_stranger_controls_leads_here() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "localhost:1", "LOCALHOST", "a.localhost"] {
            assert_eq!(verdict(&Method::GET, &[(header::HOST, host)], None), None, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[x]"]
        {
            let code = verdict(&Method::GET, &[(header::HOST, host)], None);
            assert_eq!(code, Some(Code::CrossOrigin), "{host}");
            let with_key = [(header::HOST, host), (API_KEY, "k")];
            assert_eq!(verdict(&Method::GET, &with_key, Some("k")), None, "{host}");
        }
    }

    #[test]
    fn the_key_is_taken_from_either_header_and_has_to_be_the_key() {
        for (name, value) in [
            (header::AUTHORIZATION, "Bearer open-sesame"),
            (header::AUTHORIZATION, "bearer  open-sesame"),
            (API_KEY, "open-sesame"),
        ] {
            assert_eq!(verdict(&Method::GET, &[(name, value)], Some("open-sesame")), None, "{value}");
        }
        for (name, value) in [
            (header::AUTHORIZATION, "Basic open-sesame"),
            (header::AUTHORIZATION, "open-sesame"),
            (header::AUTHORIZATION, "Bearer open-sesam"),
            (header::AUTHORIZATION, "Bearer"),
            (API_KEY, ""),
            (API_KEY, "open-sesame2"),
        ] {
            let code = verdict(&Method::GET, &[(name, value)], Some("open-sesame"));
            assert_eq!(code, Some(Code::Unauthorized), "{value}");
        }
    }
}
