//! Helpers for the tests of this module.

use std::path::Path;

use super::{Origin, Overrides, Settings, environment, layers::Layers, load};

/// Loads the configuration from the text of a file (`some.toml`), variables, and flags (all called `--flag`). An error is its
/// message.
pub(super) fn load(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
    let mut overrides = Overrides::default();
    for (key, value) in flags {
        overrides.set(*key, *value, "--flag");
    }
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let path = Path::new("some.toml");
    let settings = Layers::built_in().and_then(|mut layers| {
        layers.toml(file, path, &Origin::File(path.into()))?;
        environment::add(variables, &mut layers);
        overrides.add(&mut layers);
        load::settings(layers)
    });
    settings.map_err(|error| error.to_string())
}

/// The error message for the text of a file.
pub(super) fn refusal(file: &str) -> String {
    load(file, &[], &[]).expect_err(file)
}
