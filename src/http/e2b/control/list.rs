//! Lists sandboxes, page by page.

use std::cmp::Ordering;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web::Data,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE};

use super::answers::{ListedSandbox, state};
use crate::{
    domain::{EpochSeconds, Sandbox, Status},
    http::{
        e2b::{
            error::Refusal,
            query::{Query, page},
        },
        json::json,
    },
    sandboxes::{Filter, RequestError, Sandboxes, ServingPhase},
};

const TOTAL_RUNNING: HeaderName = HeaderName::from_static("x-total-running");
const STATES: [&str; 2] = ["running", "paused"];

/// The place of a sandbox in a list.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    started: EpochSeconds,
    id: String,
}

impl Place {
    fn of(sandbox: &Sandbox) -> Self {
        Self { started: sandbox.details.created_at, id: sandbox.id().to_string() }
    }

    /// Compares places from the oldest sandbox to the newest.
    fn compare(&self, other: &Self) -> Ordering {
        self.started.total_cmp(&other.started).then_with(|| self.id.cmp(&other.id))
    }

    fn token(&self) -> String {
        URL_SAFE.encode(format!("{} {}", self.started, self.id))
    }

    fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE.decode(token).ok()?).ok()?;
        let (started, id) = text.split_once(' ')?;
        Some(Self { started: started.parse().ok()?, id: id.to_owned() })
    }
}

/// Lists those that run, all of them.
pub(super) async fn list_v1(sandboxes: Data<Sandboxes>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let found = matching(&sandboxes, &Query::of(&request)?, true).await?;
    let running: Vec<_> = found.into_iter().filter(|sandbox| state(sandbox) == STATES[0]).collect();
    Ok(answer(&running, &sandboxes))
}

/// Lists those that run and those that are paused, the newest first.
pub(super) async fn list_v2(sandboxes: Data<Sandboxes>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let query = Query::of(&request)?;
    let states = states(&query)?;
    let newest_first = query.word("order", ["desc", "asc"])? == "desc";
    let limit = query.page()?;
    let after = query.text("nextToken").map(|token| {
        Place::from_token(token).ok_or_else(|| Refusal::field("nextToken", "must be the X-Next-Token of an answer"))
    });
    let after = after.transpose()?;
    let found = matching(&sandboxes, &query, newest_first).await?;
    let running = found.iter().filter(|sandbox| state(sandbox) == STATES[0]).count();
    let comes_later = |place: &Place| {
        let beyond = if newest_first { Ordering::Less } else { Ordering::Greater };
        after.as_ref().is_none_or(|after| place.compare(after) == beyond)
    };
    let wanted = |sandbox: &Sandbox| states.contains(&state(sandbox)) && comes_later(&Place::of(sandbox));
    let wanted = found.into_iter().filter(wanted).collect();
    let token = |sandbox: &Sandbox| Place::of(sandbox).token();
    let mut response = page(wanted, limit, token, |page| answer(page, &sandboxes));
    response.headers_mut().insert(TOTAL_RUNNING, HeaderValue::from(running));
    Ok(response)
}

/// The states that are asked for; all of them by default.
fn states(query: &Query) -> Result<Vec<&'static str>, Refusal> {
    let Some(text) = query.text("state") else { return Ok(STATES.to_vec()) };
    let known = |word: &str| STATES.into_iter().find(|state| *state == word);
    let rule = || Refusal::field("state", format!("must be running, paused, or both with a comma, not {text:?}"));
    text.split(',').map(|word| known(word).ok_or_else(rule)).collect()
}

/// All sandboxes that match, sorted by their age.
async fn matching(sandboxes: &Sandboxes, query: &Query, newest_first: bool) -> Result<Vec<Sandbox>, Refusal> {
    // A client that compares an incomplete list with its own would take missing sandboxes for gone.
    let unknown = match sandboxes.health().phase() {
        ServingPhase::Standby => Some(RequestError::Standby),
        ServingPhase::Starting => Some(RequestError::Starting),
        ServingPhase::Ready | ServingPhase::Stopping => None,
    };
    if let Some(error) = unknown {
        return Err(Refusal::before_all(&error, &sandboxes.now()));
    }
    let filter = Filter {
        statuses: vec![Status::Pending, Status::Running, Status::Paused],
        metadata: query.filter("metadata")?,
        ..Filter::default()
    };
    let (template, since) = (query.text("template"), query.time("startedAfter")?);
    let wanted = |sandbox: &Sandbox| {
        let details = &sandbox.details;
        let is_late = since.is_none_or(|since| details.created_at >= since);
        is_late && template.is_none_or(|template| details.template.as_deref() == Some(template))
    };
    let mut found = sandboxes.list(&filter, None, usize::MAX).await.sandboxes;
    found.retain(wanted);
    found.sort_by(|one, other| {
        let order = Place::of(one).compare(&Place::of(other));
        if newest_first { order.reverse() } else { order }
    });
    Ok(found)
}

fn answer(page: &[Sandbox], sandboxes: &Sandboxes) -> HttpResponse {
    let now = sandboxes.now();
    let listed: Vec<_> = page.iter().map(|sandbox| ListedSandbox::of(sandbox, sandboxes, &now)).collect();
    json(StatusCode::OK, &listed, 512 * (listed.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_back_its_place() {
        let place = Place { started: 1_795_441_217.506_918, id: "a.b-c_d".to_owned() };
        assert_eq!(Place::from_token(&place.token()), Some(place));
        for wrong in ["", "x", "!", "YWJj"] {
            assert_eq!(Place::from_token(wrong), None, "{wrong}");
        }
    }
}
