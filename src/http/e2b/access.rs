//! The tokens of sandboxes, which are derived from the API key ([design: tokens](crate::design::e2b::tokens)).

use std::fmt::Write;

use actix_web::HttpRequest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{
    config::{Secret, Settings},
    domain::{Sandbox, SandboxId},
    http::auth::API_KEY,
};

/// What tokens are made with if there is no API key. They protect nothing then: every client that reaches Sandglass can ask
/// for them.
const WITHOUT_A_KEY: &str = "sandglass";

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    /// The agent: commands and files.
    Agent,
    /// The other ports of a sandbox with private traffic.
    Traffic,
}

/// The token that opens a part of a sandbox.
pub(super) fn token(settings: &Settings, sandbox: &Sandbox, opens: Opens) -> Secret {
    let key = settings.http.api_key.as_ref().map_or(WITHOUT_A_KEY, Secret::expose);
    let part = match opens {
        Opens::Agent => "envd",
        Opens::Traffic => "traffic",
    };
    let details = &sandbox.details;
    derived(key, &format!("{part}:{}:{}", details.id, details.created_at))
}

/// The id of the sandbox that a client makes with this idempotency key: the same for the same API key, and for no other.
pub(super) fn id_for(request: &HttpRequest, idempotency_key: &[u8]) -> SandboxId {
    let api_key = request.headers().get(API_KEY).map_or(&b""[..], |key| key.as_bytes());
    let mut hash = Sha256::new();
    // A header has no line breaks, so the two parts cannot be taken for others.
    for part in [api_key, b"\n", idempotency_key] {
        hash.update(part);
    }
    let mut number = [0; 16];
    number.copy_from_slice(&hash.finalize()[..16]);
    SandboxId::of_number(u128::from_be_bytes(number))
}

/// HMAC-SHA256 in hexadecimal digits.
fn derived(key: &str, text: &str) -> Secret {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { unreachable!("HMAC takes every key") };
    mac.update(text.as_bytes());
    let mut digits = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        let _ = write!(digits, "{byte:02x}");
    }
    Secret::new(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231.
    #[test]
    fn a_token_is_an_hmac_of_sha_256() {
        let token = derived("Jefe", "what do ya want for nothing?");
        assert_eq!(token.expose(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
