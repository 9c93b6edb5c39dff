//! How full the disk of a sandbox is, which only its inside can tell.

use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::{
    Work,
    body::{full, uri},
    connect::refusal,
    error::WorkError,
};
use crate::domain::SandboxId;

/// The file system that a sandbox has its root on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Disk {
    /// Bytes in use, also by others on the same file system.
    #[serde(rename = "disk_used")]
    pub used: u64,
    /// Bytes that there are.
    #[serde(rename = "disk_total")]
    pub total: u64,
}

impl Work {
    /// Asks the agent how full the disk is. A read, so no use.
    ///
    /// # Errors
    /// [`WorkError`].
    pub async fn disk(&self, id: &SandboxId) -> Result<Disk, WorkError> {
        let mut line = self.look_inside(id).await?;
        let mut request = Request::new(full(""));
        *request.uri_mut() = uri("/metrics");
        let answer = line.send(request, None).await?;
        let status = answer.status();
        let body = line.whole(answer.into_body()).await?;
        if status != StatusCode::OK {
            return Err(refusal(&body, status));
        }
        serde_json::from_slice(&body).map_err(|error| line.unreadable(&error.to_string()))
    }
}
