//! Values that are given as text, by environment variables and flags: what such a text may stand for.

use toml::Value;

/// What `text` may stand for, the likeliest first; who knows the kind that is wanted takes the first that fits it. TOML
/// comes first, so `7200`, `true`, `["a"]` and `{tcp = 80}` are what they look like where that fits; then the text as it
/// is; then a list of what stands between its commas, each read as TOML or as text.
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
