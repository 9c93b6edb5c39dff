//! Signed URLs of files. A signature is the hash of the path, the operation, the user, the sandbox's token and the time until
//! which it holds. The URL does not say which sandbox has signed it.

use actix_web::{dev::RequestHead, http::Method, web::Query};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{config::Secret, domain::EpochSeconds, http::e2b::door::FILES};

/// What a signed URL says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Signed {
    #[serde(default)]
    path: String,
    #[serde(default)]
    username: String,
    signature: String,
    #[serde(rename = "signature_expiration")]
    expiration: Option<i64>,
    #[serde(skip)]
    writes: bool,
}

impl Signed {
    /// Reads a request; `None`: it has no signature. One is good for reading or writing a file, and for nothing else that the
    /// agent does.
    pub(super) fn of(head: &RequestHead) -> Option<Self> {
        if head.uri.path() != FILES || !matches!(head.method, Method::GET | Method::HEAD | Method::POST) {
            return None;
        }
        let Query(signed) = Query::<Self>::from_query(head.uri.query()?).ok()?;
        Some(Self { writes: !matches!(head.method, Method::GET | Method::HEAD), ..signed })
    }

    /// Whether the sandbox with this token has signed it.
    pub(super) fn is_by(&self, token: &Secret) -> bool {
        let operation = if self.writes { "write" } else { "read" };
        let mut hash = Sha256::new();
        for part in [self.path.as_str(), ":", operation, ":", self.username.as_str(), ":", token.expose()] {
            hash.update(part.as_bytes());
        }
        if let Some(expiration) = self.expiration {
            hash.update(format!(":{expiration}").as_bytes());
        }
        let right = Secret::new(format!("v1_{}", BASE64_STANDARD_NO_PAD.encode(hash.finalize())));
        right.matches(self.signature.as_bytes())
    }

    /// Whether its time has passed.
    pub(super) fn is_over(&self, now: EpochSeconds) -> bool {
        self.expiration.is_some_and(|expiration| (expiration as f64) < now)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn signed(query: &str) -> Signed {
        Signed::of(TestRequest::get().uri(&format!("/files?{query}")).to_srv_request().head()).unwrap()
    }

    #[test]
    fn a_signature_is_that_of_the_sdk() {
        // Made with E2B's SDK for Python.
        let token = Secret::new("secret");
        let query = "path=%2Fhome%2Fa+b&username=user&signature=v1_SNw5t0I/VY0YwILvdlgRJjfUq2uqaSIFFDb40GBvy3Y";
        assert!(signed(query).is_by(&token));
        assert!(!signed(query).is_by(&Secret::new("other")));
        assert!(!signed(&query.replace("a+b", "c")).is_by(&token));
    }

    #[test]
    fn a_signature_holds_until_its_time() {
        let query = "path=a&signature=v1_5ilNPAPZJBjCdR86lgG0BYnhPudUzBzRLhBzXlzaYh8&signature_expiration=1000";
        assert!(signed(query).is_by(&Secret::new("secret")));
        assert!(!signed(query).is_over(1000.0) && signed(query).is_over(1000.5));
        assert!(!signed("path=a&signature=x").is_over(f64::MAX));
        assert!(!signed(&query.replace("=1000", "=2000")).is_by(&Secret::new("secret")));
    }
}
