//! Configuration, in three stages:
//!
//! - the layers (`layers`): `config/default.toml`, which is also the manual, then the file, the `environment`, the flags
//!   (`overrides`); each value is read alone, and remembers its [`Origin`];
//! - merged (`settings::Written`): all sections together, read by types that check each value (`leaf`,
//!   [`crate::domain::leaf`]);
//! - settled ([`Settings`]): the rules that concern more than one value hold (`check`), and templates have what they fall
//!   back to (`fallback`).
//!
//! The file system is read in one place, the environment is an argument, and what is wrong is reported all at once.
//!
//! # Adding a setting
//!
//! A setting is a field of its section in `settings`, with the leaf that reads it, and a key in `config/default.toml` with
//! its meaning, range and default. A rule that concerns other settings too is a line in `check`. A key of templates is a
//! field of `templates::TemplateKeys`, and what it falls back to is a line in `fallback`.

mod check;
mod environment;
mod error;
mod fallback;
mod layers;
mod leaf;
mod load;
mod manual;
mod overrides;
mod refusal;
mod secret;
mod settings;
mod templates;
#[cfg(test)]
mod testing;
mod text;
mod value;
mod web_origin;

pub use environment::{ignored_variables, process_environment};
pub use error::{ConfigError, Origin, Problem};
pub use leaf::{ImagePattern, Level};
pub use manual::MANUAL;
pub use overrides::Overrides;
pub use secret::Secret;
pub use settings::{
    DockerSettings, HttpSettings, LifecycleSettings, LogFormat, LogSettings, Login, Reach, RedisTls, Registry,
    SandboxSettings, Settings, StoreKind, StoreSettings,
};
pub use templates::{BASE_TEMPLATE, Template};
pub use web_origin::{WebOrigin, Written};
