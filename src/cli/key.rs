//! `sandglass key`: makes API keys.

use super::{args::KeyCommand, out};
use crate::{logging, random};

const HOW: &str = "start the server with it in SANDGLASS_HTTP__API_KEY, and clients with it in E2B_API_KEY; it is shown only \
                   once";

pub(super) fn key(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::New => {
            out::print(&format!("{}\n", new_key()))?;
            logging::say(format_args!("{HOW}"));
            Ok(())
        }
    }
}

/// A random key of 160 bits, in the form that E2B's SDKs insist on.
fn new_key() -> String {
    format!("e2b_{:032x}{:08x}", random::number::<u128>(), random::number::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_that_every_sdk_takes_and_is_new_each_time() {
        let key = new_key();
        let digits = key.strip_prefix("e2b_").unwrap();
        assert_eq!(digits.len(), 40);
        assert!(digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{key}");
        assert_ne!(new_key(), key);
    }
}
