//! How full the disk of a sandbox is, which only its inside can tell.

use hyper::{Request, StatusCode};

use super::{
    Work,
    body::{full, uri},
    connect::refusal,
    disks::Disk,
    error::WorkError,
};
use crate::domain::SandboxId;

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
        let disk = serde_json::from_slice(&body).map_err(|error| line.unreadable(&error.to_string()))?;
        self.note_disk(id, disk);
        Ok(disk)
    }
}
