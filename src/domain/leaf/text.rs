//! Texts with a rule.

/// Declares a checked text: its name, its plain type, its rule for error messages, and the check.
macro_rules! text_leaf {
    ($($(#[$doc:meta])* $vis:vis $name:ident($plain:ty), $rule:expr, $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
        #[serde(try_from = "String")]
        $vis struct $name(String);

        impl $name {
            /// The rule, for error messages.
            $vis const RULE: &'static str = $rule;
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(Self::RULE) }
            }
        }

        impl $crate::domain::leaf::Leaf for $name {
            type Plain = $plain;

            fn plain(self) -> $plain {
                self.0.into()
            }
        }
    )+};
}

pub(crate) use text_leaf;

text_leaf! {
    /// An image's reference. The rule keeps flags, spaces and control characters away from the engine, which checks the
    /// rest.
    pub ImageRef(String),
    "must be an image's reference: 1 to 255 letters, digits, '.', '_', '-', '/', ':' or '@', the first a letter or a digit",
    |text| is_name(text, 255, b"._-/:@");

    /// The name of an environment variable.
    pub EnvName(String), "the name must be letters, digits and '_', the first not a digit", |text| {
        !text.is_empty()
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };

    /// An argument of a command, or the value of an environment variable: a C string, which ends at a NUL.
    pub Text(String), "must be text without a NUL character", |text| !text.contains('\0');

    /// An absolute path without `..`, on the host or in a container.
    pub AbsolutePath(String), "must be an absolute path without '..'", |text| {
        text.starts_with('/') && !text.contains('\0') && text.split('/').all(|part| part != "..")
    };

    /// The path of an HTTP request, with its query.
    pub HttpPath(String), "must be a path that begins with '/' and has no spaces", |text| {
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
}

impl EnvName {
    /// The rule as a regular expression.
    pub const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]*$";
}

impl Text {
    /// The rule as a regular expression.
    pub const PATTERN: &'static str = r"^[^\u0000]*$";
}

impl ImageRef {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` has 1 to `longest` letters, digits and characters of `punctuation`, and begins with a letter or a digit.
pub(crate) fn is_name(text: &str, longest: usize, punctuation: &[u8]) -> bool {
    text.len() <= longest
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_taken_for_something_else_by_the_engine_is_refused() {
        let is_image = |text: &str| ImageRef::try_from(text.to_owned()).is_ok();
        for good in ["busybox:stable", "ghcr.io/a/b_c:1.2-x", "localhost:5000/a@sha256:0123"] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["", "-v", "a b", "a\n", "/a", "ä", &"a".repeat(256)] {
            assert!(!is_image(bad), "{bad:?}");
        }
        let is_env_name = |text: &str| EnvName::try_from(text.to_owned()).is_ok();
        assert!(is_env_name("PATH") && is_env_name("_x1"));
        assert!(!is_env_name("") && !is_env_name("1A") && !is_env_name("A=B") && !is_env_name("A-B"));
        let is_absolute_path = |text: &str| AbsolutePath::try_from(text.to_owned()).is_ok();
        assert!(is_absolute_path("/srv/a..b") && is_absolute_path("/"));
        assert!(!is_absolute_path("srv") && !is_absolute_path("/srv/../etc") && !is_absolute_path("/a\0"));
        let is_http_path = |text: &str| HttpPath::try_from(text.to_owned()).is_ok();
        assert!(is_http_path("/health?deep=1") && !is_http_path("health") && !is_http_path("/a b"));
    }
}
