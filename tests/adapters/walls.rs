//! What sandboxes on isolated and internal networks reach, with a real engine and real packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashMap,
    io::Write,
    net::{Ipv4Addr, SocketAddrV4},
    process::{Command, Stdio},
};

use bollard::{
    exec::{CreateExecOptions, StartExecResults},
    models::{NetworkConnectRequest, NetworkDisconnectRequest},
    query_parameters::{KillContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};
use futures_util::{StreamExt, future::join_all};
use sandglass::{
    domain::{
        egress::{Egress, Network, Ranges},
        sandbox::Container,
    },
    ports::{
        runtime::{ContainerRef, Runtime, RuntimeError, Start, Started},
        walls::WallsError,
    },
    runtime::docker::{Docker, Firewall, LeftOver, Settings},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engines::quiet,
    support::{
        docker::{Corner, by_id, shell, start},
        world::{PORT, World, host_service, reaches},
    },
};

/// A corner, and a runtime in it.
struct Walled {
    runtime: Docker,
    corner: Corner,
}

impl Walled {
    async fn with(firewall: Firewall) -> Self {
        let corner = Corner::new().await;
        let runtime = Docker::connect(Settings { firewall, ..corner.settings() }).unwrap();
        Self { runtime, corner }
    }

    async fn new() -> Self {
        Self::with(Firewall::Local).await
    }

    async fn run(&self, start: &Start) -> Result<Started, RuntimeError> {
        self.runtime.start(start, &CancellationToken::new(), &quiet).await
    }

    /// Starts a sandbox, and returns its start, the id of its container and its address.
    async fn sandbox(&self, egress: Egress) -> (Start, String, Ipv4Addr) {
        let start = isolated(egress);
        let id = self.run(&start).await.unwrap().container_id;
        let address = self.address(&id).await;
        (start, id, address)
    }

    async fn address(&self, id: &str) -> Ipv4Addr {
        let networks = self.corner.inspect(id).await.network_settings.unwrap().networks.unwrap();
        networks.into_values().next().unwrap().ip_address.unwrap().parse().unwrap()
    }

    async fn network(&self, id: &str) -> String {
        self.corner.inspect(id).await.host_config.unwrap().network_mode.unwrap()
    }

    /// Those of the hosts that a container reaches at the port.
    async fn reached(&self, id: &str, hosts: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let targets: Vec<_> = hosts.iter().map(|host| SocketAddrV4::new(*host, PORT)).collect();
        self.reached_at(id, &targets).await.into_iter().map(|target| *target.ip()).collect()
    }

    async fn reached_at(&self, id: &str, targets: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
        let tries: String = targets
            .iter()
            .map(|target| format!("([ \"$({})\" = hello ] && echo {target}) & ", dial(*target)))
            .collect();
        let mut reached: Vec<_> =
            self.exec(id, &format!("{tries} wait")).await.lines().map(|line| line.parse().unwrap()).collect();
        reached.sort_by_key(|target| targets.iter().position(|other| other == target));
        reached
    }

    async fn exec(&self, id: &str, script: &str) -> String {
        let options =
            CreateExecOptions { attach_stdout: Some(true), cmd: Some(vec!["sh", "-c", script]), ..Default::default() };
        let exec = self.corner.client.create_exec(id, options).await.unwrap();
        let StartExecResults::Attached { mut output, .. } =
            self.corner.client.start_exec(&exec.id, None).await.unwrap()
        else {
            panic!("it is detached")
        };
        let mut said = String::new();
        while let Some(part) = output.next().await {
            said.push_str(&part.unwrap().to_string());
        }
        said
    }

    /// Makes a sandbox that has ended, and removes the table. `shut` was shut while it ran, so that its labels do not tell it.
    async fn stopped_without_a_table(&self, shut: &str) -> (ContainerRef, String) {
        let (start, id, _) = self.sandbox(Egress::default()).await;
        let container = by_id(&start, &id);
        self.runtime.walls().unwrap().set(&container, &by_request(&[], &[shut])).await.unwrap();
        self.corner.client.kill_container(&id, None::<KillContainerOptions>).await.unwrap();
        wait_for(async || self.runtime.inspect(&container).await.unwrap().unwrap().state != Container::Running).await;
        nft(&["delete", "table", "inet", &self.table()]);
        (container, id)
    }

    fn table(&self) -> String {
        format!("sandglass-{}", self.corner.prefix)
    }

    /// The table's text; empty if there is none.
    fn listed(&self) -> String {
        nft(&["list", "table", "inet", &self.table()])
    }
}

fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("this test needs nftables: config/setup.sh");
    String::from_utf8(output.stdout).unwrap()
}

