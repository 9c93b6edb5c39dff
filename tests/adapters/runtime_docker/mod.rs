//! What only a real engine can show: hardening, ports, readiness, images, and how a container ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bollard::{
    models::{NetworkConnectRequest, NetworkDisconnectRequest},
    query_parameters::LogsOptionsBuilder,
};
use futures_util::{StreamExt, stream::BoxStream};
use nix::sys::signal::Signal;
use sandglass::{
    domain::{
        SandboxId,
        sandbox::Container,
        spec::{Limits, Mount, Readiness},
    },
    drill::{Fault, OwnEngine},
    ports::runtime::{ContainerEvent, ContainerEventKind, Owner, Runtime, RuntimeError, Start, StartProgress, Started},
    runtime::docker::{Docker, Settings},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

mod reach;
mod registry;
mod tls;

use crate::support::docker::{Corner, IMAGE, by_id, by_labels, relay, shell, start};

async fn run(runtime: &Docker, start: &Start) -> Result<Started, RuntimeError> {
    runtime.start(start, &CancellationToken::new(), &|_| {}).await
}

/// The message of a failure.
async fn failure(runtime: &Docker, start: &Start) -> String {
    match run(runtime, start).await {
        Err(RuntimeError::Failed(message)) => message,
        other => panic!("{other:?} is no failure"),
    }
}

/// The answer of the container's HTTP server.
async fn get(url: &str) -> String {
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_container_can_do_little_beyond_itself() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.limits = Limits { cpus: Some(0.5), memory_mb: Some(64), pids: Some(50) };
    let started = run(&corner.runtime(), &start).await.unwrap();
    let host = corner.inspect(&started.container_id).await.host_config.unwrap();
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges:true"]);
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    let mut added: Vec<_> =
        host.cap_add.unwrap().into_iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    added.sort();
    assert_eq!(added, ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"]);
    assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((host.nano_cpus, host.pids_limit), (Some(500_000_000), Some(50)));
    assert_eq!((host.privileged, host.init, host.auto_remove), (Some(false), Some(true), Some(false)));
    assert_eq!(host.restart_policy.unwrap().name.unwrap().to_string(), "no");
    let log = host.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("json-file"));
    assert_eq!(log.config.unwrap(), [("max-size", "10m"), ("max-file", "3")].map(|(k, v)| (k.into(), v.into())).into());
    assert!(host.binds.unwrap_or_default().is_empty() && host.mounts.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn a_template_may_be_its_own_first_process_and_gain_privileges() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.command = shell("echo $$ $(grep NoNewPrivs /proc/self/status); exec sleep infinity");
    let output = async |start: &Start| {
        let started = run(&corner.runtime(), start).await.unwrap();
        let host = corner.inspect(&started.container_id).await.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        let options = LogsOptionsBuilder::default().stdout(true).follow(true).build();
        let first = corner.client.logs(&started.container_id, Some(options)).next().await;
        let words = first.unwrap().unwrap().to_string();
        corner.runtime().remove(&by_labels(start)).await.unwrap();
        words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let hardened = output(&start).await;
    assert!(hardened[0] != "1" && hardened[1..] == ["NoNewPrivs:", "1"], "{hardened:?}");
    (start.spec.init, start.spec.privilege_escalation) = (false, true);
    assert_eq!(output(&start).await, ["1", "NoNewPrivs:", "0"]);
}

#[tokio::test]
async fn an_engine_without_init_starts_nothing_but_templates_that_do_without_it() {
    let (corner, mut start) = (Corner::new().await, start());
    let engine = OwnEngine::start(&["--init-path", "/nowhere/docker-init"]).await.unwrap();
    engine.take_image(&corner.client, IMAGE).await.unwrap();
    let runtime = Docker::connect(Settings { host: Some(engine.host()), ..corner.settings() }).unwrap();
    start.labels.template = Some("python".to_owned());
    let message = failure(&runtime, &start).await;
    assert!(message.contains("set templates.python.init = false"), "{message}");
    runtime.remove(&by_labels(&start)).await.unwrap();
    start.spec.init = false;
    run(&runtime, &start).await.unwrap();
}

#[tokio::test]
async fn ports_are_published_on_the_loopback_address_only_and_the_first_is_the_base() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.ports = vec![8080, 80];
    let started = run(&corner.runtime(), &start).await.unwrap();
    let bindings = corner.inspect(&started.container_id).await.network_settings.unwrap().ports.unwrap();
    assert_eq!(bindings.len(), 2);
    for binding in bindings.into_values().flatten().flatten() {
        assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
    }
    assert_eq!(started.ports.keys().collect::<Vec<_>>(), ["80", "8080"]);
    assert_eq!(started.base_url, Some(format!("http://{}", started.ports["8080"])));
}

#[tokio::test]
async fn command_environment_and_mounts_reach_the_container() {
    let (corner, mut start) = (Corner::new().await, start());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("index.html"), "from the host").unwrap();
    let source = directory.path().to_str().unwrap().to_owned();
    start.spec.mounts = vec![Mount { source, target: "/www".to_owned(), read_only: true }];
    start.spec.env = [("PORT".to_owned(), "80".to_owned())].into();
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Tcp(80);
    start.spec.command = shell("touch /www/x && exit 9; exec httpd -f -p $PORT -h /www");
    let started = run(&corner.runtime(), &start).await.unwrap();
    assert_eq!(get(&format!("{}/index.html", started.base_url.unwrap())).await, "from the host");
}

#[tokio::test]
async fn a_port_counts_as_taken_only_when_somebody_in_the_container_listens() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Tcp(80);
    start.spec.command = shell("mkdir /www; echo here > /www/index.html; sleep 1; exec httpd -f -p 80 -h /www");
    let phases = std::sync::Mutex::new(Vec::new());
    let progress = |phase| phases.lock().unwrap().push(phase);
    let started = corner.runtime().start(&start, &CancellationToken::new(), &progress).await.unwrap();
    assert_eq!(get(&format!("{}/index.html", started.base_url.unwrap())).await.trim(), "here");
    assert_eq!(phases.into_inner().unwrap(), [StartProgress::Starting, StartProgress::WaitingForReadiness]);
}

