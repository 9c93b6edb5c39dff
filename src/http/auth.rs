//! Access: the API key, and the rules that keep browsers from sending requests for other sites ([design:
//! access](crate::design::security::access)).

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
use crate::config::{Secret, WebOrigin, Written};

/// Paths that need no key besides the pages, for load balancers. Every other path needs one, even if it does not exist.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

const STREAM: &str = "/v1/events";

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a path is answered without a key.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || page::is_page(path)
}

/// The parts of a request that the rules examine.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// The path as it was sent. The router decodes paths, so a path that only decodes to an open one needs a key. Otherwise
    /// an encoding could bypass the key.
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Checks whether a request is allowed. `origins` are the origins under which proxies serve Sandglass.
    ///
    /// # Errors
    /// The answer to a refused request.
    pub(super) fn must_be_allowed(self, key: Option<&Secret>, origins: &[WebOrigin]) -> Result<(), ApiError> {
        match key {
            // Without a key, only the name of the host tells our pages from a site whose name was made to point here (DNS
            // rebinding), which a browser takes for the same site.
            None => self.must_be_addressed_to_us(origins)?,
            Some(key) if self.is_open() || self.has(key) => {}
            Some(_) => {
                let ways = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'";
                return Err(ApiError::new(Code::Unauthorized, format!("the API key is missing or wrong; {ways}")));
            }
        }
        if self.can_change_something() { self.must_not_be_cross_origin(origins) } else { Ok(()) }
    }

    fn is_open(self) -> bool {
        is_open(self.path)
    }

    fn has(self, key: &Secret) -> bool {
        presents(self.headers, key) || self.offers(key)
    }

    /// Whether an offered subprotocol carries the key, which is how browsers send it with a websocket.
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

    /// Whether a request can change something. A stream cannot, but it takes one of the limited places.
    fn can_change_something(self) -> bool {
        !matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || self.headers.contains_key(header::UPGRADE)
            || self.path == STREAM
    }

    /// Browsers send the origin of a request. Other clients don't, and other sites cannot make them send requests.
    ///
    /// # Errors
    /// The answer to a refused request.
    pub(super) fn must_not_be_cross_origin(self, origins: &[WebOrigin]) -> Result<(), ApiError> {
        let site = self.headers.get(SEC_FETCH_SITE).map(|value| value.as_bytes());
        let foreign_site = matches!(site, Some(site) if site != b"same-origin" && site != b"none");
        let mut named = self.headers.get_all(header::ORIGIN);
        let foreign_origin = named.any(|origin| !self.is_our_origin(origin.as_bytes(), origins));
        if foreign_site || foreign_origin {
            let message = "requests on behalf of other sites are refused; the name of a proxy in front has to be among \
                           http.allowed_origins";
            return Err(ApiError::new(Code::CrossOrigin, message));
        }
        Ok(())
    }

    /// Whether an origin, which is a scheme, a host and a port, is that of this request: its host and port are those that
    /// the request was sent to, unless a proxy changed them.
    fn is_our_origin(self, origin: &[u8], origins: &[WebOrigin]) -> bool {
        let Some(origin) = Written::parse(origin) else { return false };
        let host = self.headers.get(header::HOST);
        host.is_some_and(|host| origin.is_at(host.as_bytes())) || origins.iter().any(|allowed| allowed.is(origin))
    }

    /// Checks that no other site's name was made to point here.
    ///
    /// # Errors
    /// The answer to a refused request.
    pub(super) fn must_be_addressed_to_us(self, origins: &[WebOrigin]) -> Result<(), ApiError> {
        let Some(host) = self.headers.get(header::HOST) else { return Ok(()) };
        let is_configured = || origins.iter().any(|origin| origin.is_at(host.as_bytes()));
        if host.to_str().is_ok_and(is_numeric_or_localhost) || is_configured() {
            return Ok(());
        }
        let rule = "without an API key, only requests to an IP address or to localhost are answered";
        let rest = "not those to another host name, unless http.allowed_origins has it";
        Err(ApiError::new(Code::CrossOrigin, format!("{rule}, {rest}")))
    }
}

/// Whether a header carries the key.
pub(super) fn presents(headers: &HeaderMap, key: &Secret) -> bool {
    bears(headers, key) || headers.get(API_KEY).is_some_and(|plain| key.matches(plain.as_bytes()))
}

/// Whether the key is the bearer's token.
pub(super) fn bears(headers: &HeaderMap, key: &Secret) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    bearer.is_some_and(|candidate| key.matches(candidate))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Whether `host` (with or without a port) is an address or a local name, so that no name server decides where it leads.
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
        let origins = ["https://sand.example.com".parse().unwrap()];
        let asked = Asked { method, path: "/v1/sandboxes", headers: &headers };
        asked.must_be_allowed(key.as_ref(), &origins).err().map(|error| error.code())
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
    fn a_page_under_a_configured_name_is_one_of_ours_also_where_the_proxy_says_the_port() {
        let inside = (header::HOST, "127.0.0.1:8080");
        for (host, origin, refused) in [
            (inside.clone(), "https://sand.example.com", false),
            (inside.clone(), "https://sand.example.com:443", false),
            (inside.clone(), "http://sand.example.com", true),
            (inside, "https://other.example.com", true),
            ((header::HOST, "sand.example.com"), "https://sand.example.com", false),
            ((header::HOST, "sand.example.com:443"), "https://sand.example.com", false),
            // Not configured, but the same host.
            ((header::HOST, "127.0.0.1:443"), "https://127.0.0.1", false),
            ((header::HOST, "127.0.0.1:80"), "http://127.0.0.1", false),
            ((header::HOST, "127.0.0.1:80"), "https://127.0.0.1", true),
            ((header::HOST, "127.0.0.1:443"), "http://127.0.0.1", true),
        ] {
            let code = verdict(&Method::POST, &[host.clone(), (header::ORIGIN, origin)], None);
            assert_eq!(code, refused.then_some(Code::CrossOrigin), "{origin} at {host:?}");
        }
    }

    #[test]
    fn a_configured_name_leads_here_also_without_a_key() {
        for (host, refused) in
            [("sand.example.com", false), ("sand.example.com:443", false), ("sand.example.com:8080", true), ("x", true)]
        {
            let code = verdict(&Method::GET, &[(header::HOST, host)], None);
            assert_eq!(code, refused.then_some(Code::CrossOrigin), "{host}");
        }
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
