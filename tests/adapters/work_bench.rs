//! A supervisor over one engine, with one sandbox that is worked in.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::{HeaderMap, Method};
use sandglass::{
    actor::Arbiters,
    app::{Adapters, assemble},
    clock::wall_seconds,
    domain::SandboxId,
    ports::runtime::Runtime,
    sandboxes::Create,
    store::MemoryStore,
    supervisor::Supervisor,
    work::{Begun, Command, CommandEvent, Ending, FileRequest, Part, Program, Stream, Work, WorkError},
};
use tokio::{sync::mpsc, time::Instant};

use crate::support::bench::settings;

/// A supervisor over the subject's engine, with one sandbox.
pub(crate) struct Bench {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) work: Work,
    pub(crate) id: SandboxId,
    /// A directory inside that no other test uses.
    pub(crate) directory: String,
}

impl Bench {
    /// A new sandbox of the template `base`, with these settings over the defaults.
    pub(crate) async fn new(runtime: Arc<dyn Runtime>, overrides: &[(&str, &str)]) -> Self {
        let bench = Self::begin_over(runtime, overrides, MemoryStore::with_clock(Arc::new(wall_seconds))).await;
        let create = Create { id: Some(bench.id.clone()), ..Create::default() };
        bench.supervisor.create(create, true).await.unwrap();
        bench
    }

    /// The sandbox whose container is there already, and is known by its labels alone.
    pub(crate) async fn adopting(runtime: Arc<dyn Runtime>, id: SandboxId) -> Self {
        let store = MemoryStore::with_clock(Arc::new(wall_seconds));
        store.plant_member(id.as_str(), wall_seconds() + 3600.0);
        let bench = Self { id, ..Self::begin_over(runtime, &[], store).await };
        until("it is adopted", async || bench.supervisor.get(&bench.id).await.is_ok()).await;
        bench
    }

    async fn begin_over(runtime: Arc<dyn Runtime>, overrides: &[(&str, &str)], store: MemoryStore) -> Self {
        let adapters = Adapters { store: Arc::new(store), runtime };
        let supervisor = assemble(settings(overrides), adapters, Arbiters::start(1));
        supervisor.begin().await.unwrap();
        let id = SandboxId::generate();
        let directory = format!("/tmp/work-{id}");
        Self { work: Work::new(supervisor.sandboxes()), supervisor, directory, id }
    }

    /// The id of its container.
    pub(crate) async fn container(&self) -> String {
        self.supervisor.get(&self.id).await.unwrap().details.container_id.clone().unwrap().into()
    }

    pub(crate) async fn begin(&self, command: &Command) -> Begun {
        self.work.begin(&self.id, command).await.unwrap()
    }

    /// Runs a line of a shell to its end.
    pub(crate) async fn shell(&self, line: &str) -> (String, String, Ending) {
        collect(self.begin(&shell(line)).await).await
    }

    pub(crate) async fn end(self) {
        self.supervisor.terminate(&self.id, Duration::from_secs(30)).await.unwrap();
        let _ = std::fs::remove_dir_all(&self.directory);
    }

    /// The commands that hold the sandbox.
    pub(crate) async fn holding(&self) -> Vec<String> {
        let sandbox = self.supervisor.get(&self.id).await.unwrap();
        sandbox.details.holds.iter().filter_map(|hold| Some(hold.command()?.to_owned())).collect()
    }

    /// Writes a file, or with `tar` a directory.
    pub(crate) async fn put(
        &self,
        path: &str,
        query: &[(&str, &str)],
        parts: Vec<io::Result<Bytes>>,
    ) -> Result<(), WorkError> {
        let parts = parts.into_iter().map(|part| part.map(Part::Data));
        self.put_parts(path, query, parts.chain([Ok(Part::End)]).collect()).await
    }

    /// As [`put`](Self::put), with exactly these parts.
    pub(crate) async fn put_parts(
        &self,
        path: &str,
        query: &[(&str, &str)],
        parts: Vec<io::Result<Part>>,
    ) -> Result<(), WorkError> {
        let (sender, receiver) = mpsc::channel(1);
        let query = [&[("path", path)], query].concat();
        let target = if query.iter().any(|(name, _)| *name == "tar") { "/files/archive" } else { "/files" };
        let query: Vec<_> = query.into_iter().filter(|(name, _)| *name != "tar").collect();
        let asked =
            FileRequest { method: Method::PUT, path: target, query: &query, headers: HeaderMap::new(), user: None };
        let request = self.work.file_request(&self.id, asked, Some(receiver));
        let send = async {
            for part in parts {
                if sender.send(part).await.is_err() {
                    break;
                }
            }
            drop(sender);
        };
        let (answer, ()) = tokio::join!(request, send);
        answer?.whole().await.map(drop)
    }

    pub(crate) async fn get(&self, target: &str, path: &str) -> Result<Vec<u8>, WorkError> {
        let query = [("path", path)];
        let asked =
            FileRequest { method: Method::GET, path: target, query: &query, headers: HeaderMap::new(), user: None };
        let answer = self.work.file_request(&self.id, asked, None).await?;
        let mut bytes = Vec::new();
        let mut body = std::pin::pin!(answer.into_stream());
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part.unwrap());
        }
        Ok(bytes)
    }
}

pub(crate) fn shell(line: &str) -> Command {
    Command {
        program: Program::Argv(["sh", "-c", line].map(str::to_owned).to_vec()),
        env: BTreeMap::new(),
        cwd: None,
        user: None,
        timeout: None,
        stdin: false,
        tty: None,
    }
}

/// Everything that a command tells, to its end.
pub(crate) async fn collect(begun: Begun) -> (String, String, Ending) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut events = begun.events;
    while let Some(event) = events.next().await.unwrap() {
        match event {
            CommandEvent::Started(_) => {}
            CommandEvent::Output(piece) if piece.stream == Stream::Stdout => stdout.extend_from_slice(&piece.bytes),
            CommandEvent::Output(piece) => stderr.extend_from_slice(&piece.bytes),
            CommandEvent::Ended(ending) => {
                return (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), ending);
            }
        }
    }
    panic!("it told no end");
}

pub(crate) fn exited(code: i32) -> Ending {
    Ending { exit_code: Some(code), ..Ending::default() }
}

/// Waits until `condition` holds, at most half a minute.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
