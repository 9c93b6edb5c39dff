//! Why the firewall could not be read or written.

use std::{error, fmt};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why the firewall could not be read or written, as a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallsError {
    /// What kind of reason it is.
    pub kind: Kind,
    /// The sentence.
    #[serde(rename = "error")]
    pub message: String,
}

/// Kinds of reasons, by what helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This process may not administer the network: it lacks `CAP_NET_ADMIN`.
    Denied,
    /// The kernel lacks `nf_tables`, or a part of it.
    Unsupported,
    /// The table or a part of it is gone, or none was written yet: write the whole table.
    Missing,
    /// Others have added to the table what is in the way: write the whole table.
    Changed,
    /// The request makes no sense.
    Invalid,
    /// Anything else.
    #[default]
    Failed,
}

impl WallsError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What the kernel said when it was asked for something, `doing` in words.
    pub(super) fn of(errno: Errno, doing: &str) -> Self {
        let (kind, why) = match errno {
            Errno::PERM | Errno::ACCESS => (
                Kind::Denied,
                "this process may not administer the network; it needs the capability NET_ADMIN".to_owned(),
            ),
            Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
                (Kind::Unsupported, "the kernel does not support it; load the modules of nf_tables".to_owned())
            }
            Errno::NOENT => (Kind::Missing, "it, or what it needs, is not in the firewall".to_owned()),
            Errno::BUSY | Errno::EXIST => (Kind::Changed, "others have changed the table".to_owned()),
            Errno::NOBUFS | Errno::MSGSIZE | Errno::NOMEM => {
                (Kind::Failed, format!("it is too large for the kernel ({errno})"))
            }
            errno => (Kind::Failed, errno.to_string()),
        };
        Self::new(kind, format!("{doing}: {why}"))
    }
}

impl fmt::Display for WallsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for WallsError {}
