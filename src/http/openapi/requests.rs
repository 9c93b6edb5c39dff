//! The bounds of requests by the rules and this configuration.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::calls::{duration_schema, id_schema};
use crate::{
    config::{ImagePattern, Settings, Template},
    domain::{
        egress::{MOST_RANGES, Network},
        leaf::{Cpus, EnvName, MemoryMb, Pids, Text, Timeout},
        spec::Limits,
    },
    sandboxes::MAX_PORTS,
};

/// Narrows the requests in `document` to what an instance with `settings` accepts.
pub(super) fn narrow(document: &mut Value, settings: &Settings) {
    let schemas = &mut document["components"]["schemas"];
    let timeout = duration_schema(Timeout::LEAST, settings.lifecycle.max_timeout);
    let timeout_or_null = or_null(timeout.clone());
    with(&mut schemas["KeepAliveRequest"]["properties"]["timeout"], &timeout_or_null);
    with(&mut schemas["HoldBody"]["properties"]["ttl"], &timeout);
    narrow_limits(&mut schemas["Limits"]["properties"], settings);
    schemas["Sandbox"]["properties"]["sandbox_id"]["pattern"] = id_schema()["pattern"].clone();
    schemas["CreateRequest"] = create(settings, &timeout);
    narrow_ranges(schemas, settings);
    narrow_work(schemas);
}

/// What is asked of the inside of a sandbox.
fn narrow_work(schemas: &mut Value) {
    let text = json!({ "pattern": Text::PATTERN });
    let command = &mut schemas["CommandRequest"]["properties"];
    with(&mut command["timeout"], &or_null(duration_schema(Timeout::LEAST, Timeout::MOST)));
    with(&mut command["command"], &json!({ "minItems": 1 }));
    with(&mut command["command"]["items"], &text);
    with(&mut command["env"], &json!({ "propertyNames": { "type": "string", "pattern": EnvName::PATTERN } }));
    with(&mut command["env"]["additionalProperties"], &text);
    for name in ["shell", "cwd", "user"] {
        with(&mut command[name], &text);
    }
    for name in ["from", "to", "user"] {
        with(&mut schemas["MoveRequest"]["properties"][name], &text);
    }
    for name in ["cols", "rows"] {
        with(&mut schemas["TtySize"]["properties"][name], &json!({ "maximum": u16::MAX }));
    }
    let signals = Signal::iterator().map(Signal::as_str);
    let signals: Vec<_> = signals.flat_map(|name| [name, name.trim_start_matches("SIG")]).collect();
    with(&mut schemas["SignalRequest"]["properties"]["signal"], &json!({ "enum": signals }));
}

/// Ranges: an instance without isolated networks takes none in a create.
fn narrow_ranges(schemas: &mut Value, settings: &Settings) {
    let has_walls = |template: &Template| template.start.network == Network::Isolated;
    let most = if settings.templates.values().any(has_walls) { MOST_RANGES } else { 0 };
    for (name, most) in [("Ranges", most), ("EgressRequest", MOST_RANGES)] {
        for list in ["allow", "deny"] {
            let list = &mut schemas[name]["properties"][list];
            with(list, &json!({ "maxItems": most }));
            with(&mut list["items"], &json!({ "pattern": range_pattern() }));
        }
    }
}

/// Covers usual spellings; more are accepted.
fn range_pattern() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let four = format!(r"{byte}(\.{byte}){{3}}(/(3[0-2]|[12]?[0-9]))?");
    let six = "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?";
    format!("^({four}|{six}|::/0)$")
}

