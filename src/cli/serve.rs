//! `sandglass serve`.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::{
    args::{Serve, variables_of_flags},
    out,
};
use crate::{
    app::{Adapters, App},
    config::{MANUAL, Settings, ignored_variables, process_environment},
    logging,
};

/// Serves until a signal stops it.
pub(super) async fn serve(args: Serve) -> anyhow::Result<()> {
    if args.manual {
        return Ok(out::print(MANUAL)?);
    }
    // Install the handlers first. From here on, the first signal stops cleanly and the second one at once.
    let mut signals = Signals::new()?;
    let mut settings = Settings::load(args.config.as_deref(), process_environment(), args.overrides())?;
    logging::init(&settings.log)?;
    warn_of_ignored_variables();
    logging::log_panics();
    let listener = App::listen(&mut settings)?;
    let adapters = Adapters::from_settings(&settings)?;
    let starting = async {
        match args.standby {
            true => App::standby(settings, adapters, listener).await,
            false => App::new(settings, adapters, listener).await,
        }
    };
    let mut app = tokio::select! {
        started = starting => started?,
        signal = signals.next() => {
            info!(signal, "stopped before it was ready; nothing was changed");
            return Ok(());
        }
    };
    let outcome = app
        .run_until(async {
            let signal = signals.next().await;
            info!(signal, "stopping: no sandbox ends by this; once more to stop at once");
        })
        .await;
    tokio::select! {
        _missing = app.shutdown() => {}
        signal = signals.next() => warn!(signal, "stopped at once; the next start drives on what was under way"),
    }
    outcome?;
    Ok(())
}

/// Logs one warning that lists the names only, since a value may be a secret.
fn warn_of_ignored_variables() {
    let flags = variables_of_flags();
    let names = process_environment().map(|(name, _)| name).filter(|name| !flags.contains(name));
    let ignored = ignored_variables(names).join(", ");
    if !ignored.is_empty() {
        warn!(
            "ignored these environment variables, which are no settings: {ignored}; a setting's name has two underscores \
             between its section and its key, as in SANDGLASS_HTTP__BIND"
        );
    }
}

/// The signals that stop the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
