//! `sandglass clean`: removes what is left over on the engine and its host.

use super::{args::Clean, out};
use crate::{
    app,
    config::{Settings, process_environment},
    logging,
    ports::runtime::RuntimeError,
};

/// Something is left that should not be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CannotClean(String);

impl From<RuntimeError> for CannotClean {
    fn from(error: RuntimeError) -> Self {
        Self(error.to_string())
    }
}

/// Prints each thing that it has removed, or would remove.
pub(super) async fn clean(args: Clean) -> anyhow::Result<()> {
    let settings = Settings::load(args.config.as_deref(), process_environment(), args.overrides())?;
    let engine = app::engine(&settings)?;
    let mut failures = 0;
    for left in engine.left_over().await.map_err(CannotClean::from)? {
        if args.list {
            out::print(&format!("{left}\n"))?;
            continue;
        }
        match engine.remove_left_over(&left).await {
            Ok(()) => out::print(&format!("removed {left}\n"))?,
            Err(error) => {
                failures += 1;
                logging::say(format_args!("{error}"));
            }
        }
    }
    match failures {
        0 => Ok(()),
        failures => Err(CannotClean(format!("{failures} of them could not be removed")).into()),
    }
}
