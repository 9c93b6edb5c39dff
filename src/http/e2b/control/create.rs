//! Creates a sandbox.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::HeaderName},
    web::Data,
};
use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::{
    answers::SandboxAnswer,
    life::must_keep_memory,
    network::{Network, must_say_nothing},
    timeouts::{OLD, RECENT, positive},
};
use crate::{
    domain::{
        OnTimeout, SandboxId,
        leaf::{EnvName, Text},
        sandbox::RawFields,
        snapshot::Snapshot,
    },
    http::{
        create::attended,
        e2b::{access, error::Refusal, extract::Body},
        error::Code,
        json::json,
    },
    sandboxes::{Create, RequestError, RuntimeHealth, Sandboxes, ServingPhase},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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
    auto_pause_memory: Option<bool>,
    auto_resume: Option<AutoResume>,
    #[serde(rename = "allow_internet_access")]
    allow_internet_access: Option<bool>,
    network: Option<Network>,
    mcp: Option<Value>,
    iam: Option<Value>,
    volume_mounts: Option<Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct AutoResume {
    enabled: bool,
}

pub(super) async fn create_v1(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(new): Body<NewSandbox>,
) -> Result<HttpResponse, Refusal> {
    create(&sandboxes, &request, None, new, OLD).await
}

/// The same with an `Idempotency-Key`: a repeated request gets the sandbox that the first one made.
pub(super) async fn create_v2(
    sandboxes: Data<Sandboxes>,
    request: HttpRequest,
    Body(new): Body<NewSandbox>,
) -> Result<HttpResponse, Refusal> {
    let key = request.headers().get(IDEMPOTENCY_KEY).filter(|key| !key.is_empty());
    // A create with an id is idempotent. One that is derived from the key needs no memory, and survives a restart.
    let id = key.map(|key| access::id_for(&request, key.as_bytes()));
    let made_before = id.clone();
    create(&sandboxes, &request, id, new, RECENT).await.map_err(|refusal| match (made_before, refusal.status()) {
        // The client has never seen the id.
        (Some(id), StatusCode::CONFLICT) => Refusal::new(StatusCode::CONFLICT, used_before(&id, refusal.message())),
        _ => refusal,
    })
}

fn used_before(id: &SandboxId, why: &str) -> String {
    format!(
        "this Idempotency-Key was used before to create another sandbox, {id}: send another key to create a second one, or the \
         same request to get the first one again ({why})"
    )
}

async fn create(
    sandboxes: &Sandboxes,
    request: &HttpRequest,
    id: Option<SandboxId>,
    new: NewSandbox,
    default: Duration,
) -> Result<HttpResponse, Refusal> {
    // So far there is no container, and a client may repeat its call.
    must_be_possible(sandboxes)?;
    let origin = Origin::of(&new.template, sandboxes).await?;
    // The client does not know the id, and cannot end what it does not know.
    let create = Create { unannounced: id.is_some(), id, ..new.create(origin, default)? };
    let created = attended(sandboxes, request, create, true).await.map_err(|error| match error.code() {
        Code::RuntimeUnavailable | Code::Stopping => Refusal::from(error).final_one(),
        _ => error.into(),
    })?;
    Ok(json(StatusCode::CREATED, &SandboxAnswer::of(&created.into_sandbox(), sandboxes), 512))
}

fn must_be_possible(sandboxes: &Sandboxes) -> Result<(), Refusal> {
    let error = match (sandboxes.health().phase(), sandboxes.health().runtime()) {
        (ServingPhase::Standby, _) => RequestError::Standby,
        (ServingPhase::Starting, _) => RequestError::Starting,
        (ServingPhase::Stopping, _) => RequestError::Stopping,
        (ServingPhase::Ready, RuntimeHealth::Down { error, .. }) => RequestError::RuntimeUnavailable(error),
        (ServingPhase::Ready, _) => return Ok(()),
    };
    Err(Refusal::before_all(&error, &sandboxes.now()))
}

/// What a sandbox is made from: E2B calls both a template.
struct Origin {
    template: Option<String>,
    snapshot: Option<Snapshot>,
}

impl Origin {
    /// The template of this name, or else the snapshot of this id or name.
    async fn of(called: &str, sandboxes: &Sandboxes) -> Result<Self, Refusal> {
        if sandboxes.settings().templates.contains_key(called) {
            return Ok(Self { template: Some(called.to_owned()), snapshot: None });
        }
        let found = sandboxes.find_snapshot(called).await;
        let snapshot = found.map_err(|error| Refusal::of(&error, &sandboxes.now()))?;
        let message = || format!("there is no template and no snapshot {called:?}");
        let snapshot = snapshot.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, message()))?;
        Ok(Self { template: snapshot.template.clone(), snapshot: Some(snapshot) })
    }
}

impl NewSandbox {
    fn create(self, origin: Origin, default: Duration) -> Result<Create, Refusal> {
        must_keep_memory(self.auto_pause_memory)?;
        for (field, value) in [("mcp", &self.mcp), ("iam", &self.iam), ("volumeMounts", &self.volume_mounts)] {
            must_say_nothing(field, value.as_ref(), "Sandglass does not have it: leave it out")?;
        }
        let network = self.network.unwrap_or_default();
        network.check()?;
        let egress = network.ranges("network.", self.allow_internet_access)?;
        let pauses = self.auto_pause == Some(true);
        Ok(Create {
            template: origin.template,
            snapshot: origin.snapshot,
            timeout: Some(self.timeout.map_or(Ok(default), |seconds| positive("timeout", seconds))?),
            on_timeout: Some(if pauses { OnTimeout::Pause } else { OnTimeout::TerminateUnlessPaused }),
            without_default_idle: true,
            egress: Some(egress).filter(|egress| !egress.is_empty()),
            wake: self.auto_resume.map(|auto_resume| auto_resume.enabled),
            public_traffic: network.allow_public_traffic != Some(false),
            mask_request_host: network.mask_request_host,
            metadata: raw(self.metadata.unwrap_or_default()),
            env: self.env_vars.unwrap_or_default(),
            ..Create::default()
        })
    }
}

fn raw(metadata: BTreeMap<String, String>) -> RawFields {
    // A text always becomes JSON.
    let text = |text: String| to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned());
    metadata.into_iter().map(|(name, value)| (name, text(value))).collect()
}