/// The command that prints what a host says.
fn dial(target: SocketAddrV4) -> String {
    format!("nc -w 2 {} {} 2>/dev/null </dev/null", target.ip(), target.port())
}

/// A sandbox that answers at the port, on an isolated network.
fn isolated(egress: Egress) -> Start {
    let mut start = start();
    start.spec.network = Network::Isolated;
    start.spec.egress = egress;
    start.spec.ports = vec![PORT];
    start.spec.command = shell(&format!("exec nc -ll -p {PORT} -e echo hello"));
    start
}

fn ranges(allow: &[&str], deny: &[&str]) -> Ranges {
    let parsed = |texts: &[&str]| texts.iter().map(|text| sandglass::domain::egress::range(text).unwrap()).collect();
    Ranges { allow: parsed(allow), deny: parsed(deny) }
}

fn by_request(allow: &[&str], deny: &[&str]) -> Egress {
    Egress { request: ranges(allow, deny), ..Egress::default() }
}

fn by_template(allow: &[&str], deny: &[&str]) -> Egress {
    Egress { template: ranges(allow, deny), ..Egress::default() }
}

fn nothing() -> Egress {
    by_request(&[], &["0.0.0.0/0"])
}

/// A sandbox reaches the internet and nothing else, and is reached where it is published.
async fn is_walled_in(walled: &Walled, world: &World) {
    let (_, id, own) = walled.sandbox(Egress::default()).await;
    let peer = isolated(Egress::default());
    let peer_started = walled.run(&peer).await.unwrap();
    let peer_address = walled.address(&peer_started.container_id).await;
    let gateway = Ipv4Addr::from(u32::from(own) & !0x3ff | 1);
    let service = host_service();
    let at = |host| SocketAddrV4::new(host, PORT);
    let on_host = |host| SocketAddrV4::new(host, service);
    let tried = [
        at(world.internet()),
        at(world.internet_too()),
        at(peer_address),
        at(world.private()),
        at(world.link_local()),
        on_host(gateway),
        on_host(world.host()),
        peer_started.ports["8080"].parse().unwrap(),
    ];
    assert_eq!(walled.reached_at(&id, &tried).await, tried[..2]);
    assert!(reaches(peer_started.ports["8080"].parse().unwrap()), "its port is published");
    assert!(reaches(SocketAddrV4::new(gateway, service)), "the gateway is an address of this host");
    assert_eq!(walled.runtime.walls().unwrap().gap(), None);
}

#[tokio::test]
async fn an_isolated_sandbox_reaches_the_internet_and_nothing_else() {
    let (world, walled) = (World::new(), Walled::new().await);
    is_walled_in(&walled, &world).await;
    assert!(helpers(&walled).await.is_empty());
}

#[tokio::test]
async fn a_helper_on_the_engine_walls_sandboxes_in_and_is_gone_with_its_supervisor() {
    let (world, walled) = (World::new(), Walled::with(Firewall::Helper).await);
    is_walled_in(&walled, &world).await;
    let (_, id, address) = walled.sandbox(nothing()).await;
    assert!(walled.reached(&id, &[world.internet()]).await.is_empty());
    assert!(walled.listed().contains(&address.to_string()));
    let helper = helpers(&walled).await.pop().expect("the helper runs");
    let host = walled.corner.inspect(&helper).await.host_config.unwrap();
    assert_eq!((host.cap_drop.unwrap(), host.cap_add.unwrap()), (vec!["ALL".to_owned()], vec!["NET_ADMIN".to_owned()]));
    assert!(
        walled.runtime.list().await.unwrap().iter().all(|one| one.container.container_id.as_ref() != Some(&helper))
    );
    // One that somebody has removed is started again.
    walled.corner.client.kill_container(&helper, None::<KillContainerOptions>).await.unwrap();
    let (_, id, _) = walled.sandbox(nothing()).await;
    assert!(walled.reached(&id, &[world.internet()]).await.is_empty());
    let Walled { runtime, corner } = walled;
    drop(runtime);
    let walled = Walled { runtime: corner.runtime(), corner };
    wait_for(async || helpers(&walled).await.is_empty()).await;
}