#[tokio::test]
async fn a_path_counts_as_ready_only_when_it_is_answered_well() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Http { port: 80, path: "/ready".to_owned() };
    start.spec.command = shell("mkdir /www; httpd -p 80 -h /www; sleep 1; echo yes > /www/ready; sleep infinity");
    let started = run(&corner.runtime(), &start).await.unwrap();
    assert_eq!(get(&format!("{}/ready", started.base_url.unwrap())).await.trim(), "yes");
}

#[tokio::test]
async fn what_is_not_ready_in_time_failed_and_says_what_was_missing() {
    let corner = Corner::new().await;
    let mut start = start();
    start.spec.ports = vec![80];
    start.spec.ready_timeout = Duration::from_millis(700);
    start.spec.readiness = Readiness::Tcp(80);
    start.spec.command = shell("echo waiting for nothing; sleep infinity");
    let message = failure(&corner.runtime(), &start).await;
    assert!(message.contains("700ms") && message.contains("port 80"), "{message}");
    assert!(message.contains("waiting for nothing"), "{message}");

    let mut start = crate::support::docker::start();
    start.spec.ports = vec![80];
    start.spec.ready_timeout = Duration::from_millis(700);
    start.spec.readiness = Readiness::Http { port: 80, path: "/absent".to_owned() };
    start.spec.command = shell("mkdir /www; exec httpd -f -p 80 -h /www");
    let message = failure(&corner.runtime(), &start).await;
    assert!(message.contains("/absent") && message.contains("404"), "{message}");
}

