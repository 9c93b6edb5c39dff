//! Query parameters. Those that a call does not know are ignored, since newer SDKs send more of them.

use std::{collections::BTreeMap, str::FromStr};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use percent_encoding::percent_decode_str;

use super::error::Refusal;
use crate::{domain::EpochSeconds, http::query::pairs};

/// The most that a page has.
const LONGEST_PAGE: usize = 100;
/// Where an answer says which `nextToken` brings the next page; it is missing from the last page.
const NEXT_TOKEN: HeaderName = HeaderName::from_static("x-next-token");

/// Cuts what is found to a page, and tells the token of the next one, which `token` makes of the last entry. `answer` makes
/// the answer.
pub(super) fn page<T>(
    mut found: Vec<T>,
    limit: usize,
    token: impl Fn(&T) -> String,
    answer: impl FnOnce(&[T]) -> HttpResponse,
) -> HttpResponse {
    let more = found.len() > limit;
    found.truncate(limit);
    let mut response = answer(&found);
    if let Some(last) = found.last().filter(|_| more)
        && let Ok(token) = HeaderValue::from_str(&token(last))
    {
        response.headers_mut().insert(NEXT_TOKEN, token);
    }
    response
}

/// The parameters of a request; of one that is repeated, the first counts.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let mut found = BTreeMap::new();
        for (name, value) in pairs(request)? {
            found.entry(name).or_insert(value);
        }
        Ok(Self(found))
    }

    /// A parameter that says something.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let number = self.text(name).map(|value| value.parse().map_err(|_| wrong(name, "a whole number", value)));
        number.transpose()
    }

    /// How long a page may be at most: `limit`, which is also the most by default.
    pub(super) fn page(&self) -> Result<usize, Refusal> {
        let limit = self.number("limit")?.unwrap_or(LONGEST_PAGE);
        match (1..=LONGEST_PAGE).contains(&limit) {
            true => Ok(limit),
            false => Err(Refusal::field("limit", format!("must be 1 to {LONGEST_PAGE}, not {limit}"))),
        }
    }

    /// One of a few words, of which the first counts if there is none.
    pub(super) fn word<'a>(&self, name: &str, words: [&'a str; 2]) -> Result<&'a str, Refusal> {
        let Some(value) = self.text(name) else { return Ok(words[0]) };
        let word = words.into_iter().find(|word| *word == value);
        word.ok_or_else(|| wrong(name, &format!("{} or {}", words[0], words[1]), value))
    }

    /// A time of RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<EpochSeconds>, Refusal> {
        let time = self.text(name).map(|value| moment(value).ok_or_else(|| wrong(name, "a time of RFC 3339", value)));
        time.transpose()
    }

    /// The pairs of a filter, which SDKs encode three times over: `{"owner": "a b"}` is `owner%3Da%252520b`.
    pub(super) fn filter(&self, name: &str) -> Result<Vec<(String, String)>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(Vec::new()) };
        let unescaped = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned());
            decoded.map_err(|_| wrong(name, "pairs of texts", text))
        };
        let text = unescaped(text)?;
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescaped(key)?, unescaped(value)?))
        };
        pairs.map(pair).collect()
    }
}

fn wrong(name: &str, rule: &str, value: &str) -> Refusal {
    Refusal::field(name, format_args!("expected {rule}, not {value:?}"))
}

/// Reads a time of RFC 3339, with any offset. A plus sign that was not encoded has become a space.
fn moment(text: &str) -> Option<EpochSeconds> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
            match offset.chars().next()? {
                '+' | ' ' => (local, seconds),
                '-' => (local, -seconds),
                _ => return None,
            }
        }
    };
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64() - f64::from(offset))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::with_uri(&format!("/?{text}")).to_http_request()).unwrap()
    }

    #[test]
    fn a_filter_is_encoded_three_times_over() {
        let pairs = |text: &str| query(&format!("metadata={text}")).filter("metadata").unwrap();
        let owner = |value: &str| vec![("owner".to_owned(), value.to_owned())];
        assert_eq!(pairs("owner%3Da%252520b%252526c%25253Dd"), owner("a b&c=d"));
        assert_eq!(pairs("owner%3Dx"), owner("x"));
        assert_eq!(pairs("a%3D1%26b%3D2").len(), 2);
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("%2525C3%2525BC%3D"), [("ü".to_owned(), String::new())]);
    }

    #[test]
    fn a_time_may_have_any_offset() {
        for text in [
            "2026-11-26T02:00:00.25Z",
            "2026-11-26T02:00:00.25%2B00:00",
            "2026-11-26T02:00:00.25+00:00",
            "2026-11-26T03:30:00.25%2B01:30",
            "2026-11-25T21:00:00.25-05:00",
        ] {
            assert_eq!(query(&format!("at={text}")).time("at").unwrap(), Some(1_795_658_400.25), "{text}");
        }
        for text in ["soon", "2026-11-26", "2026-11-26T02:00:00", "2026-11-26T02:00:00*01:00", "%C3%BC"] {
            assert!(query(&format!("at={text}")).time("at").is_err(), "{text}");
        }
    }
}
