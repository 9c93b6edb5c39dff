//! What happens to the agent and the engine while people work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::{
    exec::{CreateExecOptions, StartExecOptions},
    models::{ContainerCreateBody, HostConfig, VolumeCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListVolumesOptions, RemoveVolumeOptions,
    },
};
use futures_util::future::join_all;
use sandglass::{
    domain::Status,
    drill::{Fault, OwnEngine},
    ports::inside::InsideError,
    runtime::docker::{Docker, Settings},
    sandboxes::{Create, RequestError},
    work::{Command, Ending, From, Input, Work, WorkError},
};

use crate::{
    support::docker::{Corner, IMAGE, relay},
    work_bench::{Bench, collect, exited, shell, until},
};

/// Kills the agent, and nothing else: this line itself does not contain what it looks for.
const KILL_THE_AGENT: &str = "for it in /proc/[0-9]*; do
    if tr '\\0' ' ' <$it/cmdline 2>/dev/null | grep -q ' serve[ ]sandglass-agent'; then kill -9 ${it#/proc/}; fi
done";

fn lost() -> Ending {
    Ending { lost: true, ..Ending::default() }
}

fn cat() -> Command {
    Command { stdin: true, ..shell("cat; echo done") }
}

/// A supervisor over an engine of its own with a sandbox.
async fn on_an_engine_of_its_own(corner: &Corner, arguments: &[&str]) -> (OwnEngine, Bench) {
    let engine = OwnEngine::start(arguments).await.unwrap();
    engine.take_image(&corner.client, IMAGE).await.unwrap();
    let runtime = Docker::connect(Settings { host: Some(engine.host()), ..corner.settings() }).unwrap();
    let bench = Bench::new(Arc::new(runtime), &[]).await;
    (engine, bench)
}

/// Runs a line of a shell through the engine's own exec, to its end.
async fn by_hand(client: &bollard::Docker, container: &str, line: &str) {
    let options = CreateExecOptions { cmd: Some(vec!["sh", "-c", line]), user: Some("0"), ..Default::default() };
    let exec = client.create_exec(container, options).await.unwrap().id;
    client.start_exec(&exec, Some(StartExecOptions { detach: true, ..Default::default() })).await.unwrap();
    until("the exec has ended", async || client.inspect_exec(&exec).await.unwrap().running == Some(false)).await;
}

#[actix_web::test]
async fn a_volume_that_was_emptied_is_filled_again_at_the_next_dial() {
    let corner = Corner::new().await;
    let (engine, bench) = on_an_engine_of_its_own(&corner, &[]).await;
    let client = engine.client().unwrap();
    let mounts = client.inspect_container(&bench.container().await, None).await.unwrap().mounts.unwrap();
    let volume = mounts.into_iter().find_map(|mount| mount.name).unwrap();
    let agent = std::path::Path::new(&client.inspect_volume(&volume).await.unwrap().mountpoint).join("agent");
    for what in ["before it was ever started", "while it runs"] {
        std::fs::remove_file(&agent).unwrap();
        // A dial of its own, as after a restart.
        let work = Work::new(bench.supervisor.sandboxes());
        let begun = work.begin(&bench.id, &shell("echo here")).await.unwrap();
        assert_eq!(collect(begun).await, ("here\n".into(), String::new(), exited(0)), "{what}");
        assert!(agent.exists(), "{what}");
    }
    bench.end().await;
}

#[actix_web::test]
async fn agents_of_other_versions_are_removed_unless_a_container_uses_them() {
    let corner = Corner::new().await;
    let engine = OwnEngine::start(&[]).await.unwrap();
    engine.take_image(&corner.client, IMAGE).await.unwrap();
    let client = engine.client().unwrap();
    let make = async |name: &str, version: Option<&str>| {
        let labels = version.map(|version| HashMap::from([("sandglass.agent".to_owned(), version.to_owned())]));
        let request = VolumeCreateRequest { name: Some(name.to_owned()), labels, ..Default::default() };
        client.create_volume(request).await.unwrap();
    };
    for version in ["old", "used", "crashed"] {
        make(&format!("sandglass-agent-{version}"), Some(version)).await;
    }
    make("sandglass-agent-unlabelled", None).await;
    make("somebodys", Some("old")).await;
    let container = async |name: &str, volume: &str, version: Option<&str>| {
        let labels = version.map(|version| HashMap::from([("sandglass.agent".to_owned(), version.to_owned())]));
        let host = HostConfig { binds: Some(vec![format!("{volume}:/.sandglass")]), ..Default::default() };
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            labels,
            host_config: Some(host),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        client.create_container(Some(options), body).await.unwrap();
    };
    container("uses", "sandglass-agent-used", None).await;
    // Its supervisor was killed before it could remove it.
    container("sandglass-agent-crashed-fill", "sandglass-agent-crashed", Some("crashed")).await;
    container("somebodys", "somebodys", Some("old")).await;

    let runtime = Docker::connect(Settings { host: Some(engine.host()), ..corner.settings() }).unwrap();
    let bench = Bench::new(Arc::new(runtime), &[]).await;
    let volumes = async || {
        let listed = client.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|volume| volume.name).collect();
        names.sort();
        names
    };
    let mounts = client.inspect_container(&bench.container().await, None).await.unwrap().mounts.unwrap();
    let own = mounts.into_iter().find_map(|mount| mount.name).unwrap();
    let mut left = ["sandglass-agent-unlabelled", "sandglass-agent-used", "somebodys", &own];
    left.sort_unstable();
    assert_eq!(volumes().await, left);
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let mut names: Vec<_> = client
        .list_containers(Some(options))
        .await
        .unwrap()
        .into_iter()
        .flat_map(|found| found.names.unwrap())
        .filter(|name| !name.contains(bench.id.as_str()))
        .collect();
    names.sort();
    assert_eq!(names, ["/somebodys", "/uses"]);

    // One that was removed by a supervisor of another version comes back, with its labels.
    let (supervisor, work, id) = (bench.supervisor.clone(), bench.work.clone(), bench.id.clone());
    bench.end().await;
    client.remove_volume(&own, None::<RemoveVolumeOptions>).await.unwrap();
    let create = Create { id: Some(id.clone()), ..Create::default() };
    supervisor.create(create, true).await.unwrap();
    assert_eq!(collect(work.begin(&id, &shell("echo here")).await.unwrap()).await.0, "here\n");
    assert!(client.inspect_volume(&own).await.unwrap().labels.contains_key("sandglass.agent"));
    supervisor.terminate(&id, Duration::from_secs(30)).await.unwrap();
}

