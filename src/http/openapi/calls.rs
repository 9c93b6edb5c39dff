//! The parts that calls have in common: ids, parameters, errors, keys.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    domain::{ID_PATTERN, Status},
    http::{auth, page, query::Wait},
};

/// Completes every call of `document`. `keyed` is whether this instance has an API key.
pub(super) fn complete(document: &mut Value, keyed: bool) {
    inline_numbers(document);
    // The server is relative to this document, so that it is right behind a proxy.
    document["servers"] = json!([{ "url": "." }]);
    let schemas = document["components"]["schemas"].clone();
    for (path, calls) in entries(&mut document["paths"]) {
        for (method, call) in entries(calls) {
            if let Some(parameters) = call.get_mut("parameters").and_then(Value::as_array_mut) {
                parameters.iter_mut().for_each(complete_parameter);
            }
            complete_body(call, &schemas);
            complete_refusals(call, path, method, keyed);
            // Without a key there is no security scheme; with one, every other call needs it.
            if let Some(call) = call.as_object_mut() {
                call.remove("security");
                if keyed && is_open(path) {
                    call.insert("security".to_owned(), json!([]));
                }
            }
        }
    }
    if keyed {
        document["security"] = json!([{ "bearer": [] }, { "api_key": [] }]);
        document["components"]["securitySchemes"] = json!({
            "bearer": { "type": "http", "scheme": "bearer" },
            "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
        });
    }
}

/// The rule for ids, as a schema.
pub(super) fn id_schema() -> Value {
    json!({ "type": "string", "pattern": ID_PATTERN, "minLength": 1, "maxLength": 63 })
}

/// Whether a call needs no key; the files of pages need none.
fn is_open(path: &str) -> bool {
    auth::is_open(path) || path.starts_with("/page/")
}

fn entries(object: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    object.as_object_mut().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Replaces references to numbers by the numbers, since many generators do not understand such references.
fn inline_numbers(document: &mut Value) {
    fn inline(value: &mut Value) {
        if value["$ref"] == "#/components/schemas/f64" {
            let description = value.get("description").cloned();
            *value = json!({ "type": "number", "format": "double" });
            if let Some(description) = description {
                value["description"] = description;
            }
            return;
        }
        match value {
            Value::Object(object) => object.values_mut().for_each(inline),
            Value::Array(array) => array.iter_mut().for_each(inline),
            _ => {}
        }
        inline_nullable(value);
    }

    /// Merges "a number or null" into one schema.
    fn inline_nullable(value: &mut Value) {
        let Some([number, null]) = value["oneOf"].as_array().map(Vec::as_slice) else { return };
        if number["type"] == "number" && null["type"] == "null" {
            let mut number = number.clone();
            number["type"] = json!(["number", "null"]);
            *value = number;
        }
    }

    inline(document);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.remove("f64");
    }
}

/// The schema of a duration from `least` to `most`: a number of seconds, or a text with units. The pattern covers the usual
/// texts that are certainly within the bounds; more are accepted.
pub(super) fn duration_schema(least: Duration, most: Duration) -> Value {
    // The smaller units add up to less than one of the largest, so the digits of the largest decide.
    let units = [
        ("d", 86_400_000, "( ?1?[0-9]h)?( ?[1-5]?[0-9]m)?"),
        ("h", 3_600_000, "( ?[1-5]?[0-9]m)?"),
        ("m", 60_000, "( ?[1-5]?[0-9]s)?"),
        ("s", 1000, ""),
        ("ms", 1, ""),
    ];
    let texts = units.iter().filter_map(|(unit, milliseconds, below)| {
        let more = (most.as_millis() / milliseconds).checked_ilog10().filter(|digits| *digits > 0)? - 1;
        Some(format!("[1-9][0-9]{{0,{more}}}{unit}{below}"))
    });
    let texts: Vec<_> = texts.collect();
    let mut schema = json!({ "type": ["number"], "minimum": least.as_secs_f64(), "maximum": most.as_secs_f64() });
    if !texts.is_empty() {
        schema["type"] = json!(["number", "string"]);
        schema["pattern"] = json!(format!("^({})$", texts.join("|")));
    }
    schema
}

