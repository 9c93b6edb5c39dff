//! Labels, and whose a container is (design, 6.1 and 6.2).

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::ListContainersOptionsBuilder,
};

use super::{Docker, charge::Origin, error::CallError};
use crate::{
    domain::{OnTimeout, SandboxId, name::unprefixed, spec::Readiness},
    ports::runtime::{ContainerRef, Labels, Owner, Start, Stranger},
};

const PREFIX: &str = "sandglass.prefix";
const ID: &str = "sandglass.id";
/// The name of the container that the labels were given to. Images that are made of a container pass its labels on, and this
/// tells its copies from it. Earlier versions did not write it.
const CONTAINER: &str = "sandglass.container";
/// The id of the store whose supervisor made it, and how far the lock reached that this supervisor held.
const STORE: &str = "sandglass.store";
const DOMAIN: &str = "sandglass.domain";
const CREATED_AT: &str = "sandglass.created_at";
const TEMPLATE: &str = "sandglass.template";
const IDLE_TIMEOUT: &str = "sandglass.idle_timeout";
const ACTIVE_TIMEOUT: &str = "sandglass.active_timeout";
const PAUSED_TIMEOUT: &str = "sandglass.paused_timeout";
const HEARTBEAT_TIMEOUT: &str = "sandglass.heartbeat_timeout";
const ON_TIMEOUT: &str = "sandglass.on_timeout";
/// `tcp:PORT` or `http:PORT:PATH`; missing on one that is ready as soon as it runs.
const READY: &str = "sandglass.ready";
const READY_TIMEOUT: &str = "sandglass.ready_timeout";
/// The ports that are reached at the container's own address, joined by commas; none of one that publishes its ports.
pub(super) const PORTS: &str = "sandglass.ports";
/// Which of the ports `base_url` speaks of; the engine keeps ports in no order.
pub(super) const BASE_PORT: &str = "sandglass.base_port";

const NO_TIMEOUT: &str = "none";

/// The reference system's labels.
const REFERENCE_OWNER: (&str, &str) = ("owner", "executor_manager");
const REFERENCE_TASK: &str = "task_id";

/// The shortest id that Docker's own tools print. Anything shorter, or with other digits, may be a name.
const SHORT_ID: usize = 12;

/// What a look at one container found.
pub(super) enum Look {
    /// It is there and carries the labels.
    Ours(Box<ContainerInspectResponse>),
    /// It is there and is somebody else's.
    Foreign,
    /// The engine answered that there is none.
    Missing,
}

impl Docker {
    /// Looks at exactly the container `id` and compares its labels with what `container` claims.
    pub(super) async fn look(&self, id: &str, container: &ContainerRef) -> Result<Look, CallError> {
        match self.inspect_by_id(id).await? {
            None => Ok(Look::Missing),
            Some(found) if self.owns(&found, container) => Ok(Look::Ours(Box::new(found))),
            Some(_) => Ok(Look::Foreign),
        }
    }

    /// The ids that `container` may stand for: its own, else all that carry its labels under the right name, the likeliest
    /// first.
    pub(super) async fn candidates(&self, container: &ContainerRef) -> Result<Vec<String>, CallError> {
        match known_id(container) {
            Some(id) => Ok(vec![id.to_owned()]),
            None => self.labelled(container).await,
        }
    }

    /// The first candidate that is ours; [`Look::Foreign`] when only a foreign one is there.
    pub(super) async fn find(&self, container: &ContainerRef) -> Result<Look, CallError> {
        let mut found = Look::Missing;
        for id in self.candidates(container).await? {
            match self.look(&id, container).await? {
                Look::Missing => {}
                Look::Foreign => found = Look::Foreign,
                ours @ Look::Ours(_) => return Ok(ours),
            }
        }
        Ok(found)
    }