#[actix_web::test]
async fn commands_of_an_agent_that_was_killed_are_lost_and_hold_no_longer_and_the_next_one_runs() {
    let corner = Corner::new().await;
    let bench = Bench::new(Arc::new(corner.runtime()), &[]).await;
    let (waited, left) = (bench.begin(&cat()).await, bench.begin(&cat()).await);
    let left_id = left.id.clone();
    drop(left);
    assert_eq!(bench.holding().await.len(), 2);
    by_hand(&corner.client, &bench.container().await, KILL_THE_AGENT).await;
    assert_eq!(collect(waited).await.2, lost());
    until("nothing holds it", async || bench.holding().await.is_empty()).await;
    let mut of_left = bench.work.read(&bench.id, &left_id, From::default()).await.unwrap();
    let unknown = of_left.next().await.unwrap_err();
    assert!(unknown.is_code("not_found"), "{unknown}");
    assert_eq!(bench.shell("echo again").await.0, "again\n");
    bench.end().await;
}

#[actix_web::test]
async fn a_command_that_exhausts_the_memory_ends_before_the_agent_and_alone() {
    let corner = Corner::new().await;
    let bench = Bench::new(Arc::new(corner.runtime()), &[("templates.base.limits.memory_mb", "32")]).await;
    let beside = bench.begin(&cat()).await;
    let ending = bench.shell("exec tail /dev/zero").await.2;
    assert_eq!((ending.signal, ending.lost), (Some(9), false), "{ending:?}");
    // The agent still knows the one that was begun before.
    bench.work.input(&bench.id, &beside.id, Input::Eof).await.unwrap();
    assert_eq!(collect(beside).await, ("done\n".into(), String::new(), exited(0)));
    assert_eq!(bench.holding().await, Vec::<String>::new());
    bench.end().await;
}

