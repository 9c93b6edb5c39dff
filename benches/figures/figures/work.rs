//! Work in real sandboxes: commands and files beside the engine's own calls, and what the agent costs.

use bollard::{
    body_full,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::{
    docker::{Corner, IMAGE},
    figures::Pace,
    load::median,
    machine,
    program::Program,
    table::{Row, value},
};

/// The size of the file that is moved.
const FILE: usize = 64 << 20;
const KIBI: f64 = 1024.0;

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let what = "work";
    let Ok(client) = bollard::Docker::connect_with_defaults() else {
        return vec![Row::left_out(what, "DOCKER_HOST is not understood")];
    };
    if let Err(error) = client.inspect_image(IMAGE).await {
        return vec![Row::left_out(what, format!("no Docker with the image {IMAGE} ({error})"))];
    }
    let (directory, corner) = (tempfile::tempdir().expect("a temporary directory"), Corner::new().await);
    let mut arguments = vec!["--prefix".to_owned(), corner.prefix.clone()];
    for (name, agent) in [("with", true), ("without", false)] {
        for setting in [format!("image={IMAGE}"), format!("agent={agent}"), "command=[\"sleep\", \"infinity\"]".into()]
        {
            arguments.extend(["--set".to_owned(), format!("templates.{name}.{setting}")]);
        }
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let program = Program::start(directory.path(), &arguments).await;
    let side = Side { program, client, corner };
    let container = side.create("worked-in", "with").await;
    let mut rows = side.commands(pace, &container).await;
    rows.extend(side.files(pace, &container).await);
    rows.push(side.creates(pace).await);
    rows.extend(side.uses(pace).await);
    rows
}

/// Both sides: work through Sandglass, and the engine's own calls on the same container.
struct Side {
    program: Program,
    client: bollard::Docker,
    /// Removes all containers when it is dropped. The last field, so that no more are made by then.
    corner: Corner,
}

/// The median of our times, of the engine's, and of their ratios.
fn medians(pairs: &[(f64, f64)]) -> (f64, f64, f64) {
    (
        median(pairs.iter().map(|pair| pair.0)),
        median(pairs.iter().map(|pair| pair.1)),
        median(pairs.iter().map(|pair| pair.0 / pair.1)),
    )
}

impl Side {
    /// Creates a sandbox, and returns the id of its container.
    async fn create(&self, id: &str, template: &str) -> String {
        let request = json!({"id": format!("work-{id}"), "template": template});
        let created = self.program.post("/v1/sandboxes", &request).await;
        created["container_id"].as_str().expect("it runs").to_owned()
    }

    async fn run(&self, id: &str) {
        let ran = self.program.post(&format!("/v1/sandboxes/work-{id}/commands"), &json!({"command": ["true"]})).await;
        assert_eq!(ran["exit_code"], 0, "{ran}");
    }

    /// The same through the engine: create an exec, start it attached, and ask for its exit code.
    async fn exec(&self, container: &str) {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec!["true"]),
            ..Default::default()
        };
        let exec = self.client.create_exec(container, options).await.expect("an exec");
        let started = self.client.start_exec(&exec.id, None).await.expect("it starts");
        let StartExecResults::Attached { mut output, .. } = started else { panic!("it is attached") };
        while output.next().await.is_some() {}
        let ended = self.client.inspect_exec(&exec.id).await.expect("it is known");
        assert_eq!(ended.exit_code, Some(0));
    }

    async fn commands(&self, pace: Pace, container: &str) -> Vec<Row> {
        // The first command starts the agent.
        self.run("worked-in").await;
        let mut pairs = Vec::new();
        for _ in 0..pace.pick(100, 5) {
            let began = Instant::now();
            self.run("worked-in").await;
            let ours = began.elapsed().as_secs_f64() * 1e3;
            let began = Instant::now();
            self.exec(container).await;
            pairs.push((ours, began.elapsed().as_secs_f64() * 1e3));
        }
        let (ours, engine, ratio) = medians(&pairs);
        let what = "a command's round trip";
        vec![
            Row::of(what, value(ours, "ms")).at_most(10.0),
            Row::of(format!("{what}, against exec"), value(ours, "ms"))
                .against(value(engine, "ms"), ratio)
                .at_most(0.25)
                .note("against creating an exec, starting it attached, and inspecting it through the Docker API"),
        ]
    }

    async fn files(&self, pace: Pace, container: &str) -> Vec<Row> {
        let content: Vec<u8> =
            (0..FILE as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let archive = archive(&content);
        let content = Bytes::from(content);
        let url = self.program.url("/v1/sandboxes/work-worked-in/files?path=/tmp/ours");
        let (mut into, mut out) = (Vec::new(), Vec::new());
        for _ in 0..pace.pick(9, 1) {
            let began = Instant::now();
            let answer = self.program.client.put(&url).body(content.clone()).send().await.expect("it answers");
            assert!(answer.status().is_success(), "{}", answer.status());
            let ours = began.elapsed().as_secs_f64();
            let began = Instant::now();
            let options = UploadToContainerOptionsBuilder::default().path("/tmp").build();
            let body = body_full(archive.clone());
            self.client.upload_to_container(container, Some(options), body).await.expect("it is unpacked");
            into.push((ours, began.elapsed().as_secs_f64()));

            let began = Instant::now();
            let answer = self.program.client.get(&url).send().await.expect("it answers");
            assert_eq!(drained(answer.bytes_stream()).await, FILE);
            let ours = began.elapsed().as_secs_f64();
            let began = Instant::now();
            let options = DownloadFromContainerOptionsBuilder::default().path("/tmp/engine").build();
            let read = drained(self.client.download_from_container(container, Some(options))).await;
            assert!(read > FILE, "a tar is longer than what is in it");
            out.push((ours, began.elapsed().as_secs_f64()));
        }
        let megabytes = FILE as f64 / f64::from(1 << 20);
        let row = |what: &str, pairs: &[(f64, f64)]| {
            let (ours, engine, ratio) = medians(pairs);
            Row::of(format!("{megabytes} MiB {what} a sandbox"), value(megabytes / ours, "MiB/s"))
                .against(value(megabytes / engine, "MiB/s"), 1.0 / ratio)
                .at_least(0.8)
                .note("against the archive calls of the Docker API")
        };
        vec![row("into", &into), row("out of", &out)]
    }

    async fn creates(&self, pace: Pace) -> Row {
        let mut pairs = Vec::new();
        for round in 0..pace.pick(40, 2) {
            let mut times = [0.0; 2];
            // Whichever comes second finds the engine as the other has left it.
            for index in [round % 2, 1 - round % 2] {
                let template = ["with", "without"][index];
                let began = Instant::now();
                self.create(&format!("{template}-{round}"), template).await;
                times[index] = began.elapsed().as_secs_f64() * 1e3;
            }
            pairs.push((times[0], times[1]));
        }
        let (ours, without, ratio) = medians(&pairs);
        Row::of("a create with the agent, against one without", value(ours, "ms"))
            .against(value(without, "ms"), ratio)
            .at_most(1.05)
    }

    /// What sandboxes cost that nobody works in, and those that somebody does.
    async fn uses(&self, pace: Pace) -> Vec<Row> {
        let count = pace.pick(50, 5);
        let names: Vec<_> = (0..count).map(|number| format!("use-{number}")).collect();
        let create = async |name: &String| self.create(name, "with").await;
        let containers: Vec<_> = stream::iter(&names).map(create).buffer_unordered(4).collect().await;
        let mut execs = 0;
        for container in &containers {
            execs += self.corner.inspect(container).await.exec_ids.map_or(0, |ids| ids.len());
        }
        let resident = async || {
            // By then what the requests needed is freed.
            sleep(Duration::from_secs(2)).await;
            machine::resident(self.program.child.id().expect("it runs"))
        };
        // The first half pays for the pools that all share.
        let (first, second) = names.split_at(count / 2);
        let work = async |names: &[String]| {
            for name in names {
                self.run(name).await;
            }
        };
        work(first).await;
        let before = resident().await;
        work(second).await;
        let each = (resident().await - before) / second.len() as f64 / KIBI;
        vec![
            Row::of(
                format!("execs open in {count} sandboxes that nobody works in"),
                value(f64::from(u32::try_from(execs).unwrap_or(u32::MAX)), ""),
            )
            .at_most(0.0),
            Row::of("memory of each sandbox that somebody works in", value(each, "KiB"))
                .at_most(200.0)
                .note("Sandglass's own; the agent's is inside"),
        ]
    }
}

/// A tar of one file, `engine`.
fn archive(content: &[u8]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::with_capacity(content.len() + 4096));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "engine", content).expect("memory can be written to");
    tar.into_inner().expect("memory can be written to").into()
}

/// Reads a stream to its end, and returns how many bytes there were.
async fn drained<E: std::fmt::Debug>(parts: impl futures_util::Stream<Item = Result<Bytes, E>>) -> usize {
    parts.try_fold(0, async |sum, part| Ok(sum + part.len())).await.expect("a whole body")
}