async fn helpers(walled: &Walled) -> Vec<String> {
    let label = format!("sandglass.firewall={}", walled.corner.prefix);
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = walled.corner.client.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|container| container.id).collect()
}

async fn wait_for(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it did not come about in 20 seconds");
}

#[tokio::test]
async fn a_template_opens_what_a_request_cannot_and_shuts_what_a_request_cannot_open() {
    let (world, walled) = (World::new(), Walled::new().await);
    let all = [world.internet(), world.internet_too(), world.private()];
    let [one, other, private] = all.map(|host| host.to_string());
    for (egress, open) in [
        (by_template(&[&private], &[]), vec![0, 1, 2]),
        (by_request(&[&private], &[]), vec![0, 1]),
        (by_request(&[], &[&one]), vec![1]),
        (by_request(&[&other], &["0.0.0.0/0"]), vec![1]),
        (by_template(&[&private], &["0.0.0.0/0"]), vec![2]),
        (Egress { template: ranges(&[], &[&one]), request: ranges(&[&one], &[]) }, vec![1]),
        (Egress { template: ranges(&[&private], &[]), request: ranges(&[], &["0.0.0.0/0"]) }, vec![]),
    ] {
        let (_, id, _) = walled.sandbox(egress.clone()).await;
        let expected: Vec<_> = open.into_iter().map(|index: usize| all[index]).collect();
        assert_eq!(walled.reached(&id, &all).await, expected, "{egress:?}");
    }
}

#[tokio::test]
async fn rules_change_while_a_sandbox_runs_and_what_they_block_is_counted() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (start, id, _) = walled.sandbox(Egress::default()).await;
    let (walls, container, hosts) = (walled.runtime.walls().unwrap(), by_id(&start, &id), [world.internet()]);
    assert_eq!(walled.reached(&id, &hosts).await, hosts);
    assert_eq!(walls.blocked(&container).await.unwrap().packets, 0);
    walls.set(&container, &nothing()).await.unwrap();
    assert!(walled.reached(&id, &hosts).await.is_empty());
    let blocked = walls.blocked(&container).await.unwrap();
    assert!(blocked.packets > 0);
    assert_eq!(blocked.recent, [(world.internet().into(), blocked.packets)]);
    // What is expected may have been read before the change.
    walls.tend([(id.clone(), Egress::default())].into()).await.unwrap();
    assert!(walled.reached(&id, &hosts).await.is_empty());
    walls.tend([(id.clone(), Egress::default())].into()).await.unwrap();
    assert_eq!(walled.reached(&id, &hosts).await, hosts);
    assert!(walls.blocked(&container).await.unwrap().packets >= blocked.packets, "what was counted stays");
    let elsewhere = crate::support::docker::start();
    let other = walled.run(&elsewhere).await.unwrap().container_id;
    let refusal = walls.set(&by_id(&elsewhere, &other), &nothing()).await;
    assert!(matches!(refusal, Err(WallsError::NoWalls(_))), "{refusal:?}");
}

#[tokio::test]
async fn twenty_sandboxes_at_once_have_their_rules_at_their_first_instruction() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (shut, open) = (world.internet(), world.internet_too());
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let mut start = isolated(by_request(&[], &[&shut.to_string()]));
            let dial = |host| dial(SocketAddrV4::new(host, PORT));
            start.spec.command =
                shell(&format!("{} > /shut; {} > /open; touch /done; sleep 600", dial(shut), dial(open)));
            start
        })
        .collect();
    let started = join_all(starts.iter().map(|start| walled.run(start))).await;
    for started in started {
        let id = started.unwrap().container_id;
        wait_for(async || walled.corner.has_file(&id, "/done").await).await;
        assert_eq!(walled.exec(&id, "cat /shut /open").await.trim(), "hello", "one of the two is open");
        assert_eq!(walled.exec(&id, "cat /shut").await, "");
    }
}

#[tokio::test]
async fn rules_go_with_their_sandbox_and_with_no_other() {
    let walled = Walled::new().await;
    let ((start, id, address), (_, _, other)) = (walled.sandbox(nothing()).await, walled.sandbox(nothing()).await);
    let has = |address: Ipv4Addr| walled.listed().contains(&format!("{address} : "));
    assert!(has(address) && has(other), "{}", walled.listed());
    walled.runtime.remove(&by_id(&start, &id)).await.unwrap();
    assert!(!walled.listed().contains(&format!("{address}")) && has(other), "{}", walled.listed());
}

