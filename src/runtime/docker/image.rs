//! Pulls missing images.

use std::{collections::HashMap, pin::pin, time::Duration};

use bollard::{models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Docker, error::CallError};
use crate::{
    domain::snapshot,
    ports::runtime::{RuntimeError, StartProgress},
    runtime::cancel::unless_cancelled,
};

/// The minimum time between two reports of progress. Engines report every few kilobytes of each layer.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

const BYTES_PER_MEGABYTE: f64 = 1e6;

impl Docker {
    /// Pulls the image if it is missing; `cancel` interrupts the pull.
    pub(super) async fn ensure_image(
        &self,
        image: &str,
        cancel: &CancellationToken,
        progress: &(dyn Fn(StartProgress) + Send + Sync),
    ) -> Result<(), RuntimeError> {
        if !is_reference(image) {
            return Err(RuntimeError::Failed(format!("{image:?} is no image reference")));
        }
        if unless_cancelled(cancel, self.has_image(image)).await? {
            return Ok(());
        }
        if let Some(snapshot) = snapshot::of_reference(image) {
            return Err(RuntimeError::Failed(format!(
                "there is no snapshot {snapshot} on this engine; it may have been removed"
            )));
        }
        progress(StartProgress::Pulling { status: "waiting for its turn".to_owned() });
        unless_cancelled(cancel, async {
            let _lane = self.engine.pool.pull().await;
            // Another start may have pulled it meanwhile.
            if self.has_image(image).await? { Ok(()) } else { self.pull(image, progress).await }
        })
        .await
    }

    async fn has_image(&self, image: &str) -> Result<bool, RuntimeError> {
        match self.engine.call(|docker| async move { docker.inspect_image(image).await }).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.during(&format!("look for the image {image}"))),
        }
    }

    async fn pull(&self, image: &str, progress: &(dyn Fn(StartProgress) + Send + Sync)) -> Result<(), RuntimeError> {
        let reference = with_tag(image);
        let options = CreateImageOptionsBuilder::default().from_image(&reference).build();
        let limit = self.engine.settings.pull_timeout;
        let login = self.keyring.look_up(&reference).await;
        let credentials = login.credentials.clone();
        let pulled = self.engine.unbounded(|docker| async move {
            let mut layers = Layers::default();
            let mut steps = pin!(docker.create_image(Some(options), None, credentials));
            while let Some(step) = steps.next().await {
                if let Some(status) = layers.note(step?) {
                    progress(StartProgress::Pulling { status });
                }
            }
            Ok(())
        });
        let outcome = timeout(limit, pulled).await.unwrap_or(Err(CallError::TimedOut(limit)));
        outcome.map_err(|error| match error {
            CallError::TimedOut(limit) => {
                RuntimeError::Failed(format!("failed to pull the image {reference}: not done within {limit:?}"))
            }
            error => {
                let advice = login.advice(&error);
                match error.during(&format!("pull the image {reference}")) {
                    RuntimeError::Failed(message) => RuntimeError::Failed(format!("{message}{advice}")),
                    error => error,
                }
            }
        })
    }
}

/// The progress of a pull.
#[derive(Default)]
struct Layers {
    /// By layer: the bytes that are here, and all.
    bytes: HashMap<String, (i64, i64)>,
    told: Option<Instant>,
}

impl Layers {
    /// Notes a report of the engine and returns a summary if one is due.
    fn note(&mut self, report: CreateImageInfo) -> Option<String> {
        let status = report.status.unwrap_or_default();
        let detail = report.progress_detail.unwrap_or_default();
        if let (Some(layer), Some(current), Some(total)) = (report.id, detail.current, detail.total) {
            self.bytes.insert(layer, (current, total));
        }
        let now = Instant::now();
        if status.is_empty() || self.told.is_some_and(|told| now.duration_since(told) < PROGRESS_INTERVAL) {
            return None;
        }
        self.told = Some(now);
        let (current, total) = self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        Some(if total > 0 {
            format!(
                "{}: {:.1} of {:.1} MB in {} layers",
                status.to_lowercase(),
                current as f64 / BYTES_PER_MEGABYTE,
                total as f64 / BYTES_PER_MEGABYTE,
                self.bytes.len()
            )
        } else {
            status.to_lowercase()
        })
    }
}

/// Adds the default tag: a pull without a tag would fetch all tags.
fn with_tag(image: &str) -> String {
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Whether `image` is safe as a part of a request's path.
fn is_reference(image: &str) -> bool {
    let component = |part: &str| part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    image.split('/').all(component)
        && image.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_latest() {
        for (image, pulled) in [
            ("busybox", "busybox:latest"),
            ("busybox:stable", "busybox:stable"),
            ("localhost:5000/team/tool", "localhost:5000/team/tool:latest"),
            ("tool@sha256:00ff", "tool@sha256:00ff"),
        ] {
            assert!(is_reference(image));
            assert_eq!(with_tag(image), pulled);
        }
    }

    #[test]
    fn a_text_that_would_change_the_path_is_no_reference() {
        for text in ["", "..", "a/../containers/b", "/a", "a/", "a?b", "a#b", "a b", "a%2fb"] {
            assert!(!is_reference(text), "{text:?} was taken");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_told_now_and_then_and_sums_up_the_layers() {
        let report = |layer: &str, current| CreateImageInfo {
            id: Some(layer.to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(2_000_000) }),
            ..Default::default()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.note(report("a", 500_000)).as_deref(), Some("downloading: 0.5 of 2.0 MB in 1 layers"));
        assert_eq!(layers.note(report("a", 900_000)), None);
        tokio::time::advance(PROGRESS_INTERVAL).await;
        assert_eq!(layers.note(report("b", 100_000)).as_deref(), Some("downloading: 1.0 of 4.0 MB in 2 layers"));
    }
}