#[tokio::test]
async fn after_an_interrupted_start_a_container_is_waited_for_by_its_labels() {
    let corner = Corner::new().await;
    let runtime = corner.runtime();
    for (script, ready) in [("mkdir /www; sleep 1; exec httpd -f -p 80 -h /www", true), ("sleep infinity", false)] {
        let mut start = start();
        // The start itself does not wait, as if it had been interrupted before it could.
        start.spec.ports = vec![80];
        start.spec.command = shell(script);
        start.labels.readiness = Some(Readiness::Tcp(80));
        start.labels.ready_timeout = Some(if ready { Duration::from_secs(20) } else { Duration::from_millis(700) });
        run(&runtime, &start).await.unwrap();
        let found = runtime.inspect(&by_labels(&start)).await.unwrap().expect("it runs");
        match runtime.await_ready(&found).await {
            Ok(()) => assert!(ready, "nobody listens, and it counts as ready"),
            Err(error) => assert!(!ready && error.to_string().contains("port 80"), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_container_that_ends_at_once_did_not_start_and_tells_its_last_words() {
    let (corner, mut start) = (Corner::new().await, start());
    // Nothing ever listens on the port, so the end is noticed even after the first probe.
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Tcp(80);
    start.spec.command = shell("echo no such table >&2; exit 3");
    let message = timeout(start.spec.ready_timeout, failure(&corner.runtime(), &start)).await.expect("before its time");
    assert!(message.contains("exit code 3") && message.contains("no such table"), "{message}");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.command = Some(vec!["no-such-program".to_owned()]);
    // The container's init does not find the command, so the container starts and ends.
    start.spec.ports = vec![80];
    start.spec.readiness = Readiness::Tcp(80);
    let message = failure(&corner.runtime(), &start).await;
    assert!(message.contains("no-such-program"), "{message}");
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_named_and_nothing_is_created() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.image = "localhost:1/no/such-image".to_owned();
    let pulling = std::sync::atomic::AtomicBool::new(false);
    let progress = |phase| {
        if matches!(phase, StartProgress::Pulling { .. }) {
            pulling.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let refusal = corner.runtime().start(&start, &CancellationToken::new(), &progress).await;
    let Err(RuntimeError::Failed(message)) = refusal else { panic!("{refusal:?}") };
    assert!(message.contains("localhost:1/no/such-image:latest"), "{message}");
    assert!(pulling.into_inner());
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_foreign_holder_of_the_name_is_named_and_lives_on() {
    let (corner, start) = (Corner::new().await, start());
    // A container with the same id under another prefix belongs to another supervisor.
    let labels = [("sandglass.prefix", "another"), ("sandglass.id", start.id.as_str())];
    let foreign = corner.put(&start.name, &labels).await;
    let message = failure(&corner.runtime(), &start).await;
    assert!(message.contains(&start.name) && message.contains(&foreign), "{message}");
    assert_eq!(corner.inspect(&foreign).await.state.unwrap().running, Some(true));
}

#[tokio::test]
async fn a_container_that_ignores_the_polite_signal_is_killed_after_the_grace_time() {
    let (corner, mut start) = (Corner::new().await, start());
    start.spec.command = shell("trap '' TERM; while true; do sleep 1; done");
    let started = run(&corner.runtime(), &start).await.unwrap();
    corner.runtime().remove(&by_id(&start, &started.container_id)).await.unwrap();
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_frozen_container_is_not_asked_to_stop_first() {
    let (corner, start, relay) = (Corner::new().await, start(), relay(Fault::None).await);
    let settings = sandglass::runtime::docker::Settings { host: Some(relay.docker_host()), ..corner.settings() };
    let runtime = Docker::connect(settings).unwrap();
    run(&runtime, &start).await.unwrap();
    runtime.pause(&by_labels(&start)).await.unwrap();
    runtime.remove(&by_labels(&start)).await.unwrap();
    assert_eq!((relay.count("/stop"), relay.count("DELETE")), (0, 1), "{:#?}", relay.seen());
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_removal_that_somebody_else_began_is_waited_for() {
    let (corner, start) = (Corner::new().await, start());
    run(&corner.runtime(), &start).await.unwrap();
    let (one, two) = (corner.runtime(), corner.runtime());
    let container = by_labels(&start);
    let outcomes = tokio::join!(one.remove(&container), two.remove(&container));
    assert_eq!(outcomes, (Ok(()), Ok(())));
    assert_eq!(corner.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn labels_that_name_no_sandbox_are_left_out_of_the_list() {
    let corner = Corner::new().await;
    let prefix = ("sandglass.prefix", corner.prefix.as_str());
    for labels in [&[prefix][..], &[prefix, ("sandglass.id", "")], &[prefix, ("sandglass.id", "../1")]] {
        corner.create(&format!("damaged-{}", SandboxId::generate()), labels).await;
    }
    let start = start();
    run(&corner.runtime(), &start).await.unwrap();
    let listed = corner.runtime().list().await.unwrap();
    let ours: Vec<_> = listed.into_iter().filter(|one| one.container.owner == Owner::Sandglass).collect();
    assert_eq!(ours.iter().map(|one| &one.container.sandbox).collect::<Vec<_>>(), [&start.id]);
}

#[tokio::test]
async fn a_container_with_both_sets_of_labels_is_listed_once_and_is_ours() {
    let (corner, start) = (Corner::new().await, start());
    let labels = [
        ("sandglass.prefix", corner.prefix.as_str()),
        ("sandglass.id", start.id.as_str()),
        ("owner", "executor_manager"),
        ("task_id", start.id.as_str()),
    ];
    let id = corner.create(&start.name, &labels).await;
    let mut listed = corner.runtime().list().await.unwrap();
    listed.retain(|one| one.container.sandbox == start.id);
    assert_eq!(listed.into_iter().map(|one| one.container).collect::<Vec<_>>(), [by_id(&start, &id)]);
}

#[tokio::test]
async fn an_engine_of_its_own_keeps_its_containers_through_a_restart_and_leaves_nothing() {
    let corner = Corner::new().await;
    let mut engine = OwnEngine::start(&[]).await.unwrap();
    let directory = engine.directory().to_owned();
    engine.take_image(&corner.client, IMAGE).await.unwrap();
    let settings = Settings { host: Some(engine.host()), ..corner.settings() };
    let (runtime, start) = (Docker::connect(settings).unwrap(), start());
    run(&runtime, &start).await.unwrap();
    let state = async || runtime.inspect(&by_labels(&start)).await.unwrap().unwrap().state;
    engine.stop().await.unwrap();
    assert!(matches!(runtime.check().await, Err(RuntimeError::Unreachable(_))));
    engine.begin().await.unwrap();
    assert_eq!(state().await, Container::Stopped(Some(143)));
    assert_eq!(corner.containers().await, [""; 0], "it is on the engine of everybody");
    drop(engine);
    assert!(!directory.exists());
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(directory.to_str().unwrap()));
}

/// An engine of its own with a running container on it.
async fn engine_of_its_own(arguments: &[&str]) -> (OwnEngine, Docker, Start) {
    let corner = Corner::new().await;
    let engine = OwnEngine::start(arguments).await.unwrap();
    engine.take_image(&corner.client, IMAGE).await.unwrap();
    let runtime = Docker::connect(Settings { host: Some(engine.host()), ..corner.settings() }).unwrap();
    let mut start = start();
    start.spec.ports = vec![80];
    run(&runtime, &start).await.unwrap();
    (engine, runtime, start)
}

/// Waits for the next event of an end.
async fn until_it_dies(events: &mut BoxStream<'static, Result<ContainerEvent, RuntimeError>>) {
    while !matches!(events.next().await.unwrap().unwrap().kind, ContainerEventKind::Died { .. }) {}
}

#[tokio::test]
async fn an_engine_that_stops_its_containers_does_not_account_for_their_ends() {
    let (mut engine, runtime, start) = engine_of_its_own(&[]).await;
    let container = by_labels(&start);
    let mut events = runtime.events(Some(0.0));
    assert_eq!(events.next().await.unwrap().unwrap().kind, ContainerEventKind::Started);
    engine.signal(Signal::SIGTERM).await.unwrap();
    until_it_dies(&mut events).await;
    assert!(!runtime.account_of_end(&container).await.stayed_up, "it was on its way out");
    engine.wait_for_its_end().await.unwrap();
    engine.begin().await.unwrap();
    assert!(!runtime.account_of_end(&container).await.stayed_up, "it has forgotten");
    let again = runtime.restart(&container, false).await.unwrap().unwrap();
    assert_eq!(again.ports.keys().collect::<Vec<_>>(), ["80"]);

    // An engine that was killed stops its containers when it comes back.
    engine.kill().await.unwrap();
    engine.begin().await.unwrap();
    let found = runtime.inspect(&container).await.unwrap().unwrap();
    assert_eq!(found.state, Container::Stopped(Some(143)));
    until_it_dies(&mut runtime.events(Some(0.0))).await;
    assert!(!runtime.account_of_end(&container).await.stayed_up, "it was not in service");

    // From here on, the engine stays up.
    runtime.restart(&container, false).await.unwrap().unwrap();
    engine.client().unwrap().stop_container(&found.started.container_id, None).await.unwrap();
    assert!(runtime.account_of_end(&container).await.stayed_up);
}

#[tokio::test]
async fn an_engine_that_keeps_its_containers_has_them_when_it_is_back() {
    let (mut engine, runtime, start) = engine_of_its_own(&["--live-restore"]).await;
    let before = runtime.inspect(&by_labels(&start)).await.unwrap();
    for _ in 0..2 {
        engine.stop().await.unwrap();
        engine.begin().await.unwrap();
        assert_eq!(runtime.inspect(&by_labels(&start)).await.unwrap(), before);
    }
}

#[tokio::test]
async fn the_last_lines_of_a_container_are_told_with_its_end() {
    let (corner, mut start) = (Corner::new().await, start());
    let runtime = corner.runtime();
    start.spec.command = shell("for i in $(seq 100); do echo line $i; done; printf '\\033[31mred \\377\\n'; exit 7");
    let _ = run(&runtime, &start).await;
    let account = runtime.account_of_end(&by_labels(&start)).await;
    let output = account.last_output.unwrap();
    let lines: Vec<_> = output.lines().collect();
    assert!(account.stayed_up && lines.len() == 20 && lines[0] == "line 82", "{lines:?}");
    assert!(lines.contains(&"\u{1b}[31mred \u{fffd}"), "{lines:?}");
}

#[tokio::test]
async fn a_listing_shows_the_ports_that_a_look_shows_also_when_they_have_moved() {
    let (corner, mut start) = (Corner::new().await, start());
    let runtime = corner.runtime();
    start.spec.ports = vec![80, 8080];
    let id = run(&runtime, &start).await.unwrap().container_id;
    let both = async || {
        let listed = runtime.list().await.unwrap().into_iter();
        let listed = listed.filter(|it| it.container.container_id.as_ref() == Some(&id)).map(|it| it.ports).next();
        let found = runtime.inspect(&by_labels(&start)).await.unwrap().unwrap();
        assert_eq!(listed, Some(found.started.ports.clone()));
        found.started.ports
    };
    let before = both().await;
    assert_eq!(before.len(), 2);
    let leave = NetworkDisconnectRequest { container: id.clone(), force: None };
    corner.client.disconnect_network("bridge", leave).await.unwrap();
    assert_eq!(both().await.len(), 0);
    let join = NetworkConnectRequest { container: id.clone(), endpoint_config: None };
    corner.client.connect_network("bridge", join).await.unwrap();
    let after = both().await;
    assert!(after.len() == 2 && after != before, "{before:?} became {after:?}");
}
