//! E2B's protocol beside the native one: the requests that its SDKs make, on one sandbox from an image with Python.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    docker::Corner,
    figures::Pace,
    load::median,
    program::Program,
    table::{Row, value},
};

/// The image that the tests with E2B's SDKs use; `config/setup.sh e2b` makes it.
const IMAGE: &str = "sandglass-test/e2b:stable";
const AGENT: u16 = 49983;
const INTERPRETER: u16 = 49999;
/// What SDKs make of `commands.run("true")`.
const COMMAND: [&str; 4] = ["/bin/bash", "-l", "-c", "true"];

pub(crate) async fn measure(pace: Pace) -> Vec<Row> {
    let what = "E2B's protocol";
    let Ok(client) = bollard::Docker::connect_with_defaults() else {
        return vec![Row::left_out(what, "DOCKER_HOST is not understood")];
    };
    if let Err(error) = client.inspect_image(IMAGE).await {
        return vec![Row::left_out(
            what,
            format!("no Docker with the image {IMAGE}, which `config/setup.sh e2b` makes ({error})"),
        )];
    }
    let (directory, corner) = (tempfile::tempdir().expect("a temporary directory"), Corner::new().await);
    let image = format!("templates.e2b.image={IMAGE}");
    let settings =
        [image.as_str(), "templates.e2b.privilege_escalation=true", "templates.e2b.command=[\"sleep\", \"infinity\"]"];
    let mut arguments = vec!["--prefix", corner.prefix.as_str()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["--set", setting]));
    let program = Program::start(directory.path(), &arguments).await;
    let both = Both { program, _corner: corner };
    // The first create brings the agent to the engine.
    let sandbox = both.create().await;
    let mut rows = vec![both.creates(pace).await];
    rows.push(both.commands(pace, &sandbox).await);
    rows.push(both.code(pace, &sandbox).await);
    rows
}

/// Both protocols, over one program.
struct Both {
    program: Program,
    /// Removes all containers when it is dropped. The last field, so that no more are made by then.
    _corner: Corner,
}

impl Both {
    async fn create(&self) -> String {
        let created = self.program.post("/v2/sandboxes", &json!({"templateID": "e2b", "timeout": 3600})).await;
        created["sandboxID"].as_str().expect("an id").to_owned()
    }

    /// Sends a request for a port of a sandbox, and returns the whole answer.
    async fn ask(&self, sandbox: &str, port: u16, path: &str, kind: &str, body: Vec<u8>) -> Vec<u8> {
        let request = self.program.client.post(self.program.url(path)).header(CONTENT_TYPE, kind).body(body);
        let request = request.header("E2b-Sandbox-Id", sandbox).header("E2b-Sandbox-Port", port);
        let answer = request.basic_auth("user", Some("")).send().await.expect("it answers");
        let (status, body) = (answer.status(), answer.bytes().await.expect("a whole answer"));
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }

    async fn creates(&self, pace: Pace) -> Row {
        let mut pairs = Vec::new();
        for round in 0..pace.pick(40, 2) {
            let mut times = [0.0; 2];
            // Whichever comes second finds the engine as the other has left it.
            for index in [round % 2, 1 - round % 2] {
                let began = Instant::now();
                match index {
                    0 => drop(self.create().await),
                    _ => drop(self.program.post("/v1/sandboxes", &json!({"template": "e2b", "timeout": 3600})).await),
                }
                times[index] = began.elapsed().as_secs_f64() * 1e3;
            }
            pairs.push(times);
        }
        more("a create", &pairs).at_most(5.0)
    }

    async fn commands(&self, pace: Pace, sandbox: &str) -> Row {
        let start = framed(&json!({"process": {"cmd": COMMAND[0], "args": COMMAND[1..]}}));
        let run = async || {
            let body = start.clone();
            let told = self.ask(sandbox, AGENT, "/process.Process/Start", "application/connect+json", body).await;
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(told.contains("\"end\"") && told.contains("exit status 0"), "{told}");
        };
        let native = async || {
            let ran =
                self.program.post(&format!("/v1/sandboxes/{sandbox}/commands"), &json!({"command": COMMAND})).await;
            assert_eq!(ran["exit_code"], 0, "{ran}");
        };
        // The first command starts the agent.
        native().await;
        let mut pairs = Vec::new();
        for _ in 0..pace.pick(100, 5) {
            let began = Instant::now();
            run().await;
            let ours = began.elapsed().as_secs_f64() * 1e3;
            let began = Instant::now();
            native().await;
            pairs.push([ours, began.elapsed().as_secs_f64() * 1e3]);
        }
        more("a command", &pairs).at_most(3.0)
    }

    async fn code(&self, pace: Pace, sandbox: &str) -> Row {
        let body = json!({"code": "1+1", "context_id": null, "language": null, "env_vars": null}).to_string();
        let run = async || {
            let told = self.ask(sandbox, INTERPRETER, "/execute", "application/json", body.clone().into_bytes()).await;
            let told = String::from_utf8_lossy(&told).into_owned();
            let said = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["text"] == "2");
            assert!(told.lines().any(said) && told.contains("end_of_execution"), "{told}");
        };
        // The first one starts Python.
        run().await;
        let mut times = Vec::new();
        for _ in 0..pace.pick(100, 5) {
            let began = Instant::now();
            run().await;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Row::of("run_code(\"1+1\") by E2B's protocol", value(median(times), "ms"))
            .at_most(10.0)
            .note("round trips after the first")
    }
}

/// How much more time `what` takes by E2B's protocol, of pairs of its time and the native one's.
fn more(what: &str, pairs: &[[f64; 2]]) -> Row {
    let [ours, native] = [0, 1].map(|index| median(pairs.iter().map(|pair| pair[index])));
    let difference = median(pairs.iter().map(|[ours, native]| ours - native));
    Row::of(format!("{what} by E2B's protocol, more than the native one"), value(difference, "ms"))
        .note(format!("{ours:.1} ms, and {native:.1} ms"))
}

/// A message of a stream by Connect's protocol: flags, its length, and itself.
fn framed(message: &Value) -> Vec<u8> {
    let json = message.to_string().into_bytes();
    let length = u32::try_from(json.len()).expect("it is short").to_be_bytes();
    [&[0], &length[..], &json].concat()
}
