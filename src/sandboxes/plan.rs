//! The rules for a create, and its conversion into a start.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    actor::RequestError,
    config::{BASE_TEMPLATE, Settings, Template},
    domain::{
        OnTimeout, SandboxId,
        egress::{Egress, Network, Ranges},
        json,
        leaf::{EnvName, ImageRef, Leaf, Ports, Text, Timeout, checked, object_or_null},
        name::container_name,
        record::UserId,
        sandbox::{RawFields, RuleClock, Rules, Spelling},
        snapshot::Snapshot,
        spec::{Asked, Limits, Readiness, StartSpec},
    },
    ports::runtime::{Labels, Start},
};

/// How many ports a request may ask for.
pub const MAX_PORTS: usize = 64;
/// Metadata is part of every list.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// A request for a sandbox, as clients send it in JSON. Fields that are `None` come from the template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
pub struct Create {
    /// The client's own id; makes the request idempotent.
    pub id: Option<SandboxId>,
    /// The template's name.
    pub template: Option<String>,
    /// Another image than the template's.
    pub image: Option<ImageRef>,
    /// Another command.
    pub command: Option<Vec<Text>>,
    /// Environment variables, added to the template's; they replace those of the same name.
    #[serde(deserialize_with = "null_is_none_of_them")]
    pub env: BTreeMap<EnvName, Text>,
    /// Other ports.
    pub ports: Option<Ports>,
    /// Tighter limits.
    #[serde(deserialize_with = "object_or_null")]
    pub limits: Option<Limits>,
    /// The idle timeout; `Some(None)` is none at all, which JSON spells as `null`.
    #[serde(deserialize_with = "null_is_a_value")]
    pub idle_timeout: Option<Option<Duration>>,
    /// The active timeout.
    #[serde(deserialize_with = "checked::<Option<Timeout>, _>")]
    pub timeout: Option<Duration>,
    /// Rules for what it may reach, beside its template's.
    #[serde(deserialize_with = "object_or_null")]
    pub egress: Option<Ranges>,
    /// What the end of the active timeout does.
    pub on_timeout: Option<OnTimeout>,
    /// Whether work in it while it is paused resumes it first.
    pub wake: Option<bool>,
    /// Returned with the sandbox.
    #[serde(deserialize_with = "null_is_none_of_them")]
    pub metadata: RawFields,
    /// The reference system's name for a template.
    pub shell_type: Option<String>,
    /// The owner's identifier.
    pub user_id: Option<UserId>,
    /// The owner's name.
    pub user_name: Option<String>,
    /// Kept for the reference system.
    pub executor_namespace: Option<String>,
    /// The snapshot whose files it begins with, instead of those of an image.
    #[serde(skip)]
    pub snapshot: Option<Snapshot>,
    /// Whether the idle timeout of the `lifecycle` section does not count, but only one that the template itself has. It
    /// needs no permission, because the end of the active timeout then has to end or pause the sandbox.
    #[serde(skip)]
    pub without_default_idle: bool,
    /// Whether its client is not told the id before the answer, although there is one.
    #[serde(skip)]
    pub unannounced: bool,
    /// Whether its ports answer requests without its token.
    #[serde(skip)]
    pub public_traffic: bool,
    /// The `Host` that its ports see in requests.
    #[serde(skip)]
    pub mask_request_host: Option<String>,
}

fn null_is_none_of_them<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn null_is_a_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Duration>>, D::Error> {
    checked::<Option<Timeout>, _>(deserializer).map(Some)
}

impl Create {
    /// What is asked for, or was of the sandbox whose files it begins with.
    fn asked(&self) -> Asked {
        let before = self.snapshot.as_ref().map(|snapshot| snapshot.asked.clone()).unwrap_or_default();
        let limits = self.limits.unwrap_or_default();
        Asked {
            limits: Limits {
                cpus: limits.cpus.or(before.limits.cpus),
                memory_mb: limits.memory_mb.or(before.limits.memory_mb),
                pids: limits.pids.or(before.limits.pids),
            },
            ports: self.ports.clone().plain().or(before.ports),
        }
    }

    /// Whether only the answer tells the client which sandbox it has made.
    pub fn is_unannounced(&self) -> bool {
        self.id.is_none() || self.unannounced
    }

