//! The rules for single values, as predicates with the sentence that error messages give. Requests are held to the same
//! ones as the configuration.

use tracing_subscriber::EnvFilter;

/// The rule for images.
pub const IMAGE_RULE: &str = "an image's reference: 1 to 255 letters, digits, '.', '_', '-', '/', ':' or '@', the first \
                              a letter or a digit";
/// The rule for names of environment variables.
pub const ENV_NAME_RULE: &str = "letters, digits and '_', the first not a digit";
/// The rule for values of environment variables and arguments of commands.
pub const TEXT_RULE: &str = "text without a NUL character";
/// The rules for names and values of environment variables, as regular expressions.
pub const ENV_NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// See [`TEXT_RULE`].
pub const TEXT_PATTERN: &str = r"^[^\u0000]*$";
/// The rule for ports.
pub const PORT_RULE: &str = "a port from 1 to 65535";
/// The rule for paths of mounts.
pub const PATH_RULE: &str = "an absolute path without '..'";
/// The rule for the path that an HTTP readiness check asks for.
pub const HTTP_PATH_RULE: &str = "a path that begins with '/' and has no spaces";
/// The rule for the names of templates.
pub const TEMPLATE_NAME_RULE: &str = "1 to 63 letters, digits, '_' or '-', the first a letter or a digit";
/// The rule for networks.
pub const NETWORK_RULE: &str =
    "a network's name: 1 to 128 letters, digits, '_', '.' or '-', the first a letter or a digit";
/// The rule for registries.
pub const REGISTRY_RULE: &str = "a registry as images name it, such as ghcr.io or registry.example.com:5000";
/// The rule for the store's prefix.
pub const PREFIX_RULE: &str = "1 to 128 letters, digits, '_', '.', ':' or '-', the first a letter or a digit";
/// The rule for API keys.
pub const API_KEY_RULE: &str = "one or more visible ASCII characters without spaces";

/// The rule for the level of logs.
pub const LEVEL_RULE: &str = "off, error, warn, info, debug or trace, or directives such as info,sandglass=debug";

/// Whether `text` is an image's reference. This keeps flags, spaces and control characters away from the engine, which
/// has the last word.
pub fn is_image(text: &str) -> bool {
    is_name(text, 255, b"._-/:@")
}

/// Whether `text` can name a template.
pub fn is_template_name(text: &str) -> bool {
    is_name(text, 63, b"_-")
}

/// Whether `text` can be the store's prefix.
pub fn is_prefix(text: &str) -> bool {
    is_name(text, 128, b"_.:-")
}

/// Whether `text` can name a network.
pub fn is_network(text: &str) -> bool {
    is_name(text, 128, b"_.-")
}

/// Whether `text` can name a registry.
pub fn is_registry(text: &str) -> bool {
    is_name(text, 255, b".-:")
}

/// Whether `text` can name an environment variable.
pub fn is_env_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether `text` can be an argument or a variable's value: C strings end at a NUL.
pub fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

/// The port that `number` stands for.
pub fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

/// Whether `text` is an absolute path, on the host or in a container, that does not climb.
pub fn is_absolute_path(text: &str) -> bool {
    text.starts_with('/') && is_text(text) && text.split('/').all(|part| part != "..")
}

/// Whether `text` is the path of an HTTP request.
pub fn is_http_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether `text` can be an API key: it has to travel in a header.
pub fn is_api_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether `text` is a level of logs or a list of directives. A word alone must be a level: the filter's own grammar takes
/// it for a module, so that a slip of the pen would silence everything.
pub fn is_level(text: &str) -> bool {
    let is_word = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    let plausible = |directive: &str| directive.contains(['=', '[']) || is_word(&directive.trim().to_ascii_lowercase());
    text.split(',').all(plausible) && EnvFilter::try_new(text).is_ok()
}

/// Whether `pattern`, in which each `*` stands for any characters or none, fits the whole of `text`.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| text.strip_prefix(head)) else { return false };
    // The earliest place for each part leaves the most room for those after it; only the last is tied to the end.
    let Some(tail) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(start) => rest = &rest[start + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(tail)
}

fn is_name(text: &str, longest: usize, punctuation: &[u8]) -> bool {
    text.len() <= longest
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_text_or_not_at_all() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "busybox:stable"),
            ("busybox", "busybox"),
            ("busybox:*", "busybox:1.36"),
            ("*/tools:*", "ghcr.io/acme/tools:1"),
            ("a*b*c", "abbc"),
            ("a**c", "abc"),
        ] {
            assert!(matches_pattern(pattern, text), "{pattern} should fit {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("busybox", "busybox:1"),
            ("busybox:*", "xbusybox:1"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*x", "xy"),
        ] {
            assert!(!matches_pattern(pattern, text), "{pattern} should not fit {text}");
        }
    }

    #[test]
    fn what_could_be_taken_for_something_else_by_the_engine_is_refused() {
        for good in ["busybox:stable", "ghcr.io/a/b_c:1.2-x", "localhost:5000/a@sha256:0123"] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["", "-v", "a b", "a\n", "/a", "ä", &"a".repeat(256)] {
            assert!(!is_image(bad), "{bad:?}");
        }
        assert!(is_env_name("PATH") && is_env_name("_x1"));
        assert!(!is_env_name("") && !is_env_name("1A") && !is_env_name("A=B") && !is_env_name("A-B"));
        assert!(is_absolute_path("/srv/a..b") && is_absolute_path("/"));
        assert!(!is_absolute_path("srv") && !is_absolute_path("/srv/../etc") && !is_absolute_path("/a\0"));
        assert!(is_http_path("/health?deep=1") && !is_http_path("health") && !is_http_path("/a b"));
        assert_eq!((port(0), port(65535), port(65536), port(-1)), (None, Some(65535), None, None));
    }

    #[test]
    fn a_level_is_a_known_word_or_directives() {
        for good in ["info", "OFF", "info,sandglass=debug", "warn,sandglass[ping]=trace", "sandglass::actor=debug"] {
            assert!(is_level(good), "{good}");
        }
        for bad in ["", "inof", "info,", "debug sandglass", "sandglass=loud", "info,sandglass"] {
            assert!(!is_level(bad), "{bad:?}");
        }
    }
}