#[tokio::test]
async fn a_table_that_others_have_removed_is_back_before_a_sandbox_with_rules_starts_and_when_the_walls_are_tended() {
    let (world, walled) = (World::new(), Walled::new().await);
    let hosts = [world.internet(), world.private()];
    let (_, first, _) = walled.sandbox(by_request(&[], &[&world.internet().to_string()])).await;
    let expected = || HashMap::from([(first.clone(), by_request(&[], &[&world.internet().to_string()]))]);
    nft(&["delete", "table", "inet", &walled.table()]);
    assert_eq!(walled.reached(&first, &hosts).await, hosts, "it is gone");
    let (_, second, _) = walled.sandbox(nothing()).await;
    for id in [&first, &second] {
        assert!(walled.reached(id, &hosts).await.is_empty());
    }
    nft(&["flush", "chain", "inet", &walled.table(), "forward"]);
    assert_eq!(walled.reached(&first, &hosts).await, hosts, "its entry is gone");
    walled.runtime.walls().unwrap().tend(expected()).await.unwrap();
    for id in [&first, &second] {
        assert!(walled.reached(id, &hosts).await.is_empty());
    }
}

#[tokio::test]
async fn another_supervisor_adopts_the_networks_and_knows_the_rules_when_it_is_told_them() {
    let (world, walled) = (World::new(), Walled::new().await);
    let hosts = [world.internet()];
    let (_, told, address) = walled.sandbox(nothing()).await;
    let (_, forgotten, _) = walled.sandbox(Egress::default()).await;
    let Walled { runtime, corner } = walled;
    drop(runtime);
    let walled = Walled { runtime: Docker::connect(corner.settings()).unwrap(), corner };
    assert!(walled.listed().contains(&address.to_string()), "rules outlive their supervisor");
    let walls = walled.runtime.walls().unwrap();
    walls.tend([(told.clone(), nothing())].into()).await.unwrap();
    assert!(walled.reached(&told, &hosts).await.is_empty());
    assert!(walled.reached(&forgotten, &hosts).await.is_empty(), "of it nothing is known, so it has no rules");
    walls.tend([(told.clone(), nothing()), (forgotten.clone(), Egress::default())].into()).await.unwrap();
    assert!(walled.reached(&told, &hosts).await.is_empty());
    assert_eq!(walled.reached(&forgotten, &hosts).await, hosts);
    let (_, new, new_address) = walled.sandbox(Egress::default()).await;
    assert_ne!(new_address, address);
    assert_eq!(walled.network(&new).await, walled.network(&told).await);
}

#[tokio::test]
async fn a_sandbox_that_runs_again_has_the_rules_that_it_had() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (shut, hosts) = (world.internet().to_string(), [world.internet(), world.internet_too()]);
    let (container, id) = walled.stopped_without_a_table(&shut).await;
    walled.runtime.restart(&container, false).await.unwrap().unwrap();
    assert_eq!(walled.reached(&id, &hosts).await, hosts[1..]);
}

#[tokio::test]
async fn a_sandbox_whose_rules_cannot_be_set_runs_again_at_no_try() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (shut, hosts) = (world.internet().to_string(), [world.internet(), world.internet_too()]);
    let (container, id) = walled.stopped_without_a_table(&shut).await;
    // Only its owner can write a table that has one, and it lasts as long as that.
    let mut owner = Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let line = format!("add table inet {} {{ flags owner; }}\n", walled.table());
    owner.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    wait_for(async || walled.listed().contains("owner")).await;
    for _ in 0..3 {
        walled.runtime.restart(&container, false).await.unwrap_err();
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for(async || !walled.listed().contains("owner")).await;
    walled.runtime.restart(&container, false).await.unwrap().unwrap();
    assert_eq!(walled.reached(&id, &hosts).await, hosts[1..]);
}

