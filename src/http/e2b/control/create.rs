//! Creates a sandbox.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::answers::SandboxAnswer;
use crate::{
    domain::{
        OnTimeout,
        leaf::{EnvName, Text},
        sandbox::RawFields,
    },
    http::{
        create::attended,
        e2b::{error::Refusal, extract::Body},
        json::json,
    },
    sandboxes::{Create, Created, Sandboxes},
};

/// How long a sandbox lives if the request does not say, by the version of the call.
const DEFAULT_TIMEOUT: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(300)];

/// A request for a sandbox.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct NewSandbox {
    #[serde(rename = "templateID")]
    template: String,
    timeout: Option<f64>,
    metadata: Option<BTreeMap<String, String>>,
    env_vars: Option<BTreeMap<EnvName, Text>>,
    auto_pause: Option<bool>,
}

pub(super) async fn create_v1(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(new): Body<NewSandbox>,
) -> Result<HttpResponse, Refusal> {
    create(&sandboxes, &request, new, DEFAULT_TIMEOUT[0]).await
}

pub(super) async fn create_v2(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(new): Body<NewSandbox>,
) -> Result<HttpResponse, Refusal> {
    create(&sandboxes, &request, new, DEFAULT_TIMEOUT[1]).await
}

async fn create(
    sandboxes: &Sandboxes,
    request: &HttpRequest,
    new: NewSandbox,
    default_timeout: Duration,
) -> Result<HttpResponse, Refusal> {
    let create = new.create(sandboxes, default_timeout)?;
    let created = attended(sandboxes, request, create, true).await.map_err(|error| Refusal::from(error).final_one())?;
    let (Created::New(sandbox) | Created::Pending(sandbox) | Created::Reused(sandbox)) = created;
    Ok(json(StatusCode::CREATED, &SandboxAnswer::of(&sandbox, sandboxes), 512))
}

impl NewSandbox {
    fn create(self, sandboxes: &Sandboxes, default_timeout: Duration) -> Result<Create, Refusal> {
        if !sandboxes.settings().templates.contains_key(&self.template) {
            let message = format!("there is no template {:?}", self.template);
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        }
        let on_timeout = if self.auto_pause == Some(true) { OnTimeout::Pause } else { OnTimeout::Terminate };
        Ok(Create {
            template: Some(self.template),
            timeout: Some(self.timeout.map_or(Ok(default_timeout), |seconds| timeout("timeout", seconds))?),
            on_timeout: Some(on_timeout),
            metadata: raw(self.metadata.unwrap_or_default()),
            env: self.env_vars.unwrap_or_default(),
            ..Create::default()
        })
    }
}

/// A timeout in seconds, which has to be more than 0.
pub(super) fn timeout(field: &str, seconds: f64) -> Result<Duration, Refusal> {
    let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
    timeout.ok_or_else(|| Refusal::field(field, format!("must be more than 0 seconds, not {seconds}")))
}

fn raw(metadata: BTreeMap<String, String>) -> RawFields {
    // A text always becomes JSON.
    let text = |text: String| to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned());
    metadata.into_iter().map(|(name, value)| (name, text(value))).collect()
}
