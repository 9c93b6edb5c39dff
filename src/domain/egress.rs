//! What a sandbox may reach ([design: walls](crate::design::walls)).

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::leaf::is_name;

/// How many ranges a list can have.
pub const MOST_RANGES: usize = 64;

/// The network of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Network {
    /// A bridge of ours: it reaches the internet, and neither other sandboxes nor the host or private ranges.
    Isolated,
    /// A bridge of ours without a way out.
    Internal,
    /// No network.
    None,
    /// The engine's own bridge, without walls.
    #[default]
    Default,
    /// A network that the engine has by this name, without walls of ours.
    Named(String),
}

impl Network {
    /// The rule for error messages.
    pub const RULE: &'static str = "must be \"isolated\", \"internal\", \"none\", \"default\" or a network's name: 1 to 128 \
                                    letters, digits, '_', '.' or '-', the first a letter or a digit; not \"host\", since a \
                                    sandbox on the host's own network is none";

    /// How it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Isolated => "isolated",
            Self::Internal => "internal",
            Self::None => "none",
            Self::Default => "default",
            Self::Named(name) => name,
        }
    }

    /// Reads what [`Self::as_str`] writes; `None` if it breaks [`Self::RULE`].
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "isolated" => Some(Self::Isolated),
            "internal" => Some(Self::Internal),
            "none" => Some(Self::None),
            "default" => Some(Self::Default),
            "host" => None,
            name => is_name(name, 128, b"_.-").then(|| Self::Named(name.to_owned())),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_word(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom(Self::RULE))
    }
}

/// Ranges of addresses that are open and shut; what is in both is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object with allow and deny")]
pub struct Ranges {
    /// What is open; at most [`MOST_RANGES`].
    #[serde(deserialize_with = "ranges", skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    /// What is shut; at most [`MOST_RANGES`].
    #[serde(deserialize_with = "ranges", skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

impl Ranges {
    /// Every address of both kinds is shut.
    pub fn all_shut() -> Self {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        Self { allow: Vec::new(), deny: all.into() }
    }

    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// The rules of a sandbox on an isolated network, beside the walls that all of them have. A range that either part denies
/// without allowing it is shut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object with template and request")]
pub struct Egress {
    /// The operator's: `allow` may open what the walls shut.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub template: Ranges,
    /// The client's: `allow` beats only `deny` beside it, never a wall or the template's `deny`.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub request: Ranges,
}

impl Egress {
    /// Itself, or `None` if it says nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Whether it says nothing, so that only the walls count.
    pub fn is_empty(&self) -> bool {
        self.template.is_empty() && self.request.is_empty()
    }
}

/// Reads a range: a network, or an address for itself alone. Bits beyond the prefix are dropped, and an IPv4 range in IPv6's
/// notation is the IPv4 range.
///
/// # Errors
/// What is wrong with it.
pub fn range(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let range = parsed.map_err(|_| {
        format!(
            "{text:?} must be an IP address or a range of them, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
        )
    })?;
    Ok(plain(range.trunc()))
}

/// The IPv4 range that an IPv6 range of mapped addresses stands for.
fn plain(range: IpNet) -> IpNet {
    let IpNet::V6(six) = range else { return range };
    let (address, length) = (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96));
    let four = address.zip(length).and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(range, IpNet::V4)
}

/// Reads a list of ranges.
///
/// # Errors
/// When it is too long, or one of them is none.
pub fn ranges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > MOST_RANGES {
        return Err(D::Error::custom(format!("at most {MOST_RANGES} ranges, not {}", texts.len())));
    }
    texts.iter().map(|text| range(text).map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_network_or_an_address() {
        for (text, written) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ] {
            assert_eq!(range(text).unwrap().to_string(), written);
        }
        for wrong in ["", "example.com", "203.0.113.7/33", "203.0.113", "203.0.113.7-9", "::/129", " 203.0.113.7"] {
            assert!(range(wrong).unwrap_err().contains("203.0.113.0/24"), "{wrong:?} was taken");
        }
    }

    #[test]
    fn rules_are_the_same_after_json_and_a_list_has_an_end() {
        let text = r#"{"template":{"allow":["10.1.2.0/24"]},"request":{"deny":["0.0.0.0/0","::/0"]}}"#;
        let egress: Egress = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&egress).unwrap(), text);
        assert_eq!(serde_json::from_str::<Egress>("{}").unwrap(), Egress::default());
        assert_eq!(serde_json::to_string(&Egress::default()).unwrap(), "{}");
        let listed = |count| serde_json::json!({ "deny": vec!["203.0.113.7"; count] });
        assert!(serde_json::from_value::<Ranges>(listed(MOST_RANGES)).is_ok());
        let refused = serde_json::from_value::<Ranges>(listed(MOST_RANGES + 1)).unwrap_err();
        assert_eq!(refused.to_string(), "at most 64 ranges, not 65");
        assert!(serde_json::from_str::<Ranges>(r#"{"denied":[]}"#).is_err());
    }

    #[test]
    fn a_network_is_a_word_of_ours_or_a_name_but_never_the_hosts_own() {
        for word in ["isolated", "internal", "none", "default", "sandboxes"] {
            assert_eq!(Network::from_word(word).unwrap().as_str(), word);
        }
        assert_eq!(Network::from_word("sandboxes"), Some(Network::Named("sandboxes".to_owned())));
        for wrong in ["host", "container:x", "", "-a", "a b"] {
            assert_eq!(Network::from_word(wrong), None, "{wrong:?} was taken");
        }
    }
}