    /// Checks the request and returns the start of a container for `id` and the rules of the sandbox's life. The label with
    /// the time of the create is still missing.
    pub(super) fn plan(&self, id: &SandboxId, settings: &Settings) -> Result<(Start, Rules), RequestError> {
        let (name, template) = template_of(self, settings)?;
        check_metadata(&self.metadata)?;
        self.user_id.as_ref().map_or(Ok(()), |UserId(raw)| check_readable("user_id", raw))?;
        let spec = StartSpec {
            image: image_of(self, template, settings)?,
            command: command_of(self, template)?,
            env: template.start.env.clone().into_iter().chain(self.env.clone().plain()).collect(),
            ports: ports_of(self, template)?,
            limits: limits_of(self, template, settings)?,
            egress: egress_of(self, name, template)?,
            ..template.start.clone()
        };
        if let Some(port) = spec.unpublished_probe() {
            let rule = format!("must have {port}, which the template's readiness asks");
            return Err(RequestError::invalid("ports", rule));
        }
        let active_timeout = match self.timeout {
            Some(timeout) => bounded("timeout", timeout, settings)?,
            None => template.rules.active_timeout(),
        };
        let asked = Spelling::new(self.on_timeout)
            .with(RuleClock::Active, active_timeout)
            .with(RuleClock::Idle, idle_timeout_of(self, template, settings)?);
        let rules = asked.or(&template.rules);
        let labels = Labels {
            created_at: None,
            template: Some(name.to_owned()),
            rules: rules.spelling(),
            readiness: Some(spec.readiness.clone()).filter(|readiness| *readiness != Readiness::Started),
            ready_timeout: Some(spec.ready_timeout),
            wake: self.wake,
            public_traffic: self.public_traffic,
            mask_request_host: self.mask_request_host.clone(),
            asked: self.asked(),
            network: Some(spec.network.clone()),
            egress: spec.egress.clone(),
        };
        Ok((Start { id: id.clone(), name: container_name(&settings.store.prefix, id), spec, labels }, rules))
    }
}

/// Checks a timeout against the bounds for requests.
pub(super) fn bounded(field: &str, timeout: Duration, settings: &Settings) -> Result<Duration, RequestError> {
    if timeout < Timeout::LEAST {
        return Err(RequestError::invalid(field, format!("at least {} s", Timeout::LEAST.as_secs_f64())));
    }
    let most = settings.lifecycle.max_timeout;
    if timeout > most {
        let rule = format!("at most {} s (lifecycle.max_timeout), not {}", most.as_secs_f64(), timeout.as_secs_f64());
        return Err(RequestError::invalid(field, rule));
    }
    Ok(timeout)
}

/// Returns the template that a request names by either field.
pub(super) fn template_of<'a>(
    request: &'a Create,
    settings: &'a Settings,
) -> Result<(&'a str, &'a Template), RequestError> {
    let named = |field: &str, name: &'a str| {
        let template = settings.templates.get(name).ok_or_else(|| {
            let known: Vec<_> = settings.templates.keys().map(String::as_str).collect();
            RequestError::invalid(field, format!("there is no template {name:?}, only {}", known.join(", ")))
        })?;
        Ok((name, template))
    };
    // A wrong name is refused even if the other field wins.
    let by_shell_type = request.shell_type.as_deref().map(|name| named("shell_type", name)).transpose()?;
    match (&request.template, by_shell_type) {
        (Some(name), _) => named("template", name),
        (None, Some(found)) => Ok(found),
        (None, None) => named("template", BASE_TEMPLATE),
    }
}

fn check_metadata(metadata: &RawFields) -> Result<(), RequestError> {
    let bytes: usize = metadata.iter().map(|(name, raw)| name.len() + raw.get().len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(RequestError::invalid("metadata", format!("at most {MAX_METADATA_BYTES} bytes, not {bytes}")));
    }
    metadata.iter().try_for_each(|(name, raw)| check_readable(&format!("metadata.{name}"), raw))
}

/// Raw JSON is part of answers to other clients, who have to be able to read it.
fn check_readable(field: &str, raw: &RawValue) -> Result<(), RequestError> {
    json::check(raw).map_err(|unreadable| RequestError::invalid(unreadable.path_below(field), unreadable.problem))
}

fn image_of(request: &Create, template: &Template, settings: &Settings) -> Result<String, RequestError> {
    if let Some(snapshot) = &request.snapshot {
        return Ok(snapshot.image());
    }
    let Some(image) = &request.image else { return Ok(template.start.image.clone()) };
    if !settings.allows_image(image.as_str()) {
        let rule = format!("{:?} is not among docker.allowed_images", image.as_str());
        return Err(RequestError::invalid("image", rule));
    }
    Ok(image.as_str().to_owned())
}

