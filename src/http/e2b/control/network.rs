//! What a request for a sandbox says of the network, and what Sandglass cannot do is refused: a rule that is taken and not
//! kept would be worse than none.

use serde::Deserialize;
use serde_json::Value;

use crate::http::e2b::error::Refusal;

const NO_EGRESS: &str = "rules for outgoing traffic are not there yet: leave it out";

/// How a sandbox is reached, and what it reaches.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct Network {
    pub(super) allow_public_traffic: Option<bool>,
    pub(super) mask_request_host: Option<String>,
    allow_out: Option<Value>,
    deny_out: Option<Value>,
    dns_servers: Option<Value>,
    egress_proxy: Option<Value>,
    https_ports: Option<Value>,
    rules: Option<Value>,
}

impl Network {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        for (name, value) in [
            ("allowOut", &self.allow_out),
            ("denyOut", &self.deny_out),
            ("dnsServers", &self.dns_servers),
            ("egressProxy", &self.egress_proxy),
            ("rules", &self.rules),
        ] {
            must_say_nothing(&format!("network.{name}"), value.as_ref(), NO_EGRESS)?;
        }
        let rule = "ports are reached by plain HTTP: leave it out";
        must_say_nothing("network.httpsPorts", self.https_ports.as_ref(), rule)?;
        let is_host =
            |host: &str| !host.is_empty() && host.len() <= 255 && host.bytes().all(|byte| byte.is_ascii_graphic());
        match &self.mask_request_host {
            Some(host) if !is_host(host) => {
                Err(Refusal::field("network.maskRequestHost", "must be a host name, in which ${PORT} is the port"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses internet access that is to be denied.
pub(super) fn must_allow_internet(allowed: Option<bool>) -> Result<(), Refusal> {
    if allowed == Some(false) { Err(Refusal::field("allow_internet_access", NO_EGRESS)) } else { Ok(()) }
}

/// Refuses a field that asks for something.
pub(super) fn must_say_nothing(field: &str, value: Option<&Value>, rule: &str) -> Result<(), Refusal> {
    let says_nothing = value.is_none_or(|value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    });
    if says_nothing { Ok(()) } else { Err(Refusal::field(field, rule)) }
}
