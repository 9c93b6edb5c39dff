//! What a request says of the network. What Sandglass cannot do is refused: a rule that is taken and not kept would be worse
//! than none.

use actix_web::{HttpResponse, web::Data};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    domain::egress::{MOST_RANGES, Ranges, range},
    http::e2b::{
        error::Refusal,
        extract::{Body, Id},
    },
    sandboxes::Sandboxes,
};

const NO_NAMES: &str = "only addresses and ranges of them are possible here, not names";
const NOT_HERE: &str = "Sandglass does not have it: leave it out";

/// How a sandbox is reached, and what it reaches.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct Network {
    pub(super) allow_public_traffic: Option<bool>,
    pub(super) mask_request_host: Option<String>,
    #[serde(rename = "allow_internet_access")]
    allow_internet_access: Option<bool>,
    allow_out: Option<Vec<String>>,
    deny_out: Option<Vec<String>>,
    dns_servers: Option<Value>,
    egress_proxy: Option<Value>,
    https_ports: Option<Value>,
    rules: Option<Value>,
}

impl Network {
    pub(super) fn check(&self) -> Result<(), Refusal> {
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

    /// What it reaches; `below` is what the names of the fields begin with. No access to the internet is the same as none to
    /// any address that `allowOut` does not name.
    pub(super) fn ranges(&self, below: &str, allow_internet_access: Option<bool>) -> Result<Ranges, Refusal> {
        for (name, value) in
            [("dnsServers", &self.dns_servers), ("egressProxy", &self.egress_proxy), ("rules", &self.rules)]
        {
            must_say_nothing(&format!("{below}{name}"), value.as_ref(), NOT_HERE)?;
        }
        let list = |name: &str, texts: &Option<Vec<String>>| {
            let (field, texts) = (format!("{below}{name}"), texts.as_deref().unwrap_or_default());
            if texts.len() > MOST_RANGES {
                return Err(Refusal::field(&field, format!("at most {MOST_RANGES} ranges, not {}", texts.len())));
            }
            let read = |text: &String| range(text).map_err(|_| Refusal::field(&field, format!("{NO_NAMES}: {text:?}")));
            texts.iter().map(read).collect::<Result<Vec<IpNet>, _>>()
        };
        let (allow, mut deny) = (list("allowOut", &self.allow_out)?, list("denyOut", &self.deny_out)?);
        if [allow_internet_access, self.allow_internet_access].contains(&Some(false)) {
            // Everything includes what was named.
            deny = Ranges::all_shut().deny;
        }
        Ok(Ranges { allow, deny })
    }
}

/// Replaces what a sandbox reaches; how it is reached stays.
pub(super) async fn set(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(network): Body<Network>,
) -> Result<HttpResponse, Refusal> {
    let ranges = network.ranges("", None)?;
    let set = sandboxes.set_egress(&id, ranges).await;
    set.map(|_| HttpResponse::NoContent().finish()).map_err(|error| Refusal::of(&error, &sandboxes.now()))
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