#[tokio::test]
async fn without_a_firewall_a_sandbox_with_rules_does_not_start_and_one_without_is_told_apart() {
    let (world, walled) = (World::new(), Walled::with(Firewall::Off).await);
    let refusal = walled.run(&isolated(nothing())).await.unwrap_err().to_string();
    assert!(refusal.contains("docker.firewall"), "{refusal}");
    let (_, id, _) = walled.sandbox(Egress::default()).await;
    assert_eq!(walled.reached(&id, &[world.private()]).await, [world.private()]);
    let gap = walled.runtime.walls().unwrap().gap().expect("something is open");
    assert!(gap.contains("docker.firewall") && gap.contains("metadata"), "{gap}");
    assert_eq!(walled.listed(), "");
    let mut elsewhere = start();
    elsewhere.spec.egress = nothing();
    let refusal = walled.run(&elsewhere).await.unwrap_err().to_string();
    assert!(refusal.contains("isolated"), "{refusal}");
}

#[tokio::test]
async fn an_internal_sandbox_reaches_nothing_and_is_reached_by_its_host() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (_, neighbour, _) = walled.sandbox(Egress::default()).await;
    let mut internal = isolated(Egress::default());
    internal.spec.network = Network::Internal;
    let started = walled.run(&internal).await.unwrap();
    let own = walled.address(&started.container_id).await;
    let gateway = Ipv4Addr::from(u32::from(own) & !0x3ff | 1);
    let at = |host| SocketAddrV4::new(host, PORT);
    let service = SocketAddrV4::new(gateway, host_service());
    let peer = walled.run(&Start { id: start().id, name: start().name, ..internal.clone() }).await.unwrap();
    let tried = [
        at(world.internet()),
        at(world.private()),
        at(walled.address(&peer.container_id).await),
        at(walled.address(&neighbour).await),
        service,
    ];
    assert!(walled.reached_at(&started.container_id, &tried).await.is_empty());
    assert!(walled.reached_at(&neighbour, &[at(own)]).await.is_empty());
    assert_eq!(started.ports["8080"], at(own).to_string());
    assert!(reaches(at(own)));
}

#[tokio::test]
async fn a_network_that_somebody_has_removed_or_damaged_is_made_again() {
    let (world, walled) = (World::new(), Walled::new().await);
    let hosts = [world.internet()];
    let (start, id, address) = walled.sandbox(nothing()).await;
    let (container, client) = (by_id(&start, &id), &walled.corner.client);
    let walls = walled.runtime.walls().unwrap();
    walls.set(&container, &Egress::default()).await.unwrap();
    let expected = || HashMap::from([(id.clone(), Egress::default())]);
    let network = walled.network(&id).await;

    // The interface is gone while a sandbox runs.
    let interface = interface(&walled, &network).await;
    assert!(Command::new("ip").args(["link", "del", &interface]).status().unwrap().success());
    assert!(walled.reached(&id, &hosts).await.is_empty());
    walls.tend(expected()).await.unwrap();
    assert_eq!(walled.reached(&id, &hosts).await, hosts);

    // The network is gone while it runs.
    let leave = NetworkDisconnectRequest { container: id.clone(), force: Some(true) };
    client.disconnect_network(&network, leave).await.unwrap();
    client.remove_network(&network).await.unwrap();
    walls.tend(expected()).await.unwrap();
    assert_eq!((walled.reached(&id, &hosts).await, walled.address(&id).await), (hosts.to_vec(), address));

    // It is gone while it does not run.
    client.kill_container(&id, None::<KillContainerOptions>).await.unwrap();
    wait_for(async || walled.runtime.inspect(&container).await.unwrap().unwrap().state != Container::Running).await;
    client.remove_network(&network).await.unwrap();
    walled.runtime.restart(&container, false).await.unwrap().unwrap();
    assert_eq!((walled.reached(&id, &hosts).await, walled.address(&id).await), (hosts.to_vec(), address));

    // It is gone, and the next start does not know.
    walled.runtime.remove(&container).await.unwrap();
    client.remove_network(&network).await.unwrap();
    let (_, next, _) = walled.sandbox(nothing()).await;
    assert_eq!(walled.network(&next).await, network);
    assert!(walled.reached(&next, &hosts).await.is_empty());
}

async fn interface(walled: &Walled, network: &str) -> String {
    let found = walled.corner.client.inspect_network(network, None).await.unwrap();
    found.options.unwrap()["com.docker.network.bridge.name"].clone()
}

