//! The messages of readers.

use std::collections::BTreeMap;

use actix_web::web::Data;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    messages::Message,
    session::{Frame, StreamSession},
};
use crate::{
    domain::{ActivitySource, SandboxId},
    http::{
        activity::{batch_results, ping_each},
        body::parse,
        error::ApiError,
        query::add_status,
    },
    sandboxes::{Filter, Sandboxes},
};

/// The type of a message, which is read first and decides how the rest is read. An enum with an internal tag would lose the
/// path of a wrong field.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Tagged {
    r#type: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Ping,
    Subscribe,
}

/// A ping of one sandbox or many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    id: Option<String>,
    ids: Option<Vec<String>>,
}

/// Another filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    statuses: Vec<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// A valid message.
enum Asked {
    Ping(Vec<String>),
    Subscribe(Filter),
}

/// Handles a message. Returns the answer, if it has one.
pub(super) async fn answer(session: &mut StreamSession, text: &str) -> Option<Frame> {
    // A stop waits for this as for a request.
    let sandboxes = session.sandboxes().clone();
    let _in_flight = sandboxes.in_flight().token();
    match do_as_asked(session, &sandboxes, text).await {
        Ok(told) => told,
        Err(error) => Some(Frame::of(&Message::Error { error: error.body() }, None)),
    }
}

async fn do_as_asked(
    session: &mut StreamSession,
    sandboxes: &Data<Sandboxes>,
    text: &str,
) -> Result<Option<Frame>, ApiError> {
    match read(text)? {
        Asked::Ping(ids) => {
            let outcomes = ping_each(sandboxes, &ids, ActivitySource::Stream).await?;
            Ok(Some(Frame::of(&Message::Pong { results: batch_results(&ids, &outcomes) }, None)))
        }
        Asked::Subscribe(filter) => {
            session.change_filter(filter);
            Ok(None)
        }
    }
}

fn read(text: &str) -> Result<Asked, ApiError> {
    let text = text.as_bytes();
    match parse::<Tagged>(text)?.r#type {
        Kind::Ping => match parse(text)? {
            Ping { id: Some(id), ids: None, .. } => Ok(Asked::Ping(vec![id])),
            Ping { id: None, ids: Some(ids), .. } => Ok(Asked::Ping(ids)),
            Ping { .. } => Err(ApiError::field("id", "a ping has either id or ids")),
        },
        Kind::Subscribe => {
            let Subscribe { ids, statuses, metadata, .. } = parse(text)?;
            filter(&ids, &statuses, metadata).map(Asked::Subscribe)
        }
    }
}

fn filter(ids: &[String], statuses: &[String], metadata: BTreeMap<String, String>) -> Result<Filter, ApiError> {
    let mut filter = Filter { metadata: metadata.into_iter().collect(), ..Filter::default() };
    for id in ids {
        filter.ids.insert(SandboxId::parse(id).map_err(|invalid| ApiError::id(Some("ids"), &invalid))?);
    }
    statuses.iter().try_for_each(|word| add_status(&mut filter, "statuses", word))?;
    Ok(filter)
}

#[cfg(test)]
#[path = "../../../tests/support/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{mutations::mutated, *};

    fn corpus() -> Vec<Vec<u8>> {
        let lines = include_str!("../../../tests/fixtures/fuzz/upstream.jsonl").lines();
        lines.map(|line| line.as_bytes().to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn a_message_is_understood_or_refused_by_the_field_that_is_wrong(bytes in mutated(corpus())) {
            let text = String::from_utf8_lossy(&bytes);
            if let Err(error) = read(&text) {
                let error = serde_json::to_value(error.body()).expect("JSON");
                prop_assert!(["invalid_request", "invalid_id"].contains(&error["code"].as_str().expect("a code")));
                let is_object = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object());
                prop_assert!(error["details"]["field"].is_string() || !is_object, "{}: {}", text, error);
            }
        }
    }
}