fn command_of(request: &Create, template: &Template) -> Result<Option<Vec<String>>, RequestError> {
    match request.command.clone().plain() {
        // A snapshot has the command of its sandbox.
        None if request.snapshot.is_some() => Ok(None),
        // The template's command belongs to the template's image.
        None if request.image.as_ref().is_some_and(|image| image.as_str() != template.start.image) => Ok(None),
        None => Ok(template.start.command.clone()),
        Some(command) if command.is_empty() => Err(RequestError::invalid("command", "at least the program's name")),
        command => Ok(command),
    }
}

fn ports_of(request: &Create, template: &Template) -> Result<Vec<u16>, RequestError> {
    let Some(ports) = request.asked().ports else { return Ok(template.start.ports.clone()) };
    if ports.len() > MAX_PORTS {
        return Err(RequestError::invalid("ports", format!("at most {MAX_PORTS}, not {}", ports.len())));
    }
    Ok(ports)
}

/// Rules that nobody would keep are refused.
fn egress_of(request: &Create, name: &str, template: &Template) -> Result<Egress, RequestError> {
    let asked = request.egress.clone().unwrap_or_default();
    let network = &template.start.network;
    if !asked.is_empty() && *network != Network::Isolated {
        let rule = format!(
            "is for sandboxes on an isolated network, and those of template {name} are on {network:?}: set \
             templates.{name}.network or docker.network to \"isolated\"",
            network = network.as_str(),
        );
        return Err(RequestError::invalid("egress", rule));
    }
    Ok(Egress { request: asked, ..template.start.egress.clone() })
}

fn limits_of(request: &Create, template: &Template, settings: &Settings) -> Result<Limits, RequestError> {
    let (asked, own, most) = (request.limits.unwrap_or_default(), template.start.limits, settings.sandboxes.max_limits);
    let before = request.snapshot.as_ref().map(|snapshot| snapshot.asked.limits).unwrap_or_default();
    Ok(Limits {
        cpus: within("limits.cpus", asked.cpus, as_before(before.cpus, own.cpus, most.cpus), most.cpus)?,
        memory_mb: within(
            "limits.memory_mb",
            asked.memory_mb,
            as_before(before.memory_mb, own.memory_mb, most.memory_mb),
            most.memory_mb,
        )?,
        pids: within("limits.pids", asked.pids, as_before(before.pids, own.pids, most.pids), most.pids)?,
    })
}

/// The limit of the sandbox whose files it begins with, as far as the template's allows that today.
fn as_before<T: PartialOrd + Copy + std::fmt::Display>(
    before: Option<T>,
    own: Option<T>,
    most: Option<T>,
) -> Option<T> {
    within("limits", before, own, most).unwrap_or(own)
}

/// A request can tighten its template's limit, and loosen it only as far as the configuration says
/// ([design: hardening](crate::design::engine::hardening)).
fn within<T: PartialOrd + Copy + std::fmt::Display>(
    field: &str,
    asked: Option<T>,
    own: Option<T>,
    most: Option<T>,
) -> Result<Option<T>, RequestError> {
    let (Some(value), Some(own)) = (asked, own) else { return Ok(asked.or(own)) };
    match most.filter(|most| *most > own).unwrap_or(own) {
        bound if value <= bound => Ok(Some(value)),
        bound => Err(RequestError::invalid(field, format!("at most {bound}, not {value}"))),
    }
}

fn idle_timeout_of(
    request: &Create,
    template: &Template,
    settings: &Settings,
) -> Result<Option<Duration>, RequestError> {
    let Some(asked) = request.idle_timeout else {
        let on_timeout = request.on_timeout.unwrap_or(template.rules.on_timeout());
        let own = request.without_default_idle && on_timeout != OnTimeout::Deactivate;
        return Ok(template.rules.after(RuleClock::Idle).filter(|_| !own || template.own_idle_timeout));
    };
    if !settings.lifecycle.allows_idle_timeout(asked) {
        let rule = "null is allowed only by lifecycle.allow_no_idle_timeout";
        return Err(RequestError::invalid("idle_timeout", rule));
    }
    asked.map(|timeout| bounded("idle_timeout", timeout, settings)).transpose()
}
