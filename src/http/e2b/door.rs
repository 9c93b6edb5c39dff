//! Is a request meant for the inside of a sandbox, and of which one? It says so by two headers, or by its host, or it is for a
//! file whose URL is signed.

use actix_web::{
    dev::RequestHead,
    http::header::{self, HeaderMap, HeaderName},
};

const ID: HeaderName = HeaderName::from_static("e2b-sandbox-id");
const PORT: HeaderName = HeaderName::from_static("e2b-sandbox-port");

/// The port of the agent, which no program inside listens on.
pub(super) const AGENT: u16 = 49983;

/// The path of files.
pub(super) const FILES: &str = "/files";

/// Tells requests for the inside of sandboxes from all others.
pub(in crate::http) struct Door {
    /// The domain below which each port of each sandbox has a name, without a port.
    domain: Option<Box<str>>,
}

/// Where a request wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Place {
    /// To a port of a sandbox.
    Port(Named),
    /// To the files of the sandbox that has signed this URL.
    Signed,
    /// Nobody can tell, and this is why.
    Nowhere(&'static str),
}

/// A sandbox, and one of its ports.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Named {
    /// What is given as the id.
    pub(super) sandbox: String,
    /// The port.
    pub(super) port: u16,
    /// Whether the host of the request says so; otherwise its headers do.
    pub(super) by_host: bool,
}

impl Door {
    /// The door for a domain, which may have a port.
    pub(in crate::http) fn new(domain: Option<&str>) -> Self {
        Self { domain: domain.map(|domain| without_port(domain).into()) }
    }

    /// Where a request wants to go; `None`: not inside.
    ///
    /// Every ping asks, so this looks at few things.
    pub(in crate::http) fn place(&self, head: &RequestHead) -> Option<Place> {
        if let Some(domain) = &self.domain
            && let Some(host) = head.headers.get(header::HOST)
            && let Some(place) = host.to_str().ok().and_then(|host| below(domain, host))
        {
            return Some(place);
        }
        if let Some(sandbox) = text(&head.headers, &ID) {
            let port = text(&head.headers, &PORT);
            return Some(match port.map(|port| port.parse()) {
                Some(Ok(AGENT)) if is_about_sandboxes(head.uri.path()) => return None,
                Some(Ok(port @ 1..)) => Place::Port(Named { sandbox: sandbox.to_owned(), port, by_host: false }),
                Some(_) => Place::Nowhere("E2b-Sandbox-Port must be a port: 1 to 65535"),
                None => Place::Nowhere("E2b-Sandbox-Port is missing: it belongs to E2b-Sandbox-Id"),
            });
        }
        if head.headers.contains_key(PORT) {
            return Some(Place::Nowhere("E2b-Sandbox-Id is missing: it belongs to E2b-Sandbox-Port"));
        }
        let is_signed = head.uri.path() == FILES && head.uri.query().is_some_and(|query| query.contains("signature="));
        is_signed.then_some(Place::Signed)
    }
}

/// Whether a path is one about sandboxes, such as `/sandboxes/{id}/connect`. The SDKs of 2.20 and around send some of these
/// calls with the headers that lead to the agent, which has no such paths.
fn is_about_sandboxes(path: &str) -> bool {
    path.strip_prefix("/v2").unwrap_or(path).starts_with("/sandboxes/")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // What is no text is no id either, and is refused as one.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// The place that `PORT-ID.DOMAIN` names.
fn below(domain: &str, host: &str) -> Option<Place> {
    let host = without_port(host);
    let (label, rest) = host.split_at_checked(host.len().checked_sub(domain.len())?)?;
    let label = label.strip_suffix('.').filter(|_| rest.eq_ignore_ascii_case(domain))?;
    let (port, sandbox) = label.split_once('-')?;
    Some(match port.parse() {
        Ok(port @ 1..) => Place::Port(Named { sandbox: sandbox.to_owned(), port, by_host: true }),
        _ => Place::Nowhere("the host must begin with a port, 1 to 65535: PORT-ID"),
    })
}

/// Whether two hosts are the same, whatever their ports.
pub(super) fn same_host(one: &str, other: &str) -> bool {
    without_port(one).eq_ignore_ascii_case(without_port(other))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn place(domain: Option<&str>, uri: &str, headers: &[(&str, &str)]) -> Option<Place> {
        let request =
            headers.iter().fold(TestRequest::get().uri(uri), |request, header| request.append_header(*header));
        Door::new(domain).place(request.to_srv_request().head())
    }

    fn port(sandbox: &str, port: u16, by_host: bool) -> Option<Place> {
        Some(Place::Port(Named { sandbox: sandbox.to_owned(), port, by_host }))
    }

    #[test]
    fn two_headers_or_a_host_lead_inside() {
        let both = [("E2b-Sandbox-Id", "i1"), ("E2b-Sandbox-Port", "8000")];
        assert_eq!(place(None, "/v1/sandboxes", &both), port("i1", 8000, false));
        for host in ["8001-i2.example.com", "8001-i2.EXAMPLE.com:8080"] {
            assert_eq!(place(Some("example.com:8080"), "/", &[("Host", host)]), port("i2", 8001, true));
            // Where both say something, the host was chosen on purpose.
            let all = [both[0], both[1], ("Host", host)];
            assert_eq!(place(Some("example.com"), "/", &all), port("i2", 8001, true));
            assert_eq!(place(None, "/", &all), port("i1", 8000, false));
        }
        assert_eq!(place(Some("example.com"), "/", &[("Host", "80-a-b.example.com")]), port("a-b", 80, true));
    }

    #[test]
    fn what_names_half_a_place_leads_nowhere() {
        for headers in [
            &[("E2b-Sandbox-Id", "i1")][..],
            &[("E2b-Sandbox-Port", "80")],
            &[("E2b-Sandbox-Id", "i1"), ("E2b-Sandbox-Port", "http")],
            &[("E2b-Sandbox-Id", "i1"), ("E2b-Sandbox-Port", "0")],
            &[("E2b-Sandbox-Id", "i1"), ("E2b-Sandbox-Port", "65536")],
            &[("Host", "http-i1.example.com")],
        ] {
            assert!(matches!(place(Some("example.com"), "/", headers), Some(Place::Nowhere(_))), "{headers:?}");
        }
    }

    #[test]
    fn calls_about_sandboxes_are_not_for_the_agent() {
        let agent = [("E2b-Sandbox-Id", "i1"), ("E2b-Sandbox-Port", "49983")];
        for path in ["/sandboxes/i1/connect", "/v2/sandboxes/i1/connect"] {
            assert_eq!(place(None, path, &agent), None);
            assert_eq!(place(None, path, &[agent[0], ("E2b-Sandbox-Port", "80")]), port("i1", 80, false));
        }
        assert_eq!(place(None, "/files?path=/sandboxes/i1", &agent), port("i1", 49983, false));
    }

    #[test]
    fn everything_else_is_not_for_the_inside() {
        for host in ["example.com", "sandbox.example.com", "80-i1.example.org", "80-i1example.com", "[::1]:80", ""] {
            assert_eq!(place(Some("example.com"), "/files", &[("Host", host)]), None, "{host}");
        }
        assert_eq!(place(None, "/v1/sandboxes?signature=x", &[]), None);
    }

    #[test]
    fn a_signed_url_is_for_the_files_of_whoever_signed_it() {
        assert_eq!(place(None, "/files?path=a&signature=v1_x", &[]), Some(Place::Signed));
        assert_eq!(place(None, "/files?path=a", &[]), None);
    }
}
