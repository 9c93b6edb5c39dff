//! Who may go where. The agent asks for the sandbox's token, or the API key, and so do other ports, unless the sandbox was
//! made for public traffic, as E2B's are by default.

use actix_web::http::{
    StatusCode,
    header::{HeaderMap, HeaderName},
};

use super::{refusal::Refused, signature::Signed};
use crate::{
    domain::{EpochSeconds, Sandbox},
    http::{
        auth,
        e2b::access::{self, Opens},
    },
    sandboxes::Sandboxes,
};

const TRAFFIC_TOKEN: HeaderName = HeaderName::from_static("e2b-traffic-access-token");
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-access-token");

/// Checks a request for the agent. Without an API key, every client can ask for the token, so none is needed; but a wrong one
/// is refused, since it is for another sandbox.
///
/// # Errors
/// 401.
pub(super) fn at_agent(
    sandboxes: &Sandboxes,
    sandbox: &Sandbox,
    headers: &HeaderMap,
    signed: Option<&Signed>,
    now: EpochSeconds,
) -> Result<(), Refused> {
    let settings = sandboxes.settings();
    let key = settings.http.api_key.as_ref();
    let token = access::token(settings, sandbox, Opens::Agent);
    let refused = |message: &str| Err(Refused::new(StatusCode::UNAUTHORIZED, message));
    if let Some(given) = headers.get(TOKEN) {
        let given = given.as_bytes();
        return match token.matches(given) || key.is_some_and(|key| key.matches(given)) {
            true => Ok(()),
            false => refused("X-Access-Token is not the token of this sandbox; connect to it again to get the token"),
        };
    }
    if let Some(signed) = signed {
        return match signed.is_by(&token) {
            true if signed.is_over(now) => refused("signature is already expired"),
            true => Ok(()),
            false => refused("the signature is not one of this sandbox for this path, user and operation"),
        };
    }
    match key {
        Some(key) if !auth::presents(headers, key) => {
            refused("send X-Access-Token, which create and connect answer as envdAccessToken")
        }
        _ => Ok(()),
    }
}

/// Checks a request for any other port.
///
/// # Errors
/// 403.
pub(super) fn at_port(sandboxes: &Sandboxes, sandbox: &Sandbox, headers: &HeaderMap) -> Result<(), Refused> {
    if sandbox.details.public_traffic {
        return Ok(());
    }
    let settings = sandboxes.settings();
    let has = |name: HeaderName, opens: Opens| {
        let token = access::token(settings, sandbox, opens);
        headers.get(name).is_some_and(|given| token.matches(given.as_bytes()))
    };
    let has_key = || settings.http.api_key.as_ref().is_some_and(|key| auth::presents(headers, key));
    if has(TRAFFIC_TOKEN, Opens::Traffic) || has(TOKEN, Opens::Agent) || has_key() {
        return Ok(());
    }
    Err(Refused::new(
        StatusCode::FORBIDDEN,
        "The sandbox takes no public traffic: send e2b-traffic-access-token, which create and connect answer as \
         trafficAccessToken",
    ))
}
