//! Configuration, in three stages:
//!
//! - `layers` collects the values of `config/default.toml`, the file, the `environment` and the flags (`overrides`), each
//!   with its [`Origin`];
//! - `settings::Sections` is read from the merged layers by types that check each value (`leaf`, [`crate::domain::leaf`]);
//! - [`Settings`] also follows the rules that concern more than one value (`check`), and its templates have their fallbacks
//!   (`fallback`).
//!
//! All problems are reported at once.
//!
//! # Adding a setting
//!
//! A setting is a field of its section in `settings`, with the leaf that reads and checks it, and a key in
//! `config/default.toml` with its meaning, range and default. A rule that concerns other settings, too, goes into `check`. A
//! key of templates is a field of `templates::TemplateKeys`, and its fallback goes into `fallback`.

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
    DockerSettings, Firewall, HttpSettings, LifecycleSettings, LogFormat, LogSettings, Login, Reach, RedisTls,
    Registry, SandboxSettings, Settings, StoreKind, StoreSettings,
};
pub use templates::{BASE_TEMPLATE, Template};
pub use web_origin::{WebOrigin, Written};
