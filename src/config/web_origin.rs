//! Origins of web pages.

use std::{fmt, str::FromStr};

const RULE: &str = "must be http:// or https://, a host, and its port unless that is the scheme's own; no path; such as \
                    \"https://sand.example.com\"";

/// A scheme, a host and a port, as browsers identify the site of a page (RFC 6454). Comparisons ignore case, and the
/// scheme's default port may be left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct WebOrigin {
    scheme: Scheme,
    /// The host in lower case, and the port unless it is the scheme's default.
    authority: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// An origin in a header.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    scheme: Scheme,
    authority: &'a [u8],
}

impl<'a> Written<'a> {
    /// Parses `text`; `None` if it is not an origin of HTTP, such as `null`.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let of = |scheme: Scheme| Some(Self { scheme, authority: text.strip_prefix(scheme.prefix().as_bytes())? });
        of(Scheme::Http).or_else(|| of(Scheme::Https))
    }

    /// Whether a request with this `Host` was addressed to this origin.
    pub fn is_at(self, host: &[u8]) -> bool {
        let port = self.scheme.port();
        without(self.authority, port).eq_ignore_ascii_case(without(host, port))
    }
}

impl Scheme {
    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }

    /// The default port, as it follows a host.
    fn port(self) -> &'static [u8] {
        match self {
            Self::Http => b":80",
            Self::Https => b":443",
        }
    }
}

impl WebOrigin {
    /// Whether `written` is this origin.
    pub fn is(&self, written: Written<'_>) -> bool {
        self.scheme == written.scheme && written.is_at(self.authority.as_bytes())
    }

    /// Whether a request with this `Host` was addressed to this origin.
    pub fn is_at(&self, host: &[u8]) -> bool {
        Written { scheme: self.scheme, authority: self.authority.as_bytes() }.is_at(host)
    }
}

impl TryFrom<String> for WebOrigin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for WebOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase();
        let Written { scheme, authority } = Written::parse(text.as_bytes()).ok_or(RULE)?;
        let authority = std::str::from_utf8(without(authority, scheme.port())).map_err(|_| RULE)?;
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = address.map_or_else(|| is_name(host), |address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let is_port = port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0));
        if is_host && is_port { Ok(Self { scheme, authority: authority.into() }) } else { Err(RULE) }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.scheme.prefix(), self.authority)
    }
}

fn without<'a>(authority: &'a [u8], port: &[u8]) -> &'a [u8] {
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(allowed: &str, written: &str) -> bool {
        let allowed: WebOrigin = allowed.parse().unwrap();
        Written::parse(written.as_bytes()).is_some_and(|written| allowed.is(written))
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out_and_no_other() {
        assert!(is("https://sand.example.com", "https://sand.example.com"));
        assert!(is("https://sand.example.com:443", "https://SAND.example.com"));
        assert!(is("http://sand.example.com", "http://sand.example.com:80"));
        assert!(is("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"));
        for written in [
            "http://sand.example.com",
            "https://sand.example.com:80",
            "https://sand.example.com:8443",
            "https://evil.example",
            "https://sand.example.com.evil.example",
            "null",
            "",
        ] {
            assert!(!is("https://sand.example.com", written), "{written}");
        }
    }

    #[test]
    fn a_request_is_addressed_to_an_origin_with_or_without_the_port_of_the_scheme() {
        let origin: WebOrigin = "https://sand.example.com".parse().unwrap();
        for host in ["sand.example.com", "sand.example.com:443", "Sand.Example.com"] {
            assert!(origin.is_at(host.as_bytes()), "{host}");
        }
        for host in ["sand.example.com:80", "example.com", "", "xsand.example.com"] {
            assert!(!origin.is_at(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in [
            "sand.example.com",
            "ws://sand.example.com",
            "https://",
            "https://sand.example.com/",
            "https://sand.example.com/sand",
            "https://user@sand.example.com",
            "https://sand.example.com:0",
            "https://sand.example.com:x",
            "https://sand.example.com:99999",
            "https://*.example.com",
            "https://2001:db8::1",
            "https://[x]",
            "*",
            "",
        ] {
            assert!(wrong.parse::<WebOrigin>().is_err(), "{wrong}");
        }
    }
}