    /// The container `reference`, which is an id, or a name where nothing but its holder is asked for.
    pub(super) async fn inspect_by_id(&self, reference: &str) -> Result<Option<ContainerInspectResponse>, CallError> {
        match self.engine.call(|docker| async move { docker.inspect_container(reference, None).await }).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn labelled(&self, container: &ContainerRef) -> Result<Vec<String>, CallError> {
        let labels = self.proof(container).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut found = self.summaries(labels).await?;
        if found.len() > 1 && container.name.is_none() && container.owner != Owner::Sandglass {
            let (sandbox_id, count) = (&container.sandbox, found.len());
            tracing::warn!(%sandbox_id, count, "several containers carry these labels, and no record tells which is meant: left alone");
            return Ok(Vec::new());
        }
        found.retain(|summary| {
            let name = own_name(summary.names.as_deref().unwrap_or_default());
            summary.labels.as_ref().is_some_and(|labels| self.is_meant(container, name, labels))
        });
        found.sort_by_key(|summary| std::cmp::Reverse(likelihood(summary)));
        Ok(found.into_iter().filter_map(|summary| summary.id).collect())
    }

    /// The containers that carry all of these labels, whatever they are doing.
    pub(super) async fn summaries(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.call(|docker| async move { docker.list_containers(Some(options)).await }).await
    }

    /// The labels that make a container the one of `container`.
    fn proof(&self, container: &ContainerRef) -> [(&'static str, String); 2] {
        match &container.owner {
            Owner::Sandglass => {
                [(PREFIX, self.engine.settings.prefix.clone()), (ID, container.sandbox.as_str().to_owned())]
            }
            Owner::Reference { task_id } => {
                [(REFERENCE_OWNER.0, REFERENCE_OWNER.1.to_owned()), (REFERENCE_TASK, task_id.clone())]
            }
        }
    }

    /// Whether the container that was found is the one of `container`: by its labels, and by its id (the engine takes a name
    /// for an id, too), or where none is known by its name.
    pub(super) fn owns(&self, found: &ContainerInspectResponse, container: &ContainerRef) -> bool {
        let labels = labels_of(found);
        let meant = match known_id(container) {
            Some(id) => found.id.as_deref().is_some_and(|full| full.starts_with(id)),
            None => {
                let name = found.name.as_deref().unwrap_or_default().trim_start_matches('/');
                labels.is_some_and(|labels| self.is_meant(container, name, labels))
            }
        };
        meant && self.proof(container).iter().all(|(key, value)| labels.is_some_and(|all| all.get(*key) == Some(value)))
    }

    /// Whether a container of this name with these labels can be the one that `container` means without an id. One that
    /// another store's supervisor made has the same name when two share an engine and a prefix.
    fn is_meant(&self, container: &ContainerRef, name: &str, labels: &HashMap<String, String>) -> bool {
        match &container.name {
            Some(recorded) => name == recorded && !self.is_of_another_store(labels),
            None => self.stranger(container, name, labels).is_none(),
        }
    }

    /// Why a container of this name with these labels, which are those of `container`, is not ours.
    pub(super) fn stranger(
        &self,
        container: &ContainerRef,
        name: &str,
        labels: &HashMap<String, String>,
    ) -> Option<Stranger> {
        if container.owner != Owner::Sandglass {
            None
        } else if is_copied(name, labels, &container.sandbox) {
            Some(Stranger::Copy)
        } else {
            self.is_of_another_store(labels).then_some(Stranger::OfAnotherStore)
        }
    }

    /// Whether the supervisor of another store made it, and may live. One that this host's lock would exclude does not: its
    /// store was lost. Earlier versions did not tell the store.
    fn is_of_another_store(&self, labels: &HashMap<String, String>) -> bool {
        let Some(Origin { store, domain }) = self.engine.origin() else { return false };
        let told = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        told(STORE).is_some_and(|made_for| made_for != store) && (domain.is_none() || told(DOMAIN) != domain.as_deref())
    }

    /// The labels that containers of ours and of the reference system have in common, whatever their sandbox. An engine
    /// shows those that carry all of a filter's labels, so that each set needs a question of its own.
    pub(super) fn common_labels(&self) -> [Vec<String>; 2] {
        let (owner, value) = REFERENCE_OWNER;
        [
            vec![format!("{PREFIX}={}", self.engine.settings.prefix)],
            vec![format!("{owner}={value}"), REFERENCE_TASK.to_owned()],
        ]
    }

    /// Whose a container with these labels is; `None`: nobody's here, or of no sandbox that could exist.
    pub(super) fn claim(&self, container_id: &str, labels: &HashMap<String, String>) -> Option<ContainerRef> {
        let get = |key: &str| labels.get(key).map(String::as_str);
        let (name, owner) = if get(PREFIX) == Some(&self.engine.settings.prefix) {
            (get(ID), Owner::Sandglass)
        } else if get(REFERENCE_OWNER.0) == Some(REFERENCE_OWNER.1) {
            let task_id = get(REFERENCE_TASK)?;
            (Some(task_id), Owner::Reference { task_id: task_id.to_owned() })
        } else {
            return None;
        };
        let Some(sandbox) = name.and_then(|name| SandboxId::parse(name).ok()) else {
            tracing::debug!(container_id, ?name, "left a container out whose labels name no valid sandbox id");
            return None;
        };
        Some(ContainerRef { sandbox, container_id: Some(container_id.to_owned()), name: None, owner })
    }

    /// All labels of a new container.
    pub(super) fn labels(&self, start: &Start) -> HashMap<String, String> {
        let labels = &start.labels;
        let origin = self.engine.origin();
        let pairs = [
            (PREFIX, Some(self.engine.settings.prefix.clone())),
            (ID, Some(start.id.as_str().to_owned())),
            (CONTAINER, Some(start.name.clone())),
            (STORE, origin.as_ref().map(|origin| origin.store.clone())),
            (DOMAIN, origin.and_then(|origin| origin.domain)),
            (CREATED_AT, labels.created_at.map(|at| at.to_string())),
            (TEMPLATE, labels.template.clone()),
            (IDLE_TIMEOUT, labels.idle_timeout.map(|timeout| timeout.map_or(NO_TIMEOUT.to_owned(), seconds))),
            (ACTIVE_TIMEOUT, labels.active_timeout.map(seconds)),
            (PAUSED_TIMEOUT, labels.paused_timeout.map(seconds)),
            (HEARTBEAT_TIMEOUT, labels.heartbeat_timeout.map(seconds)),
            (ON_TIMEOUT, labels.on_timeout.map(|rule| rule.as_str().to_owned())),
            (READY, labels.readiness.as_ref().and_then(readiness_label)),
            (READY_TIMEOUT, labels.ready_timeout.map(seconds)),
            (PORTS, Some(self.engine.settings.ports.label(&start.spec.ports))),
            (BASE_PORT, start.spec.ports.first().map(u16::to_string)),
        ];
        // The image may be one that was made of a sandbox, and would fill the gaps with that one's labels.
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.unwrap_or_default())).collect()
    }
}