/// The schema of a create; a test compares its fields with those of `sandboxes::Create`.
fn create(settings: &Settings, timeout: &Value) -> Value {
    let described = |description: &str, mut schema: Value| {
        schema["description"] = description.into();
        schema
    };
    let reference = |name: &str, description: &str| {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}"), "description": description });
        json!({ "oneOf": [reference, { "type": "null" }] })
    };
    let duration = |allow_null: bool| {
        let mut schema = if allow_null { or_null(timeout.clone()) } else { timeout.clone() };
        schema["format"] = "double".into();
        schema
    };
    let (text, texts) = (json!({ "type": "string", "pattern": Text::PATTERN }), json!({ "type": ["string", "null"] }));
    let names: Vec<_> = settings.templates.keys().collect();
    let name = json!({ "oneOf": [{ "type": "string", "enum": names }, { "type": "null" }] });
    json!({
        "type": "object",
        "description": "What a new sandbox shall be. Everything that is left out comes from the template.",
        "additionalProperties": false,
        "properties": {
            "id": described(
                "An id of the client's own; it makes the request idempotent: an active sandbox under it is reused.",
                or_null(id_schema()),
            ),
            "template": described("The template's name; `base` when there is none.", name.clone()),
            "image": {
                "description": "Another image than the template's; the configuration has to allow it.",
                "type": ["string", "null"], "pattern": images(settings), "minLength": 1, "maxLength": 255,
            },
            "command": {
                "description": "Another command.",
                "type": ["array", "null"], "items": text, "minItems": 1,
            },
            "env": {
                "description": "Environment variables, beside and over the template's.",
                "type": ["object", "null"], "additionalProperties": text,
                "propertyNames": { "type": "string", "pattern": EnvName::PATTERN },
            },
            "ports": {
                "description": "Other TCP ports to publish.",
                "type": ["array", "null"], "uniqueItems": true, "maxItems": MAX_PORTS,
                "items": { "type": "integer", "minimum": 1, "maximum": u16::MAX },
            },
            "limits": reference("Limits", "Tighter limits."),
            "idle_timeout": described(
                "Seconds it may go unused, more than 0, or a duration such as \"1h 30m\"; null: for ever, where the \
                 configuration allows\nit.",
                duration(settings.lifecycle.allow_no_idle_timeout),
            ),
            "timeout": described(
                "Seconds it stays active, more than 0, or a duration such as \"30m\".",
                duration(true),
            ),
            "egress": reference("Ranges", "What it may reach, beside its template's rules."),
            "on_timeout": reference("OnTimeout", "What the end of the active timeout does."),
            "wake": {
                "description": "Whether work in it while it is paused resumes it first; when it is left out, as the template says.",
                "type": ["boolean", "null"],
            },
            "metadata": {
                "description": "To be remembered, and to be listed by.",
                "type": ["object", "null"],
            },
            "shell_type": described("The reference system's name for a template.", name),
            "user_id": { "description": "Its owner: a number or a text.", "type": ["string", "number", "null"] },
            "user_name": described("The owner's name.", texts.clone()),
            "executor_namespace": described("Kept for the reference system.", texts),
        },
    })
}

/// Sets the fields of `more` in `schema`.
fn with(schema: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        schema[name] = value.clone();
    }
}

fn or_null(mut schema: Value) -> Value {
    match &mut schema["type"] {
        Value::Array(types) => types.push("null".into()),
        one => *one = json!([one.take(), "null"]),
    }
    schema
}

/// The bounds are those of the most generous template, since each template has its own.
fn narrow_limits(limits: &mut Value, settings: &Settings) {
    let most = settings.sandboxes.max_limits;
    let bound = |of: fn(&Limits) -> Option<f64>| {
        let own = settings.templates.values().map(|template: &Template| of(&template.start.limits));
        let bounds: Option<Vec<f64>> = own.map(|own| Some(own?.max(of(&most).unwrap_or(0.0)))).collect();
        bounds.map(|bounds| bounds.into_iter().fold(0.0, f64::max))
    };
    let (least, highest) = Cpus::RANGE;
    let cpus = bound(|limits| limits.cpus).unwrap_or(highest);
    with(&mut limits["cpus"], &json!({ "minimum": least, "maximum": cpus }));
    for (name, (least, highest), bound) in [
        ("memory_mb", MemoryMb::RANGE, bound(|limits| limits.memory_mb.map(|mebibytes| mebibytes as f64))),
        ("pids", Pids::RANGE, bound(|limits| limits.pids.map(|processes| processes as f64))),
    ] {
        let most = bound.map_or(highest, |bound| bound as u64);
        with(&mut limits[name], &json!({ "minimum": least, "maximum": most }));
    }
}

/// The images that a request may name, as a pattern.
fn images(settings: &Settings) -> String {
    let own = settings.templates.values().map(|template| template.start.image.as_str());
    let allowed = settings.sandboxes.allowed_images.iter().map(ImagePattern::as_str).chain(own);
    let mut patterns: Vec<_> = allowed.map(image_pattern).collect();
    // A pattern that allows everything makes the others superfluous.
    if let Some(everything) = patterns.iter().find(|pattern| **pattern == image_pattern("*")) {
        patterns = vec![everything.clone()];
    }
    patterns.sort();
    patterns.dedup();
    format!("^({})$", patterns.join("|"))
}

/// Converts one pattern: `*` matches any characters that a reference may have there.
fn image_pattern(pattern: &str) -> String {
    let mut regex = String::new();
    for (at, letter) in pattern.chars().enumerate() {
        match letter {
            '*' if at == 0 => regex.push_str("[A-Za-z0-9][A-Za-z0-9._/:@-]*"),
            '*' => regex.push_str("[A-Za-z0-9._/:@-]*"),
            // These characters have no special meaning in regular expressions.
            _ if letter.is_alphanumeric() || "_-/:@".contains(letter) => regex.push(letter),
            _ => regex.extend(['\\', letter]),
        }
    }
    regex
}
