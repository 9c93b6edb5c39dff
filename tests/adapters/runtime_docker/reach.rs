//! Networks and addresses other than the usual ones.

use std::net::Ipv4Addr;

use sandglass::{
    domain::{egress, spec::Readiness},
    ports::runtime::{Runtime, Start},
    runtime::docker::{Docker, Ports, Reach, Settings},
};

use super::{failure, get, run};
use crate::support::docker::{Corner, Network, by_labels, shell, start};

fn serving_on(network: &Network) -> Start {
    let mut start = serving();
    start.spec.network = egress::Network::Named(network.name.clone());
    start
}

fn serving() -> Start {
    let mut start = start();
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Tcp(80);
    start.labels.readiness = Some(Readiness::Tcp(80));
    start.spec.command = shell("mkdir /www; echo here > /www/index.html; sleep 1; exec httpd -f -p 80 -h /www");
    start
}

fn with(corner: &Corner, reach: Reach) -> Docker {
    let ports = Ports { reach };
    Docker::connect(Settings { ports, ..corner.settings() }).unwrap()
}

#[tokio::test]
async fn over_its_network_a_container_is_reached_at_its_own_address_and_publishes_nothing() {
    let network = Network::new().await;
    let (corner, start) = (Corner::new().await, serving_on(&network));
    let runtime = with(&corner, Reach::Network);
    let started = run(&runtime, &start).await.unwrap();
    let found = corner.inspect(&started.container_id).await;
    let networks = found.network_settings.unwrap().networks.unwrap();
    assert_eq!(networks.keys().collect::<Vec<_>>(), [&network.name]);
    let address = networks[&network.name].ip_address.clone().unwrap();
    assert_eq!(started.base_url, Some(format!("http://{address}:80")));
    assert_eq!(started.ports, [("80".to_owned(), format!("{address}:80"))].into());
    assert!(found.host_config.unwrap().port_bindings.unwrap_or_default().is_empty());
    assert_eq!(get(&started.base_url.clone().unwrap()).await.trim(), "here");
    // Adopting the container later finds the same.
    let inspected = runtime.inspect(&by_labels(&start)).await.unwrap().unwrap();
    assert_eq!(inspected.started, started);
    runtime.await_ready(&inspected).await.unwrap();
}

#[tokio::test]
async fn a_container_is_reached_in_the_way_that_it_was_made_for_also_under_another_setting() {
    let network = Network::new().await;
    let corner = Corner::new().await;
    let (published, over_network) = (corner.runtime(), with(&corner, Reach::Network));
    let (elsewhere, on_network) = (serving(), serving_on(&network));
    for (maker, other, start) in [(&published, &over_network, elsewhere), (&over_network, &published, on_network)] {
        let started = run(maker, &start).await.unwrap();
        assert_eq!(other.inspect(&by_labels(&start)).await.unwrap().unwrap().started, started);
        let listed = other.list().await.unwrap();
        let listed = listed.iter().find(|one| one.container.sandbox == start.id).unwrap();
        assert_eq!(listed.ports, started.ports);
    }
}

#[tokio::test]
async fn ports_are_published_on_the_address_that_is_set_and_reached_there() {
    let (corner, start) = (Corner::new().await, serving());
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let started = run(&with(&corner, Reach::Published(address)), &start).await.unwrap();
    assert!(started.ports["80"].starts_with("127.0.0.2:"), "{started:?}");
    assert_eq!(get(&started.base_url.unwrap()).await.trim(), "here");
    let everywhere = serving();
    let started = run(&with(&corner, Reach::Published(Ipv4Addr::UNSPECIFIED)), &everywhere).await.unwrap();
    assert!(started.ports["80"].starts_with("127.0.0.1:"), "{started:?}");
    assert_eq!(get(&started.base_url.unwrap()).await.trim(), "here");
}

#[tokio::test]
async fn a_network_that_is_not_there_is_named() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.network = egress::Network::Named("no-such-network".to_owned());
    let message = failure(&corner.runtime(), &start).await;
    assert!(message.contains("no-such-network"), "{message}");
}
