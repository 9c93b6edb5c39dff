//! Loads the settings.

use std::path::Path;

use super::{
    check, environment,
    error::ConfigError,
    fallback,
    layers::Layers,
    overrides::Overrides,
    settings::{Sections, Settings},
};

impl Settings {
    /// Loads the configuration from its layers: the built-in defaults, `file`, `environment` and `overrides`. Later ones
    /// override earlier ones.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] lists everything that is wrong, with its source and its rule.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::built_in()?;
        if let Some(file) = file {
            layers.file(file)?;
        }
        environment::add(environment, &mut layers);
        overrides.add(&mut layers);
        settings(layers)
    }
}

/// Reads and checks all layers.
pub(super) fn settings(mut layers: Layers) -> Result<Settings, ConfigError> {
    let Sections { http, store, lifecycle, docker, templates, log } = layers.sections()?;
    let ((http,), (store,), (lifecycle,), (log,)) = (http.into(), store.into(), lifecycle.into(), log.into());
    let (docker, sandboxes) = docker.into();
    check::http(&mut layers, &http);
    check::store(&mut layers, &store);
    check::lifecycle(&mut layers, &lifecycle);
    check::docker(&mut layers, &docker);
    let templates = fallback::resolve(&mut layers, templates, &lifecycle, &docker, &sandboxes);
    layers.finish(Settings { http, store, lifecycle, docker, sandboxes, templates, log })
}
