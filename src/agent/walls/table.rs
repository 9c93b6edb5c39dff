//! What callers say: the sandboxes of a prefix, and what each may reach.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::error::{Kind, WallsError};

/// What every name of a table of ours begins with.
pub const PREFIX: &str = "sandglass-";

/// The bytes that a name in the kernel may have, less than its 255 because names of ours get longer than that of the table.
const NAME: usize = 200;
/// The bytes of an interface's name.
const INTERFACE: usize = 15;

/// The firewall of one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The table's name, which begins with [`PREFIX`].
    pub name: String,
    /// What the names of bridges begin with whose sandboxes reach the internet.
    #[serde(default)]
    pub bridges: Vec<String>,
    /// What the names of bridges begin with whose sandboxes reach nothing.
    #[serde(default)]
    pub internal: Vec<String>,
    /// Name servers that sandboxes reach at port 53, though their addresses are private or the host's own.
    #[serde(default)]
    pub resolvers: Vec<Ipv4Addr>,
    /// Every living sandbox at a bridge of the first kind. An address that is not here reaches nothing.
    #[serde(default)]
    pub sandboxes: BTreeMap<Ipv4Addr, Rules>,
}

/// What one sandbox may reach: two levels, and the walls between them. The first of these that has an address decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Open in spite of the walls, unless the sandbox's own rules shut them.
    #[serde(default)]
    pub open: Vec<Ipv4Net>,
    /// Shut in spite of the sandbox's own rules.
    #[serde(default)]
    pub shut: Vec<Ipv4Net>,
    /// What the sandbox allows itself in spite of `deny`.
    #[serde(default)]
    pub allow: Vec<Ipv4Net>,
    /// What the sandbox denies itself.
    #[serde(default)]
    pub deny: Vec<Ipv4Net>,
}

impl Rules {
    /// Whether they say nothing beyond the walls.
    pub fn is_empty(&self) -> bool {
        [&self.open, &self.shut, &self.allow, &self.deny].iter().all(|networks| networks.is_empty())
    }
}

/// What was dropped of what a sandbox has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Packets since its rules were first written, or the table was made anew.
    pub packets: u64,
    /// Where they were going within the last hour and how many, the last address first, at most 16.
    pub recent: Vec<(Ipv4Addr, u64)>,
}

impl Table {
    pub(super) fn has_bridges(&self) -> bool {
        !self.bridges.is_empty() || !self.internal.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), WallsError> {
        check_name(&self.name)?;
        for interface in self.bridges.iter().chain(&self.internal) {
            // An empty one would be every interface of the host.
            if interface.is_empty() || interface.len() > INTERFACE || interface.contains(['\0', '/', ' ']) {
                let message = format!("{interface:?} is not the beginning of an interface's name");
                return Err(WallsError::new(Kind::Invalid, message));
            }
        }
        Ok(())
    }
}

pub(super) fn check_name(name: &str) -> Result<(), WallsError> {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    if rest.is_empty() || name.len() > NAME || name.contains('\0') {
        let message =
            format!("{name:?} is not the name of a table: it has to begin with {PREFIX} and have at most {NAME} bytes");
        return Err(WallsError::new(Kind::Invalid, message));
    }
    Ok(())
}
