//! What a sandbox may reach ([design: walls](crate::design::walls)).

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answers::SandboxAnswer,
    body::Body,
    error::{ApiError, ErrorAnswer},
    extract::Id,
    sandboxes::sandbox_response,
};
use crate::{
    domain::egress::{self, Ranges},
    ports::walls::Blocked,
    sandboxes::Sandboxes,
};

/// What a sandbox may reach from now on, in place of what a client said before. Addresses and ranges, such as
/// `203.0.113.7` or `203.0.113.0/24`; at most 64 each.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with deny and, if it is wanted, allow")]
pub(super) struct EgressRequest {
    /// What it may not reach, beside what it may not reach anyway; empty: nothing more.
    #[serde(deserialize_with = "egress::ranges")]
    #[schema(value_type = Vec<String>)]
    deny: Vec<IpNet>,
    /// Exceptions from `deny`.
    #[serde(default, deserialize_with = "egress::ranges")]
    #[schema(value_type = Vec<String>, required = false)]
    allow: Vec<IpNet>,
}

/// What a sandbox tried to reach in vain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Blocked)]
pub(super) struct BlockedAnswer {
    /// How many packets were dropped.
    packets: u64,
    /// Where they were sent: the last or the most frequent 16 addresses.
    recent: Vec<BlockedAddress>,
}

/// An address that was tried in vain.
#[derive(Debug, Serialize, ToSchema)]
struct BlockedAddress {
    /// The address.
    address: String,
    /// How many packets were dropped.
    packets: u64,
}

impl From<Blocked> for BlockedAnswer {
    fn from(Blocked { packets, recent }: Blocked) -> Self {
        let address =
            |(address, packets): (std::net::IpAddr, u64)| BlockedAddress { address: address.to_string(), packets };
        Self { packets, recent: recent.into_iter().map(address).collect() }
    }
}

/// Replaces what a client said that a sandbox may reach.
///
/// The change applies as a whole, also to connections that stand, and is in force and recorded when this answers. It cannot
/// open what the template denies, nor what no sandbox reaches: other sandboxes, the host, and private addresses. It does not
/// count as use.
#[utoipa::path(put, path = "/v1/sandboxes/{id}/egress", operation_id = "set_egress", tag = "sandboxes",
    params(("id" = String, Path, description = "The sandbox")),
    request_body(content = EgressRequest),
    responses(
        (status = 200, description = "The rules are in force", body = SandboxAnswer),
        (status = 409, description = "`conflict`: it is on no isolated network; `wrong_state`, `terminating`",
            body = ErrorAnswer),
        (status = 502, description = "`runtime_failed`: the rules are as they were", body = ErrorAnswer),
        (status = 503, description = "`store_unavailable`, `runtime_unavailable`", body = ErrorAnswer),
    ))]
pub(super) async fn set(
    sandboxes: Data<Sandboxes>,
    Id(id): Id,
    Body(EgressRequest { deny, allow }): Body<EgressRequest>,
) -> Result<HttpResponse, ApiError> {
    let set = sandboxes.set_egress(&id, Ranges { allow, deny }).await;
    sandbox_response(&sandboxes, set, StatusCode::OK)
}