/// The id that `container` tells, if the engine can take it for nothing else.
fn known_id(container: &ContainerRef) -> Option<&str> {
    container.container_id.as_deref().filter(|id| is_id(id))
}

/// Whether these labels name another container than the one of this name, which carries them. Before they did, every
/// container was called after its sandbox alone.
fn is_copied(name: &str, labels: &HashMap<String, String>, sandbox: &SandboxId) -> bool {
    match labels.get(CONTAINER) {
        Some(named) => name != named,
        None => name != unprefixed(sandbox),
    }
}

/// The container's own name: links of other containers are shown as further ones, such as `/other/alias`.
pub(super) fn own_name(names: &[String]) -> &str {
    let mut names = names.iter().map(|name| name.trim_start_matches('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default()
}

/// What the labels tell. One that does not parse is taken as missing: the configuration's value then counts, while a
/// guess might end a sandbox early.
pub(super) fn parse(labels: &HashMap<String, String>) -> Labels {
    let get = |key: &str| labels.get(key).map(String::as_str);
    Labels {
        created_at: get(CREATED_AT).and_then(|text| text.parse().ok()).filter(|at: &f64| at.is_finite()),
        template: get(TEMPLATE).filter(|name| !name.is_empty()).map(str::to_owned),
        idle_timeout: match get(IDLE_TIMEOUT) {
            Some(NO_TIMEOUT) => Some(None),
            other => other.and_then(duration).map(Some),
        },
        active_timeout: get(ACTIVE_TIMEOUT).and_then(duration),
        paused_timeout: get(PAUSED_TIMEOUT).and_then(duration),
        heartbeat_timeout: get(HEARTBEAT_TIMEOUT).and_then(duration),
        on_timeout: get(ON_TIMEOUT).and_then(OnTimeout::from_word),
        readiness: get(READY).and_then(readiness),
        ready_timeout: get(READY_TIMEOUT).and_then(duration),
    }
}

fn readiness_label(readiness: &Readiness) -> Option<String> {
    match readiness {
        Readiness::Started => None,
        Readiness::Tcp(port) => Some(format!("tcp:{port}")),
        Readiness::Http { port, path } => Some(format!("http:{port}:{path}")),
    }
}

fn readiness(label: &str) -> Option<Readiness> {
    let (kind, rest) = label.split_once(':')?;
    match kind {
        "tcp" => rest.parse().ok().map(Readiness::Tcp),
        "http" => {
            let (port, path) = rest.split_once(':')?;
            let port = port.parse().ok()?;
            path.starts_with('/').then(|| Readiness::Http { port, path: path.to_owned() })
        }
        _ => None,
    }
}

pub(super) fn labels_of(found: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    found.config.as_ref().and_then(|config| config.labels.as_ref())
}

/// Whether `text` can only be an id. A record may hold anything, and what is no id would become part of a path.
fn is_id(text: &str) -> bool {
    text.len() >= SHORT_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What lives before what has ended, and the newest first.
fn likelihood(summary: &ContainerSummary) -> (bool, i64) {
    let lives = matches!(
        summary.state,
        Some(
            ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::PAUSED
                | ContainerSummaryStateEnum::RESTARTING
        )
    );
    (lives, summary.created.unwrap_or_default())
}

fn seconds(timeout: Duration) -> String {
    timeout.as_secs_f64().to_string()
}

/// A positive number of seconds; a timeout of 0 is refused everywhere, so it is no timeout here either.
fn duration(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_does_not_parse_is_a_missing_label() {
        for bad in ["", "soon", "-1", "0", "NaN", "inf", "1e400", "7200 s"] {
            let labels = [CREATED_AT, IDLE_TIMEOUT, ACTIVE_TIMEOUT, PAUSED_TIMEOUT, HEARTBEAT_TIMEOUT, ON_TIMEOUT]
                .map(|key| (key.to_owned(), bad.to_owned()));
            let parsed = Labels { created_at: None, ..parse(&HashMap::from(labels)) };
            assert_eq!(parsed, Labels::default(), "{bad:?} was taken");
        }
        assert_eq!(parse(&HashMap::from([(CREATED_AT.to_owned(), "NaN".to_owned())])).created_at, None);
    }

    #[test]
    fn no_idle_timeout_is_told_apart_from_no_label() {
        let labels = HashMap::from([(IDLE_TIMEOUT.to_owned(), NO_TIMEOUT.to_owned())]);
        assert_eq!(parse(&labels).idle_timeout, Some(None));
        assert_eq!(parse(&HashMap::new()).idle_timeout, None);
    }

    #[test]
    fn timeouts_keep_their_fractions_through_a_label() {
        for millis in [1, 250, 7_200_000, 86_400_001] {
            let timeout = Duration::from_millis(millis);
            assert_eq!(duration(&seconds(timeout)), Some(timeout));
        }
        assert_eq!(seconds(Duration::from_secs(7200)), "7200");
    }

    #[test]
    fn readiness_is_the_same_after_a_label() {
        let http = Readiness::Http { port: 8080, path: "/a:b?c=d:e".to_owned() };
        for rule in [Readiness::Tcp(80), http] {
            assert_eq!(readiness_label(&rule).as_deref().and_then(readiness), Some(rule));
        }
        assert_eq!(readiness_label(&Readiness::Started), None);
        for bad in ["", "tcp", "tcp:", "tcp:65536", "http:80", "http:80:health", "udp:80", "http:x:/"] {
            assert_eq!(readiness(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn a_link_is_no_name() {
        assert_eq!(own_name(&["/other/alias".to_owned(), "/sandglass-i1".to_owned()]), "sandglass-i1");
        assert_eq!(own_name(&[]), "");
    }

    #[test]
    fn only_hexadecimal_ids_are_sent_to_the_engine() {
        assert!(is_id("0123456789ab") && is_id(&"f".repeat(64)));
        for text in ["", "sandglass-i1", "0123456789a", "../images/json", "0123456789ab?force=1"] {
            assert!(!is_id(text), "{text:?} was taken");
        }
    }
}
