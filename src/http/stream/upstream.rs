//! What readers say.

use std::collections::BTreeMap;

use actix_web::web::Data;
use serde::Deserialize;

use super::{
    messages::Message,
    teller::{Teller, Told},
};
use crate::{
    domain::{ActivitySource, SandboxId},
    http::{
        activity::{batch_results, ping_each},
        body::parse,
        error::ApiError,
        query::add_status,
    },
    supervisor::{Filter, Supervisor},
};

/// A message of a reader.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// Proof of use of one sandbox or many.
    Ping { id: Option<String>, ids: Option<Vec<String>> },
    /// Another filter.
    Subscribe {
        #[serde(default)]
        ids: Vec<String>,
        #[serde(default)]
        statuses: Vec<String>,
        #[serde(default)]
        metadata: BTreeMap<String, String>,
    },
}

/// Does what a reader asks for; the answer, if it has one of its own.
pub(super) async fn answer(teller: &mut Teller, text: &str) -> Option<Told> {
    // Whoever stops waits for this, as for a request.
    let supervisor = teller.supervisor().clone();
    let _in_flight = supervisor.in_flight().token();
    match do_as_asked(teller, &supervisor, text).await {
        Ok(told) => told,
        Err(error) => Some(Told::of(&Message::Error { error: error.body() }, None)),
    }
}

async fn do_as_asked(teller: &mut Teller, supervisor: &Data<Supervisor>, text: &str) -> Result<Option<Told>, ApiError> {
    match parse(text.as_bytes())? {
        Asked::Ping { id, ids } => {
            let ids = match (id, ids) {
                (Some(id), None) => vec![id],
                (None, Some(ids)) => ids,
                _ => return Err(ApiError::field("id", "a ping has either id or ids")),
            };
            let outcomes = ping_each(supervisor, &ids, ActivitySource::Stream).await?;
            Ok(Some(Told::of(&Message::Pong { results: batch_results(&ids, &outcomes) }, None)))
        }
        Asked::Subscribe { ids, statuses, metadata } => {
            teller.change_filter(filter(&ids, &statuses, metadata)?);
            Ok(None)
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