#[tokio::test]
async fn a_sandbox_whose_address_somebody_else_has_gets_another_one_with_its_rules() {
    let (world, walled) = (World::new(), Walled::new().await);
    let (start, id, address) = walled.sandbox(nothing()).await;
    let client = &walled.corner.client;
    client.kill_container(&id, None::<KillContainerOptions>).await.unwrap();
    let container = by_id(&start, &id);
    wait_for(async || walled.runtime.inspect(&container).await.unwrap().unwrap().state != Container::Running).await;
    let next = Ipv4Addr::from(u32::from(address) + 1);
    for taken in [address, next] {
        let thief = walled.corner.put(&format!("{}-{taken}", walled.corner.prefix), &[]).await;
        let chosen =
            bollard::models::EndpointIpamConfig { ipv4_address: Some(taken.to_string()), ..Default::default() };
        let endpoint = bollard::models::EndpointSettings { ipam_config: Some(chosen), ..Default::default() };
        let join = NetworkConnectRequest { container: thief.clone(), endpoint_config: Some(endpoint) };
        client.connect_network(&walled.network(&id).await, join).await.unwrap();
    }
    let (_, new, new_address) = walled.sandbox(nothing()).await;
    walled.runtime.restart(&container, false).await.unwrap().unwrap();
    let moved = walled.address(&id).await;
    assert!(![address, next, new_address].contains(&moved) && ![address, next].contains(&new_address));
    for id in [&id, &new] {
        assert!(walled.reached(id, &[world.internet()]).await.is_empty());
    }
    let listed = walled.listed();
    assert!(!listed.contains(&format!("{address} : ")) && listed.contains(&format!("{moved} : ")), "{listed}");
}

#[tokio::test]
async fn a_network_that_is_not_as_ours_are_made_is_not_used() {
    let walled = Walled::new().await;
    let name = format!("sandglass-{}-1", walled.corner.prefix);
    let labels = [("sandglass.prefix", walled.corner.prefix.as_str()), ("sandglass.network", "isolated")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let request =
        bollard::models::NetworkCreateRequest { name: name.clone(), labels: Some(labels.into()), ..Default::default() };
    walled.corner.client.create_network(request).await.unwrap();
    let (_, id, _) = walled.sandbox(Egress::default()).await;
    assert_eq!(walled.network(&id).await, format!("sandglass-{}-2", walled.corner.prefix));
    let filters = HashMap::from([("label".to_owned(), vec![format!("sandglass.prefix={}", walled.corner.prefix)])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    assert_eq!(walled.corner.client.list_networks(Some(options)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn clean_removes_what_no_sandbox_needs_and_nothing_else() {
    let (walled, neighbour) = (Walled::new().await, Walled::new().await);
    let (_, kept, _) = neighbour.sandbox(nothing()).await;
    let (start, id, address) = walled.sandbox(nothing()).await;
    let mut internal = isolated(Egress::default());
    internal.spec.network = Network::Internal;
    let internal_id = walled.run(&internal).await.unwrap().container_id;
    let [network, internal_network] = [walled.network(&id).await, walled.network(&internal_id).await];
    let ours = async || {
        let left = walled.runtime.left_over().await.unwrap();
        left.into_iter().filter(|left| !matches!(left, LeftOver::AgentVolume(_))).collect::<Vec<_>>()
    };
    assert_eq!(ours().await, []);
    walled.runtime.remove(&by_id(&internal, &internal_id)).await.unwrap();
    assert_eq!(ours().await, [LeftOver::Network(internal_network.clone())]);
    walled.runtime.remove(&by_id(&start, &id)).await.unwrap();
    let (table, name) = (LeftOver::Table(walled.table()), LeftOver::Network(network));
    assert_eq!(ours().await, [table, name, LeftOver::Network(internal_network)]);
    for left in ours().await {
        walled.runtime.remove_left_over(&left).await.unwrap();
        walled.runtime.remove_left_over(&left).await.unwrap();
    }
    assert_eq!((ours().await, walled.listed()), (Vec::new(), String::new()));
    assert!(neighbour.listed().contains("sb-") && !neighbour.listed().contains(&address.to_string()));
    assert_eq!(neighbour.corner.inspect(&kept).await.state.unwrap().running, Some(true));
    // A supervisor whose things were removed makes them again.
    let (_, again, address) = walled.sandbox(nothing()).await;
    assert!(walled.listed().contains(&address.to_string()) && walled.network(&again).await.ends_with("-1"));
}
