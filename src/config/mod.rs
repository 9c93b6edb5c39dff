//! Configuration in three stages: as written, merged, validated ([`Settings`]).

pub mod rules;
mod secret;
mod settings;

pub use secret::Secret;
pub use settings::{
    BASE_TEMPLATE, DockerSettings, HttpSettings, LifecycleSettings, LogFormat, LogSettings, Settings, StoreKind,
    StoreSettings, Template,
};
