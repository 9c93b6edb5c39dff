//! Configuration, in three stages, each a type of its own:
//!
//! - as written (`raw`): every key may be missing, unknown ones are refused;
//! - merged (`layers`): `config/default.toml`, which is also the manual, then the file, the `environment`, the flags
//!   (`overrides`); each value remembers its [`Origin`];
//! - validated ([`Settings`], by `check` and `templates`): nothing is missing any more, and every rule holds.
//!
//! The file system is read in one place, the environment is an argument, and what is wrong is reported all at once.

mod check;
mod docker;
mod environment;
mod error;
mod layers;
mod manual;
#[cfg(test)]
mod old_files;
mod overrides;
mod raw;
pub mod rules;
mod secret;
mod settings;
mod suggestion;
mod templates;
#[cfg(test)]
mod testing;
mod text;
mod value;
mod web_origin;

pub use environment::{ignored_variables, process_environment};
pub use error::{ConfigError, Origin, Problem};
pub use manual::MANUAL;
pub use overrides::Overrides;
pub use secret::Secret;
pub use settings::{
    BASE_TEMPLATE, DockerSettings, HttpSettings, LifecycleSettings, LogFormat, LogSettings, Login, Reach, RedisTls,
    Settings, StoreKind, StoreSettings, Template,
};
pub use web_origin::{WebOrigin, Written};
