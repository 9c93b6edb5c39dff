//! The specification is exact: a fuzzer that reads it finds no answer that breaks it, and a client that is
//! generated from it works. Over a real socket, with tools that `config/setup.sh openapi` installs.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use sandglass::{runtime::Memory, store::MemoryStore, supervisor::Supervisor};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::bench::{settings, supervisor, wall_clock};

const KEY: &str = "open-sesame";
/// Far longer than the tools take on a busy machine.
const WITHIN: Duration = Duration::from_secs(300);

/// A server over the memory adapters.
struct Served {
    url: String,
    server: ServerHandle,
    _supervisor: Arc<Supervisor>,
}

async fn serve(overrides: &[(&str, &str)]) -> Served {
    // The fuzzer's sandboxes must neither fill the instance nor stay for long.
    let overrides = [&[("docker.max_sandboxes", "1000000"), ("docker.max_creates", "10000")], overrides].concat();
    let supervisor = supervisor(&settings(&overrides), &MemoryStore::new(), &Memory::without_log(), &wall_clock());
    supervisor.begin().await.expect("the lease is free");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = sandglass::http::server(
        supervisor.sandboxes(),
        sandglass::work::Work::new(supervisor.sandboxes()),
        listener,
        1,
        1024,
    )
    .expect("a server");
    let handle = server.handle();
    tokio::spawn(server);
    Served { url, server: handle, _supervisor: supervisor }
}

/// The folder with the Python programs of the tests.
fn tools() -> PathBuf {
    let here = std::env::current_exe().expect("a path");
    let found = here.ancestors().map(|folder| folder.join("openapi/bin")).find(|folder| folder.is_dir());
    found.expect("the tools for the specification are missing: run 'config/setup.sh openapi'")
}

/// Runs one of them.
async fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(tools().join(program));
    command.args(arguments).current_dir(folder).kill_on_drop(true);
    let output = tokio::time::timeout(WITHIN, command.output()).await.expect("it ends");
    output.unwrap_or_else(|error| panic!("{program}: {error}: run 'config/setup.sh openapi'"))
}

#[track_caller]
fn must_succeed(output: &Output) {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
}

/// A folder with the served specification.
async fn specified(served: &Served, key: Option<&str>) -> TempDir {
    let request = reqwest::Client::new().get(format!("{}/openapi.json", served.url));
    let answer = request.header("x-api-key", key.unwrap_or_default()).send().await.expect("an answer");
    let folder = tempfile::tempdir().expect("a folder");
    let specification = answer.error_for_status().expect("the specification").bytes().await.expect("a body");
    std::fs::write(folder.path().join("openapi.json"), specification).expect("written");
    folder
}

async fn fuzz(served: &Served, key: Option<&str>) {
    let folder = specified(served, key).await;
    let mut config = include_str!("schemathesis.toml").to_owned();
    if let Some(key) = key {
        config.push_str(&format!(
            "[auth.openapi]\nbearer = {{ bearer = \"{key}\" }}\napi_key = {{ api_key = \"{key}\" }}\n"
        ));
    }
    std::fs::write(folder.path().join("schemathesis.toml"), config).expect("written");
    let few = if key.is_some() { "10" } else { "30" };
    let arguments = ["run", "openapi.json", "--url", &served.url, "--max-examples", few];
    must_succeed(&run("st", &arguments, folder.path()).await);
    served.server.stop(false).await;
}

#[actix_web::test]
async fn a_fuzzer_finds_no_answer_that_breaks_the_specification() {
    fuzz(&serve(&[]).await, None).await;
}

#[actix_web::test]
async fn a_fuzzer_finds_no_answer_that_breaks_the_specification_where_there_is_a_key() {
    fuzz(&serve(&[("http.api_key", KEY)]).await, Some(KEY)).await;
}

#[actix_web::test]
async fn a_client_that_is_generated_from_the_specification_creates_pings_lists_and_deletes() {
    let served = serve(&[("http.api_key", KEY)]).await;
    let folder = specified(&served, Some(KEY)).await;
    // Generate plain strings for all types of texts, and do not format the code.
    let metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let config = json!({ "content_type_overrides": { metrics: "text/plain" }, "post_hooks": [] });
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let generate = [
        "generate",
        "--config",
        "config.json",
        "--path",
        "openapi.json",
        "--meta",
        "none",
        "--output-path",
        "sandglass_client",
    ];
    let generated = run("openapi-python-client", &generate, folder.path()).await;
    must_succeed(&generated);
    let warned = String::from_utf8_lossy(&generated.stdout).into_owned() + &String::from_utf8_lossy(&generated.stderr);
    assert!(!warned.contains("WARNING"), "every call and schema is understood: {warned}");
    std::fs::write(folder.path().join("use.py"), include_str!("generated_client.py")).expect("written");
    must_succeed(&run("python", &["use.py", &served.url, KEY], folder.path()).await);
    served.server.stop(false).await;
}
