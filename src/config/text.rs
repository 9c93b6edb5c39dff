//! Values of environment variables and flags, which are given as text.

use toml::Value;

/// The possible meanings of `text`, of which the caller takes the first that fits its key: TOML such as `7200`, `true`,
/// `["a"]` or `{tcp = 80}`, then the text itself, then a list separated by commas, of TOML or of texts.
pub(super) fn readings(text: &str) -> Vec<Value> {
    let as_text = |text: &str| Value::String(text.to_owned());
    let as_toml = |text: &str| text.trim().parse::<Value>().ok();
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    as_toml(text)
        .into_iter()
        .chain([
            as_text(text),
            Value::Array(items().map(|item| as_toml(item).unwrap_or_else(|| as_text(item))).collect()),
            Value::Array(items().map(as_text).collect()),
        ])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_be_toml_itself_or_a_list() {
        let strings = |items: &[&str]| Value::Array(items.iter().map(|item| Value::String((*item).into())).collect());
        assert_eq!(readings("7200")[0], Value::Integer(7200));
        assert_eq!(readings("none")[0], Value::String("none".into()));
        assert_eq!(readings("\"7200\"")[0], Value::String("7200".into()));
        assert_eq!(readings("1\nb = 2")[0], Value::String("1\nb = 2".into()));
        assert!(readings("80, 443").contains(&Value::Array(vec![Value::Integer(80), Value::Integer(443)])));
        assert!(readings("sleep,60").contains(&strings(&["sleep", "60"])));
        assert!(readings("").contains(&strings(&[])));
    }
}
