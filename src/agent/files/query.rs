//! What requests for `/files` say in their queries.

use std::collections::BTreeMap;

use super::{failure::Failure, times};
use crate::users;

/// The parameters of one request. Those that are unknown are ignored, as in E2B.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What a file that is written is given. `None` leaves it to the user, the umask and the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Permission bits, with setuid, setgid and sticky.
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Seconds and nanoseconds since the Unix epoch.
    pub(super) mtime: Option<(i64, i64)>,
}

impl Attributes {
    /// Reads `mode` (octal), `owner` and `group` (names or numbers) and `mtime` (seconds since the epoch, with a fraction).
    pub(super) fn of(query: &Query) -> Result<Self, Failure> {
        let read = |name: &str, what: &str, value: Option<u32>| match (query.get(name), value) {
            (Some(given), None) => Err(Failure::bad(format!("{name}: {given:?} is not {what}"))),
            (_, value) => Ok(value),
        };
        let mode = query.get("mode").and_then(|mode| u32::from_str_radix(mode, 8).ok()).filter(|mode| *mode <= 0o7777);
        let uid = query.get("owner").and_then(users::user_number);
        let gid = query.get("group").and_then(users::group_number);
        let mtime = query.get("mtime").map(|given| {
            times::parse(given).ok_or_else(|| Failure::bad(format!("mtime: {given:?} is not a number of seconds")))
        });
        Ok(Self {
            mode: read("mode", "an octal number up to 7777", mode)?,
            uid: read("owner", "a user of this container", uid)?,
            gid: read("group", "a group of this container", gid)?,
            mtime: mtime.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(query: &str) -> Result<Attributes, String> {
        Attributes::of(&Query::parse(Some(query))).map_err(|failure| failure.message)
    }

    #[test]
    fn attributes_are_read_and_wrong_ones_named() {
        let all = Attributes { mode: Some(0o4755), uid: Some(12), gid: Some(34), mtime: Some((5, 500_000_000)) };
        assert_eq!(attributes("path=/x&mode=4755&owner=12&group=34&mtime=5.5"), Ok(all));
        assert_eq!(attributes("path=/x"), Ok(Attributes::default()));
        for (query, field) in [
            ("mode=8", "mode: "),
            ("mode=10000", "mode: "),
            ("mode=", "mode: "),
            ("owner=no-such-user", "owner: "),
            ("group=no-such-group", "group: "),
            ("mtime=now", "mtime: "),
        ] {
            assert!(attributes(query).unwrap_err().starts_with(field), "{query}");
        }
    }

    #[test]
    fn values_are_decoded_as_forms_are() {
        let query = Query::parse(Some("path=%2Fa%20b+c%26d&username=u"));
        assert_eq!(query.get("path"), Some("/a b c&d"));
        assert_eq!(query.get("username"), Some("u"));
        assert_eq!(Query::parse(None).get("path"), None);
    }
}
