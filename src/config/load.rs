//! From the sources to the settings.

use std::path::Path;

use super::{
    check, environment,
    error::ConfigError,
    fallback,
    layers::Layers,
    overrides::Overrides,
    settings::{Settings, Written},
};

impl Settings {
    /// Reads the configuration: the built-in defaults, over them `file`, over it the variables in `environment`, over
    /// all the flags in `overrides`.
    ///
    /// # Errors
    /// [`ConfigError`], which names everything that is wrong, where it came from, and what it has to be.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::built_in()?;
        if let Some(file) = file {
            layers.file(file)?;
        }
        environment::lay(environment, &mut layers);
        overrides.lay(&mut layers);
        settle(layers)
    }
}

/// Checks everything that is written in `layers`.
pub(super) fn settle(mut layers: Layers) -> Result<Settings, ConfigError> {
    let Written { http, store, lifecycle, docker, templates, log } = layers.written()?;
    let (docker, sandboxes) = docker.into();
    check::http(&mut layers, &http);
    check::store(&mut layers, &store);
    check::lifecycle(&mut layers, &lifecycle);
    check::docker(&mut layers, &docker);
    let templates = fallback::settle(&mut layers, templates, &lifecycle, &sandboxes);
    layers.verdict(Settings { http, store, lifecycle, docker, sandboxes, templates, log })
}
