//! The layer of flags.

use super::{error::Origin, layers::Layers};

/// Values from flags, the highest layer. Later ones override earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(Vec<Override>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Override {
    key: String,
    value: String,
    flag: String,
}

impl Overrides {
    /// Sets `key`, for example `http.bind`, to `value`, which is read like a variable's. Error messages name `flag`, for
    /// example `--bind`, as the source.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>, flag: impl Into<String>) -> &mut Self {
        self.0.push(Override { key: key.into(), value: value.into(), flag: flag.into() });
        self
    }

    pub(super) fn add(self, layers: &mut Layers) {
        for Override { key, value, flag } in self.0 {
            let key: Vec<String> = key.split('.').map(str::to_owned).collect();
            layers.text(&key, &value, &Origin::Flag(flag));
        }
    }
}