/// The parameters that several calls have.
fn complete_parameter(parameter: &mut Value) {
    let in_query = parameter["in"] == "query";
    let schema = match parameter["name"].as_str().unwrap_or_default() {
        "id" if in_query => json!({ "type": "array", "items": id_schema() }),
        "id" | "cursor" | "hold" | "command" => id_schema(),
        "wait" if parameter["schema"]["maximum"].is_number() => duration_schema(Wait::LEAST, Wait::MOST),
        "name" => json!({ "type": "string", "enum": page::names().collect::<Vec<_>>() }),
        "status" => {
            let words: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).chain(["all"]).collect();
            json!({ "type": "array", "items": { "type": "string", "enum": words } })
        }
        // Clients choose a part of its name, which an exploded object can express.
        "metadata" => json!({
            "type": "object",
            "propertyNames": { "pattern": r"^metadata\.[\s\S]" },
            "additionalProperties": { "type": "string" },
            "example": { "metadata.team": "blue" },
        }),
        _ => return,
    };
    if matches!(schema["type"].as_str(), Some("array" | "object")) {
        parameter["style"] = json!("form");
        parameter["explode"] = json!(true);
    }
    parameter["schema"] = schema;
}

/// A body without required fields can be left out.
fn complete_body(call: &mut Value, schemas: &Value) {
    let Some(body) = call.get_mut("requestBody") else { return };
    let schema = body["content"]["application/json"]["schema"]["$ref"].as_str().unwrap_or_default();
    let name = schema.rsplit('/').next().unwrap_or_default();
    body["required"] = json!(schemas[name]["required"].as_array().is_some_and(|fields| !fields.is_empty()));
}

/// Adds the errors that every handler can answer with.
fn complete_refusals(call: &mut Value, path: &str, method: &str, keyed: bool) {
    let call_name = call["operationId"].as_str().unwrap_or_default().to_owned();
    let posts = matches!(&*call_name, "create_sandbox" | "hold") || path.contains("activity");
    let posts = posts || ["/keep-alive", "/heartbeat", "/pause", "/resume"].iter().any(|end| path.ends_with(end));
    let works = path.starts_with("/v1/");
    let in_sandbox = call["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "work"));
    let posts = posts || (in_sandbox && method == "post");
    // The end of a sandbox is the aim of this call.
    let needs_life = path.contains("{id}") && method != "get" && call_name != "delete_sandbox";
    let Some(responses) = call["responses"].as_object_mut() else { return };
    let mut add = |status: &str, description: &str| add_refusal(responses, status, description);
    add("403", "`cross_origin`");
    if keyed && path == "/page/{name}" {
        add("401", "`unauthorized`: without a key, only what is there is told of");
    } else if keyed && !is_open(path) {
        add("401", "`unauthorized`");
    }
    if works {
        let bad_id = if path.contains("{id}") { "`invalid_id`, " } else { "" };
        add("400", &format!("{bad_id}`invalid_request`"));
        add("500", "`internal`");
        add("503", "`store_unavailable`, `runtime_unavailable`, `standby`, `starting`, `stopping`");
    }
    if path.contains("{id}") {
        add("404", "`not_found`");
    }
    if in_sandbox {
        add("409", "`paused`, `inactive`, `wrong_state`, `terminating`");
        // A log is kept with what is told of a sandbox that has ended.
        if call_name != "logs" {
            add("410", "`gone`");
        }
        add("501", "`no_agent`: no work can be done in it; the message says why");
        add("502", "`runtime_failed`");
    }
    if needs_life {
        add("409", "`terminating`");
        add("410", "`gone`");
    }
    if posts {
        add("413", "`too_large`");
    }
}

fn add_refusal(responses: &mut Map<String, Value>, status: &str, description: &str) {
    responses.entry(status).or_insert_with(|| {
        let schema = json!({ "$ref": "#/components/schemas/Error" });
        json!({ "description": description, "content": { "application/json": { "schema": schema } } })
    });
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;
    use crate::domain::leaf::{Leaf, Timeout};

    proptest::proptest! {
        #[test]
        fn every_text_that_the_specification_allows_is_a_duration_within_its_bounds(
            (most, text) in (10_u64..4_000_000_000).prop_flat_map(|most| {
                let schema = duration_schema(Timeout::LEAST, Duration::from_millis(most));
                (Just(most), string_regex(schema["pattern"].as_str().unwrap().trim_matches(['^', '$'])).unwrap())
            }),
        ) {
            let duration = Timeout::parse(&text).map_err(TestCaseError::fail)?.plain();
            proptest::prop_assert!(duration <= Duration::from_millis(most), "{text} with {most} ms");
        }
    }

    #[test]
    fn the_usual_texts_are_in_the_specification() {
        let pattern =
            |milliseconds| duration_schema(Timeout::LEAST, Duration::from_millis(milliseconds))["pattern"].clone();
        assert!(pattern(9).is_null());
        let of_a_wait = "^([1-9][0-9]{0,0}m( ?[1-5]?[0-9]s)?|[1-9][0-9]{0,1}s|[1-9][0-9]{0,4}ms)$";
        assert_eq!(pattern(600_000), of_a_wait);
    }
}
