//! Real containers: the time that Sandglass adds to Docker's own for starting one and for removing many at once.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptions, EventsOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt, stream};
use sandglass::clock;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    docker::{Corner, IMAGE},
    figures::Pace,
    load::median,
    program::Program,
    table::{Row, value},
};

/// How many calls to Docker may be in flight on either side: the default of Sandglass.
const CONCURRENCY: usize = 16;
/// The stop grace in seconds, on both sides.
const STOP_GRACE: i32 = 10;
/// Seconds from now to the common deadline, enough to set it for all sandboxes.
const AHEAD: f64 = 4.0;

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let what = "containers";
    let Ok(client) = bollard::Docker::connect_with_defaults() else {
        return vec![Row::left_out(what, "DOCKER_HOST is not understood")];
    };
    if let Err(error) = client.inspect_image(IMAGE).await {
        return vec![Row::left_out(what, format!("no Docker with the image {IMAGE} ({error})"))];
    }
    let (directory, corner) = (tempfile::tempdir().expect("a temporary directory"), Corner::new().await);
    let arguments = ["--prefix", &corner.prefix, "--set", "docker.max_creates=64"];
    let program = Program::start(directory.path(), &arguments).await;
    let side = Side { program, body: None, client, corner };
    side.compare(pace).await
}

/// Both sides: Sandglass, and Docker alone with equal containers.
struct Side {
    program: Program,
    body: Option<ContainerCreateBody>,
    client: bollard::Docker,
    /// Removes all containers when it is dropped. The last field, so that no more are made by then.
    corner: Corner,
}

impl Side {
    async fn compare(mut self, pace: Pace) -> Vec<Row> {
        let first = self.create(0).await;
        self.body = Some(self.like(&first).await);
        let (mut starts, mut removals) = (Vec::new(), Vec::new());
        for round in 0..pace.pick(20, 2) {
            let began = Instant::now();
            self.create(1 + round).await;
            let ours = began.elapsed().as_secs_f64() * 1e3;
            let began = Instant::now();
            self.create_alone().await;
            starts.push((ours, began.elapsed().as_secs_f64() * 1e3));
        }
        let count = pace.pick(100, 10);
        for round in 1..=pace.pick(3, 1) {
            let from = 1000 * round;
            let numbers = from..from + count;
            let create = async |number| _ = self.create(number).await;
            stream::iter(numbers.clone()).for_each_concurrent(8, create).await;
            let ours = self.expire(numbers).await;
            let alone = stream::iter(0..count).map(|_| self.create_alone()).buffered(8).collect::<Vec<_>>().await;
            removals.push((ours, self.remove_alone(alone).await));
        }
        let ours = |pairs: &[(f64, f64)]| median(pairs.iter().map(|pair| pair.0));
        let alone = |pairs: &[(f64, f64)]| median(pairs.iter().map(|pair| pair.1));
        let overhead = median(starts.iter().map(|(ours, alone)| ours - alone));
        let ratio = median(removals.iter().map(|(ours, alone)| ours / alone));
        vec![
            Row::of(
                format!("{count} containers due in the same second: until the last is gone"),
                value(ours(&removals), "s"),
            )
            .against(value(alone(&removals), "s"), ratio)
            .at_most(1.15)
            .note(format!("against stopping and removing them through the Docker API, {CONCURRENCY} at a time")),
            Row::of("a create until it runs", value(ours(&starts), "ms"))
                .against(value(alone(&starts), "ms"), median(starts.iter().map(|(ours, alone)| ours / alone)))
                .note(format!("against create and start through the Docker API: {overhead:.1} ms more")),
        ]
    }

    /// Creates a sandbox, and returns the id of its container.
    async fn create(&self, number: usize) -> String {
        let request = json!({"id": format!("figure-{number}"), "on_timeout": "terminate"});
        let created = self.program.post("/v1/sandboxes", &request).await;
        created["container_id"].as_str().expect("it runs").to_owned()
    }

    /// The body to create an equal container, with labels that Sandglass does not know.
    async fn like(&self, id: &str) -> ContainerCreateBody {
        let found = self.corner.inspect(id).await;
        let config = serde_json::to_value(found.config).expect("a configuration is JSON");
        let body: ContainerCreateBody = serde_json::from_value(config).expect("what was inspected can be created");
        let labels = HashMap::from([("sandglass.test".to_owned(), self.corner.prefix.clone())]);
        ContainerCreateBody { host_config: found.host_config, labels: Some(labels), hostname: None, ..body }
    }

    async fn create_alone(&self) -> String {
        let body = self.body.clone().expect("one was made to look at");
        let created = self.client.create_container(None::<CreateContainerOptions>, body).await.expect("a container");
        self.client.start_container(&created.id, None).await.expect("it starts");
        created.id
    }

    /// Lets these sandboxes end at one moment, and returns the seconds from then until the last container is gone.
    async fn expire(&self, numbers: std::ops::Range<usize>) -> f64 {
        let count = numbers.len();
        let gone = self.gone(&format!("sandglass.prefix={}", self.corner.prefix)).await;
        let due = clock::wall_seconds() + AHEAD;
        let tell = |number| async move {
            let path = format!("/v1/sandboxes/figure-{number}/keep-alive");
            self.program.post(&path, &json!({"timeout": due - clock::wall_seconds()})).await;
        };
        stream::iter(numbers).for_each_concurrent(8, tell).await;
        assert!(clock::wall_seconds() < due, "all know their deadline before it");
        last(gone, count).await - due
    }

    /// Removes these containers as Sandglass does, and returns the seconds until the last one is gone.
    async fn remove_alone(&self, ids: Vec<String>) -> f64 {
        let gone = self.gone(&format!("sandglass.test={}", self.corner.prefix)).await;
        let (began, count) = (clock::wall_seconds(), ids.len());
        let remove = |id: String| async move {
            let stop = StopContainerOptionsBuilder::default().t(STOP_GRACE).build();
            self.client.stop_container(&id, Some(stop)).await.expect("it stops");
            let remove = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
            self.client.remove_container(&id, Some(remove)).await.expect("it is removed");
        };
        stream::iter(ids).for_each_concurrent(CONCURRENCY, remove).await;
        last(gone, count).await - began
    }

    /// The times at which containers with this label are gone, by Docker's clock.
    async fn gone(&self, label: &str) -> mpsc::UnboundedReceiver<f64> {
        let filters = HashMap::from([("label", vec![label]), ("event", vec!["destroy"])]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut events = self.client.events(Some(options));
        tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                if sender.send(event.time_nano.unwrap_or_default() as f64 / 1e9).is_err() {
                    return;
                }
            }
        });
        // Docker does not say when it has begun to send events.
        tokio::time::sleep(Duration::from_millis(500)).await;
        receiver
    }
}

/// The time of the last of this many.
async fn last(mut gone: mpsc::UnboundedReceiver<f64>, count: usize) -> f64 {
    let mut last = f64::NAN;
    for _ in 0..count {
        let next = timeout(Duration::from_secs(120), gone.recv()).await.expect("it is gone in time");
        last = next.expect("Docker goes on telling");
    }
    last
}
