//! The engines that the laws of the runtime port run over, with actions behind the port's back.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::query_parameters::ListImagesOptionsBuilder;
use sandglass::{
    clock::wall_seconds,
    domain::{
        SandboxId,
        sandbox::Container,
        spec::{Readiness, StartSpec},
    },
    ports::runtime::{ContainerRef, Labels, Owner, Runtime, Start, StartProgress, Stranger},
    runtime::memory::{Memory, Point, When},
};
use tokio_util::sync::CancellationToken;

use crate::support::docker::{Corner, by_labels, shell};

/// An engine under test, with actions behind the port's back.
#[async_trait]
pub(crate) trait Subject: Sync {
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// Runs a container without our labels.
    async fn put_foreign(&self, name: &str) -> String;
    /// Runs a container of the reference system.
    async fn put_reference(&self, name: &str, task_id: &str) -> String;
    /// Creates a container of the sandbox, without starting it.
    async fn put_created(&self, start: &Start) -> String;
    /// Runs a container with the same sandbox id that belongs to another supervisor.
    async fn put_others(&self, start: &Start) -> String;
    /// Runs a foreign container of an image that was made of the sandbox's container.
    async fn put_copy(&self, start: &Start, name: &str) -> String;
    /// Starts the sandbox with a process that ends by itself with this code.
    async fn run_to_exit(&self, start: &Start, code: i64);
    /// Starts the sandbox with a process that exceeds its memory limit.
    async fn run_out_of_memory(&self, start: &Start);
    /// Whether the engine has bytes of snapshots, also of removed ones.
    async fn has_image_bytes(&self) -> bool;
    /// The container's state.
    async fn state(&self, container_id: &str) -> Option<Container>;
    /// Lets the container's process end by itself.
    async fn end(&self, start: &Start, container_id: &str);
    /// Changes `spec` so that the sandbox never gets ready.
    fn never_ready(&self, spec: &mut StartSpec);
}

#[async_trait]
impl Subject for Memory {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    async fn put_foreign(&self, name: &str) -> String {
        Memory::put_foreign(self, name)
    }

    async fn put_reference(&self, name: &str, task_id: &str) -> String {
        self.put(&reference(None, task_id), name, Labels::default(), Container::Running)
    }

    async fn put_created(&self, start: &Start) -> String {
        self.put(&by_labels(start), &start.name, start.labels.clone(), Container::Stopped(None))
    }

    async fn put_others(&self, start: &Start) -> String {
        Memory::put_foreign(self, &start.name)
    }

    async fn put_copy(&self, start: &Start, name: &str) -> String {
        self.put_stranger(Stranger::Copy, &by_labels(start), name, start.labels.clone())
    }

    async fn run_to_exit(&self, start: &Start, code: i64) {
        started(self, start).await;
        assert!(self.exit(&start.id, code));
    }

    async fn run_out_of_memory(&self, start: &Start) {
        started(self, start).await;
        assert!(self.exhaust_memory(&start.id));
    }

    async fn has_image_bytes(&self) -> bool {
        !self.snapshots().expect("it takes snapshots").all().await.expect("a list").is_empty()
    }

    async fn state(&self, container_id: &str) -> Option<Container> {
        self.state_of_id(container_id)
    }

    async fn end(&self, start: &Start, _container_id: &str) {
        assert!(self.exit(&start.id, 137));
    }

    fn never_ready(&self, _spec: &mut StartSpec) {
        self.hang(Point::Ready, When::Before);
    }
}

#[async_trait]
impl Subject for Corner {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(Corner::runtime(self))
    }

    async fn put_foreign(&self, name: &str) -> String {
        self.put(name, &[]).await
    }

    async fn put_reference(&self, name: &str, task_id: &str) -> String {
        self.put(name, &[("owner", "executor_manager"), ("task_id", task_id)]).await
    }

    async fn put_created(&self, start: &Start) -> String {
        let labels = [("sandglass.prefix", self.prefix.as_str()), ("sandglass.id", start.id.as_str())];
        self.create(&start.name, &labels).await
    }

    async fn put_others(&self, start: &Start) -> String {
        self.put(&start.name, &[("sandglass.prefix", "another"), ("sandglass.id", start.id.as_str())]).await
    }

    async fn put_copy(&self, start: &Start, name: &str) -> String {
        let (prefix, id) = (self.prefix.as_str(), start.id.as_str());
        let labels = [("sandglass.prefix", prefix), ("sandglass.id", id), ("sandglass.container", start.name.as_str())];
        self.put(name, &labels).await
    }

    async fn run_to_exit(&self, start: &Start, code: i64) {
        let spec = StartSpec { command: shell(&format!("exit {code}")), ..start.spec.clone() };
        // The process may end before the start has finished.
        let _ = self.runtime().start(&Start { spec, ..start.clone() }, &CancellationToken::new(), &quiet).await;
    }

    async fn run_out_of_memory(&self, start: &Start) {
        let mut start = start.clone();
        start.spec.limits.memory_mb = Some(16);
        start.spec.command = shell("exec tail /dev/zero");
        let _ = self.runtime().start(&start, &CancellationToken::new(), &quiet).await;
    }

    async fn has_image_bytes(&self) -> bool {
        let label = format!("sandglass.snapshot.prefix={}", self.prefix);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        !self.client.list_images(Some(options)).await.expect("a list").is_empty()
    }

    async fn state(&self, container_id: &str) -> Option<Container> {
        let state = self.client.inspect_container(container_id, None).await.ok()?.state?;
        Some(match (state.running, state.paused) {
            (_, Some(true)) => Container::Paused,
            (Some(true), _) => Container::Running,
            _ => Container::Stopped(state.exit_code),
        })
    }

    async fn end(&self, _start: &Start, container_id: &str) {
        let options = bollard::query_parameters::StopContainerOptionsBuilder::default().t(0).build();
        self.client.stop_container(container_id, Some(options)).await.expect("it ends");
    }

    fn never_ready(&self, spec: &mut StartSpec) {
        spec.ports = vec![80];
        spec.readiness = Readiness::Tcp(80);
    }
}

/// An engine in memory with the real wall clock, so that times mean the same as Docker's.
pub(crate) fn memory() -> Memory {
    Memory::with_clock(Arc::new(wall_seconds)).with_agents()
}

/// Makes a test of each law for each adapter.
macro_rules! laws {
    ($($law:ident)+) => {
        mod memory {
            $(#[actix_web::test] async fn $law() { crate::engines::bounded(super::$law(&crate::engines::memory())).await; })+
        }
        mod docker {
            $(#[actix_web::test] async fn $law() { crate::engines::bounded(super::$law(&crate::support::docker::Corner::new().await)).await; })+
        }
    };
}

pub(crate) use laws;

/// Far longer than a law takes, so that one that hangs fails.
pub(crate) async fn bounded(law: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(120), law).await.expect("the law is done in time");
}

pub(crate) fn quiet(_: StartProgress) {}

pub(crate) async fn started(runtime: &dyn Runtime, start: &Start) -> String {
    runtime.start(start, &CancellationToken::new(), &quiet).await.expect("it starts").container_id
}

pub(crate) fn reference(container_id: Option<&str>, task_id: &str) -> ContainerRef {
    ContainerRef {
        sandbox: SandboxId::parse("1001").expect("a valid id"),
        container_id: container_id.map(str::to_owned),
        name: None,
        owner: Owner::Reference { task_id: task_id.to_owned() },
    }
}
