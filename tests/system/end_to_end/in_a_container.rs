//! Sandglass itself in a container, on a network with its sandboxes.

use std::{collections::HashMap, path::Path, time::Duration};

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::CreateContainerOptionsBuilder,
};
use sandglass::domain::SandboxId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::docker::{Corner, IMAGE, Network, TEST};

const API_KEY: &str = "open-sesame";
const WITHIN: Duration = Duration::from_secs(30);

/// The program with the libraries of this machine, which the image does not have.
fn mounts() -> Vec<String> {
    let socket = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = socket.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
    let mut mounts =
        vec![format!("{}:/sandglass:ro", env!("CARGO_BIN_EXE_sandglass")), format!("{socket}:/var/run/docker.sock")];
    let libraries = ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|path| Path::new(path).is_dir());
    mounts.extend(libraries.map(|path| format!("{path}:{path}:ro")));
    mounts
}

/// Runs Sandglass in a container on `network`, and returns its URL.
async fn serve(corner: &Corner, network: &Network) -> String {
    let variables = [
        ("SANDGLASS_HTTP__BIND", "0.0.0.0:8080"),
        ("SANDGLASS_HTTP__API_KEY", API_KEY),
        ("SANDGLASS_STORE__PREFIX", corner.prefix.as_str()),
        ("SANDGLASS_DOCKER__NETWORK", network.name.as_str()),
        ("SANDGLASS_DOCKER__REACH", "network"),
        ("SANDGLASS_DOCKER__STOP_GRACE", "1"),
        ("SANDGLASS_TEMPLATES__BASE__READY", "{tcp = 80}"),
    ];
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(["/sandglass", "serve"].map(str::to_owned).to_vec()),
        env: Some(variables.map(|(name, value)| format!("{name}={value}")).to_vec()),
        labels: Some(HashMap::from([(TEST.to_owned(), corner.prefix.clone())])),
        host_config: Some(HostConfig {
            binds: Some(mounts()),
            network_mode: Some(network.name.clone()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let name = format!("supervisor-{}", SandboxId::generate());
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let id = corner.client.create_container(Some(options), body).await.expect("a container").id;
    corner.client.start_container(&id, None).await.expect("it starts");
    let networks = corner.inspect(&id).await.network_settings.and_then(|settings| settings.networks);
    let address = networks.and_then(|networks| networks[&network.name].ip_address.clone()).expect("an address");
    format!("http://{address}:8080")
}

#[tokio::test]
async fn sandglass_in_a_container_reaches_its_sandboxes_over_their_network() {
    let network = Network::new().await;
    let corner = Corner::new().await;
    let url = serve(&corner, &network).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let deadline = Instant::now() + WITHIN;
    while !client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
        assert!(Instant::now() < deadline, "it does not become ready");
        sleep(Duration::from_millis(50)).await;
    }
    let script = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 80 -h /www";
    let request = json!({"id": "web", "command": ["sh", "-c", script], "ports": [80]});
    let create = client.post(format!("{url}/v1/sandboxes")).bearer_auth(API_KEY).body(request.to_string());
    let answer = create.send().await.expect("it answers");
    let created: Value = answer.json().await.expect("JSON");
    // It became ready, so Sandglass reached its port from the other container.
    assert_eq!(created["status"], "running", "{created}");
    let base_url = created["base_url"].as_str().expect("an address");
    assert!(base_url.ends_with(":80") && !base_url.contains("127.0.0.1"), "{base_url}");
    let page = client.get(base_url).send().await.expect("it serves").text().await.expect("a page");
    assert_eq!(page.trim(), "here");
    let delete = client.delete(format!("{url}/v1/sandboxes/web?wait=20")).bearer_auth(API_KEY);
    assert_eq!(delete.send().await.expect("it answers").status(), 200);
    assert_eq!(corner.containers().await, Vec::<String>::new());
}
