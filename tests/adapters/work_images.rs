//! Work in every kind of image and container: what is worked with is the agent, and nothing of the image.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{io, sync::Arc};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bytes::Bytes;
use sandglass::{
    domain::SandboxId,
    ports::{inside::InsideError, runtime::Runtime},
    work::{Command, Program, WorkError},
};
use serde_json::json;

use crate::{
    support::docker::{Corner, DEBIAN, IMAGE},
    work_bench::{Bench, collect, exited, shell},
};

/// The only program of an image that has one.
const LONELY: &str = "/busybox.static";

fn argv(words: &[&str]) -> Command {
    Command { program: Program::Argv(words.iter().map(|word| (*word).to_owned()).collect()), ..shell("") }
}

/// A tar of these files and directories, which end with `/`: their names, modes, owners and contents.
fn tar_of(files: &[(&str, u32, u64, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode, owner, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Runs `words`, which print `out` and end with `code`, and moves a file in and out at `path`.
async fn works(bench: &Bench, words: &[&str], out: &str, code: i32, path: &str) {
    let (stdout, stderr, ending) = collect(bench.begin(&argv(words)).await).await;
    assert_eq!((stdout.as_str(), &ending), (out, &exited(code)), "{stderr}");
    let content: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let parts = content.chunks(60_000).map(|part| Ok::<_, io::Error>(Bytes::copy_from_slice(part))).collect();
    bench.put(path, &[], parts).await.unwrap();
    assert_eq!(bench.get("/files", path).await.unwrap(), content);
}

/// Who owns a file inside, as `Stat` tells it.
async fn owner(bench: &Bench, path: &str) -> String {
    let found = bench.work.file_call(&bench.id, "Stat", &json!({"path": path}), None).await.unwrap();
    found["entry"]["owner"].as_str().unwrap().to_owned()
}

/// A sandbox of this image, which is started with its own command unless there is one.
async fn sandbox_of(corner: &Corner, image: &str, overrides: &[(&str, &str)]) -> Bench {
    let all = [&[("templates.base.image", image)], overrides].concat();
    Bench::new(Arc::new(corner.runtime()), &all).await
}

#[actix_web::test]
async fn busybox_is_worked_in() {
    let corner = Corner::new().await;
    let bench = sandbox_of(&corner, IMAGE, &[]).await;
    works(&bench, &["sh", "-c", "echo here; exit 3"], "here\n", 3, "/tmp/file").await;
    bench.end().await;
}

#[actix_web::test]
async fn an_image_with_nothing_but_one_static_program_is_worked_in() {
    let corner = Corner::new().await;
    let busybox = corner.file(IMAGE, "/bin/busybox").await;
    let name = LONELY.trim_start_matches('/');
    let image = corner.import(tar_of(&[(name, 0o755, 0, &busybox)]), &[]).await;
    let command = format!("[\"{LONELY}\", \"sleep\", \"infinity\"]");
    let bench = sandbox_of(&corner, &image, &[("templates.base.command", &command)]).await;
    works(&bench, &[LONELY, "sh", "-c", "echo here; exit 3"], "here\n", 3, "/new/file").await;
    assert_eq!(owner(&bench, "/new/file").await, "0");
    // There is no shell, no directory for temporary files, and no user with a name.
    let Err(error) = bench.work.begin(&bench.id, &shell("true")).await else { panic!("it has a shell") };
    assert!(matches!(error, WorkError::Refused { exit_code: Some(127), .. }), "{error}");
    let somebody = Command { user: Some("1000:1000".to_owned()), ..argv(&[LONELY, "id", "-u"]) };
    assert_eq!(collect(bench.begin(&somebody).await).await.0, "1000\n");
    let named = Command { user: Some("somebody".to_owned()), ..argv(&[LONELY, "true"]) };
    let Err(error) = bench.work.begin(&bench.id, &named).await else { panic!("it was run") };
    assert!(error.to_string().contains("somebody"), "{error}");
    bench.end().await;
}

#[actix_web::test]
async fn the_user_of_an_image_works_and_owns_what_is_made_and_root_works_where_privileges_can_be_gained() {
    let corner = Corner::new().await;
    let base = corner.create(&format!("base-{}", corner.prefix), &[]).await;
    let users = b"root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001:worker:/home/worker:/bin/sh\n";
    let files = [
        ("etc/passwd", 0o644, 0, users.as_slice()),
        ("etc/group", 0o644, 0, b"root:x:0:\nworkers:x:1001:\ntape:x:26:worker\n"),
        ("home/worker/", 0o755, 1000, b""),
    ];
    corner.upload(&base, tar_of(&files)).await;
    for (user, privileges) in [("1000", "false"), ("worker", "false"), ("1000:1001", "true"), ("worker", "true")] {
        let image = corner.commit_as(&base, user).await;
        let bench = sandbox_of(&corner, &image, &[("templates.base.privilege_escalation", privileges)]).await;
        works(&bench, &["sh", "-c", "whoami; exit 3"], "worker\n", 3, "/tmp/file").await;
        assert_eq!(owner(&bench, "/tmp/file").await, "worker", "as {user}");
        assert_eq!(bench.shell("id -u; id -g; echo $HOME").await.0, "1000\n1001\n/home/worker\n", "as {user}");
        let refused = bench.put("/etc/file", &[], vec![Ok(Bytes::new())]).await.unwrap_err();
        assert!(refused.is_code("permission_denied"), "{refused}");
        let root = Command { user: Some("root".to_owned()), ..shell("id -u; echo $HOME; touch /etc/file") };
        match bench.work.begin(&bench.id, &root).await {
            Ok(begun) => {
                assert_eq!(privileges, "true");
                assert_eq!(collect(begun).await, ("0\n/root\n".into(), String::new(), exited(0)));
            }
            // The kernel lets nobody gain privileges there, so nobody can become root.
            Err(refused) => {
                assert_eq!(privileges, "false", "{refused}");
                assert!(refused.to_string().contains("privilege_escalation"), "{refused}");
            }
        }
        bench.end().await;
    }
}

#[actix_web::test]
async fn a_sandbox_without_a_network_is_worked_in() {
    let corner = Corner::new().await;
    let changes = [("templates.base.ports", "[]"), ("docker.network", "none")];
    let bench = Bench::new(Arc::new(corner.runtime()), &changes).await;
    works(&bench, &["sh", "-c", "ls /sys/class/net; exit 3"], "lo\n", 3, "/tmp/file").await;
    bench.end().await;
}

#[actix_web::test]
async fn debian_is_worked_in_with_bash_and_python() {
    let corner = Corner::new().await;
    let bench = sandbox_of(&corner, DEBIAN, &[]).await;
    let python = "import os, sys; print(os.uname().sysname, sys.version_info.major); sys.exit(3)";
    works(&bench, &["python3", "-c", python], "Linux 3\n", 3, "/tmp/file").await;
    let line = Command { program: Program::Shell("a=(1 2); echo ${a[1]} ${BASH_VERSION%%.*}".to_owned()), ..shell("") };
    let (stdout, stderr, ending) = collect(bench.begin(&line).await).await;
    assert!(stdout.starts_with("2 ") && stdout.len() > 3 && ending == exited(0), "{stdout}{stderr}");
    let nobody = Command { user: Some("nobody".to_owned()), ..shell("id -un; id -gn") };
    assert_eq!(collect(bench.begin(&nobody).await).await.0, "nobody\nnogroup\n");
    bench.end().await;
}

/// Runs a container of the sandbox behind the runtime's back.
async fn by_hand(corner: &Corner, name: &str, labels: &[(&str, &str)], host: HostConfig) -> String {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        labels: Some(labels.collect()),
        host_config: Some(HostConfig { init: Some(true), ..host }),
        ..Default::default()
    };
    corner.run_body(name, body).await
}

fn of_reference(id: &SandboxId) -> [(&str, &str); 2] {
    [("owner", "executor_manager"), ("task_id", id.as_str())]
}

/// The volume with the agent, as sandboxes get it.
async fn volume(corner: &Corner) -> Mount {
    let bench = sandbox_of(corner, IMAGE, &[]).await;
    let mounts = corner.inspect(&bench.container().await).await.mounts.unwrap();
    let name = mounts.into_iter().find(|mount| mount.destination.as_deref() == Some("/.sandglass")).unwrap().name;
    bench.end().await;
    Mount {
        typ: Some(MountType::VOLUME),
        source: name,
        target: Some("/.sandglass".to_owned()),
        read_only: Some(true),
        ..Default::default()
    }
}

#[actix_web::test]
async fn a_read_only_root_with_the_volume_is_worked_in() {
    let (corner, id) = (Corner::new().await, SandboxId::generate());
    let labels = [("sandglass.prefix", corner.prefix.as_str()), ("sandglass.id", id.as_str())];
    let host = HostConfig {
        mounts: Some(vec![volume(&corner).await]),
        readonly_rootfs: Some(true),
        tmpfs: Some([("/run".to_owned(), String::new())].into()),
        ..Default::default()
    };
    by_hand(&corner, &format!("sandglass-{id}"), &labels, host).await;
    let bench = Bench::adopting(Arc::new(corner.runtime()), id).await;
    works(&bench, &["sh", "-c", "echo here; exit 3"], "here\n", 3, "/run/file").await;
    assert_ne!(bench.shell("touch /file").await.2, exited(0), "its root is read-only");
    let refused = bench.put("/tmp/file", &[], vec![Ok(Bytes::new())]).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("read-only"), "{refused}");
    bench.end().await;
}

#[actix_web::test]
async fn a_sandbox_of_the_reference_system_gets_the_agent_when_it_is_first_worked_in() {
    let (corner, id) = (Corner::new().await, SandboxId::generate());
    let container = by_hand(&corner, &format!("task-{id}"), &of_reference(&id), HostConfig::default()).await;
    let bench = Bench::adopting(Arc::new(corner.runtime()), id).await;
    assert!(!corner.has_file(&container, "/.sandglass/agent").await, "it is brought only once somebody works");
    works(&bench, &["sh", "-c", "echo here; exit 3"], "here\n", 3, "/tmp/file").await;
    assert!(corner.has_file(&container, "/.sandglass/agent").await);
    bench.end().await;
}

#[actix_web::test]
async fn a_read_only_root_without_the_volume_is_refused_with_what_to_do() {
    let (corner, id) = (Corner::new().await, SandboxId::generate());
    let host = HostConfig { readonly_rootfs: Some(true), ..Default::default() };
    by_hand(&corner, &format!("task-{id}"), &of_reference(&id), host).await;
    let runtime: Arc<dyn Runtime> = Arc::new(corner.runtime());
    let bench = Bench::adopting(runtime, id).await;
    for _ in 0..2 {
        let Err(error) = bench.work.begin(&bench.id, &shell("true")).await else { panic!("it was begun") };
        let WorkError::Inside(InsideError::NoAgent(advice)) = &error else { panic!("{error}") };
        assert!(advice.contains("read-only") && advice.contains("agent = true"), "{advice}");
        assert_eq!(bench.holding().await, Vec::<String>::new(), "what never began holds nothing");
    }
    bench.end().await;
}