#[actix_web::test]
async fn dials_at_the_same_time_reach_the_same_agent() {
    let corner = Corner::new().await;
    let bench = Bench::new(Arc::new(corner.runtime()), &[]).await;
    let each = (0..6).map(async |number| {
        let work = Work::new(bench.supervisor.sandboxes());
        let begun = work.begin(&bench.id, &shell(&format!("echo {number}"))).await.unwrap();
        assert_eq!(collect(begun).await, (format!("{number}\n"), String::new(), exited(0)));
    });
    join_all(each).await;
    assert_eq!(bench.work.commands(&bench.id).await.unwrap().len(), 6);
    bench.end().await;
}

#[actix_web::test]
async fn an_engine_that_forbids_exec_is_named_with_what_to_allow() {
    let corner = Corner::new().await;
    for parts in [vec!["POST ", "/containers/", "/exec"], vec!["POST ", "/exec/", "/start"]] {
        let relay = relay(Fault::Refuse { parts, status: 403, message: "Forbidden by the administrator" }).await;
        let settings = Settings { host: Some(relay.docker_host()), ..corner.settings() };
        let bench = Bench::new(Arc::new(Docker::connect(settings).unwrap()), &[]).await;
        let Err(error) = bench.work.begin(&bench.id, &shell("true")).await else { panic!("it was begun") };
        let WorkError::Inside(InsideError::NoAgent(told)) = &error else { panic!("{error:?}") };
        for part in ["does not allow exec", "Forbidden by the administrator", "POST /exec/*/start"] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(bench.holding().await, Vec::<String>::new());
        relay.set(Fault::None);
        assert_eq!(bench.shell("echo allowed").await.0, "allowed\n");
        bench.end().await;
    }
}

#[actix_web::test]
async fn a_command_in_a_container_that_is_frozen_by_hand_goes_on_when_it_is_thawed() {
    let corner = Corner::new().await;
    let bench = Bench::new(Arc::new(corner.runtime()), &[]).await;
    let (begun, container) = (bench.begin(&cat()).await, bench.container().await);
    let status = async || bench.supervisor.get(&bench.id).await.unwrap().status();
    corner.client.pause_container(&container).await.unwrap();
    until("it is paused", async || status().await == Status::Paused).await;
    assert_eq!(bench.holding().await, std::slice::from_ref(&begun.id), "a frozen command has not ended");
    let refused = bench.work.input(&bench.id, &begun.id, Input::Eof).await.unwrap_err();
    assert!(matches!(refused, WorkError::Request(RequestError::Paused(_))), "{refused}");
    corner.client.unpause_container(&container).await.unwrap();
    until("it runs", async || status().await == Status::Running).await;
    bench.work.input(&bench.id, &begun.id, Input::Bytes(b"thawed\n".to_vec())).await.unwrap();
    bench.work.input(&bench.id, &begun.id, Input::Eof).await.unwrap();
    assert_eq!(collect(begun).await, ("thawed\ndone\n".into(), String::new(), exited(0)));
    bench.end().await;
}

#[actix_web::test]
async fn output_has_no_gap_when_an_engine_that_keeps_its_containers_is_restarted() {
    let corner = Corner::new().await;
    let (mut engine, bench) = on_an_engine_of_its_own(&corner, &["--live-restore"]).await;
    let line = "i=0; until [ -e /tmp/enough ]; do echo line $i; i=$((i+1)); sleep 0.02; done; echo $i >&2; exit 3";
    let begun = bench.begin(&shell(line)).await;
    let command = begun.id.clone();
    let reading = tokio::spawn(collect(begun));
    engine.stop().await.unwrap();
    engine.begin().await.unwrap();
    let again = async || bench.work.begin(&bench.id, &shell("touch /tmp/enough")).await;
    until("it can be worked in again", async || again().await.is_ok()).await;
    let (stdout, stderr, ending) = reading.await.unwrap();
    assert_eq!(ending, exited(3), "{stderr}");
    let lines: Vec<_> = (0..stderr.trim().parse().unwrap()).map(|number: u32| format!("line {number}\n")).collect();
    assert!(lines.len() > 50, "it ran on without the engine");
    assert_eq!(stdout, lines.concat());
    until("nothing holds it", async || !bench.holding().await.contains(&command)).await;
    bench.end().await;
}
