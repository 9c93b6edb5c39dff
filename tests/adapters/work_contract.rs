//! Work in sandboxes, run over every engine: in memory, where the agent runs in this process, and on a real Docker daemon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{io, time::Duration};

use bytes::Bytes;
use sandglass::{
    domain::EndReason,
    sandboxes::RequestError,
    work::{Begun, Command, CommandEvent, From, Input, Part, Program, Tty, WorkError},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    engines::{Subject, laws},
    work_bench::{Bench, collect, exited, shell},
};

laws! {
    a_command_tells_what_it_writes_and_how_it_ends
    input_reaches_a_command_and_so_does_its_end
    a_signal_and_a_timeout_end_the_whole_group
    a_terminal_has_the_size_that_it_was_given_and_gets
    what_was_written_is_read_again_from_anywhere
    a_program_that_cannot_be_run_says_why_and_holds_nothing
    a_command_holds_its_sandbox_until_it_ends_whoever_waits_for_it
    a_command_that_is_begun_while_others_look_for_ends_goes_on_holding
    a_file_comes_back_as_it_was_written
    a_file_that_breaks_off_in_the_middle_is_not_there
    a_directory_goes_in_and_out_as_tar
    a_sandbox_that_ends_ends_what_is_told_of_it
    what_is_paused_cannot_be_worked_in
}

async fn a_command_tells_what_it_writes_and_how_it_ends(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    assert_eq!(bench.shell("echo out; echo err >&2; exit 3").await, ("out\n".into(), "err\n".into(), exited(3)));
    let killed = bench.shell("kill -9 $$").await.2;
    assert_eq!((killed.exit_code, killed.signal), (None, Some(9)));
    let mut command = shell("echo $GREETING; pwd");
    command.env.insert("GREETING".to_owned(), "hello".to_owned());
    command.cwd = Some("/tmp".to_owned());
    assert_eq!(collect(bench.begin(&command).await).await.0, "hello\n/tmp\n");
    // More than is kept, read as it comes.
    let (much, _, ending) = bench.shell("head -c 3000000 /dev/zero | tr '\\0' x").await;
    assert_eq!((much.len(), ending), (3_000_000, exited(0)));
    bench.end().await;
}

async fn input_reaches_a_command_and_so_does_its_end(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let begun = bench.begin(&Command { stdin: true, ..shell("cat; echo done") }).await;
    let (id, command) = (&bench.id, begun.id.clone());
    bench.work.input(id, &command, Input::Bytes(b"one\n".to_vec())).await.unwrap();
    bench.work.input(id, &command, Input::Bytes(b"two\n".to_vec())).await.unwrap();
    bench.work.input(id, &command, Input::Eof).await.unwrap();
    assert_eq!(collect(begun).await.0, "one\ntwo\ndone\n");
    let unknown = bench.work.input(id, "cunknown", Input::Eof).await.unwrap_err();
    assert!(unknown.is_code("not_found"), "{unknown}");
    // Without standard input, its end is there at once.
    assert_eq!(bench.shell("cat; echo done").await.0, "done\n");
    bench.end().await;
}

async fn a_signal_and_a_timeout_end_the_whole_group(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let begun = bench.begin(&shell("sleep 1000 & sleep 1000; echo never")).await;
    bench.work.signal(&bench.id, &begun.id, "SIGTERM").await.unwrap();
    let (stdout, _, ending) = collect(begun).await;
    assert_eq!((stdout.as_str(), ending.signal, ending.timed_out), ("", Some(15), false));
    let began = Instant::now();
    let command =
        Command { timeout: Some(Duration::from_millis(300)), ..shell("trap '' TERM; sleep 1000; sleep 1000") };
    let ending = collect(bench.begin(&command).await).await.2;
    assert!(ending.timed_out && began.elapsed() < Duration::from_secs(20), "{ending:?}");
    bench.end().await;
}

async fn a_terminal_has_the_size_that_it_was_given_and_gets(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let line = "trap 'stty size; exit 5' WINCH; stty size; while :; do sleep 0.1; done";
    let mut begun = bench.begin(&Command { tty: Some(Tty { cols: 81, rows: 25 }), ..shell(line) }).await;
    let mut shown = String::new();
    while !shown.contains("25 81") {
        if let Some(CommandEvent::Output(piece)) = begun.events.next().await.unwrap() {
            shown.push_str(std::str::from_utf8(&piece.bytes).unwrap());
        }
    }
    bench.work.resize(&bench.id, &begun.id, Tty { cols: 100, rows: 30 }).await.unwrap();
    let (shown, _, ending) = collect(begun).await;
    assert!(shown.contains("30 100"), "{shown}");
    assert_eq!(ending, exited(5));
    bench.end().await;
}

async fn what_was_written_is_read_again_from_anywhere(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let begun = bench.begin(&shell("printf abcdef; printf xyz >&2")).await;
    let command = begun.id.clone();
    collect(begun).await;
    let from = async |stdout, stderr| {
        let events = bench.work.read(&bench.id, &command, From { stdout, stderr }).await.unwrap();
        let (stdout, stderr, ending) = collect(Begun { id: command.clone(), events }).await;
        assert_eq!(ending, exited(0));
        (stdout, stderr)
    };
    assert_eq!(from(0, 0).await, ("abcdef".into(), "xyz".into()));
    assert_eq!(from(4, 3).await, ("ef".into(), String::new()));
    // Of what is too much to be kept, the end is there, and it is told how much is not.
    let begun = bench.begin(&shell("head -c 2000000 /dev/zero")).await;
    let much = begun.id.clone();
    collect(begun).await;
    let mut events = bench.work.read(&bench.id, &much, From::default()).await.unwrap();
    let (mut dropped, mut read) = (0, 0);
    while let Some(event) = events.next().await.unwrap() {
        if let CommandEvent::Output(piece) = event {
            (dropped, read) = (dropped + piece.dropped, read + piece.bytes.len() as u64);
        }
    }
    assert!(dropped > 0 && dropped + read == 2_000_000, "{dropped} dropped, {read} read");
    let listed = bench.work.commands(&bench.id).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|known| known.end.as_ref().is_some_and(|(_, ending)| *ending == exited(0))),
        "{listed:?}"
    );
    bench.end().await;
}

async fn a_program_that_cannot_be_run_says_why_and_holds_nothing(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let command = Command { program: Program::Argv(vec![program.to_owned()]), ..shell("") };
        let Err(error) = bench.work.begin(&bench.id, &command).await else { panic!("{program} was run") };
        let WorkError::Refused { exit_code, message, .. } = error else { panic!("{error}") };
        assert_eq!(exit_code, Some(code), "{message}");
        assert!(message.contains(program), "{message}");
    }
    let somewhere = Command { cwd: Some("/no/where".to_owned()), ..shell("true") };
    assert!(bench.work.begin(&bench.id, &somewhere).await.is_err());
    let nobody = Command { user: Some("no-such-user".to_owned()), ..shell("true") };
    let Err(error) = bench.work.begin(&bench.id, &nobody).await else { panic!("it was run") };
    assert!(error.to_string().contains("no-such-user"), "{error}");
    assert_eq!(bench.holding().await, Vec::<String>::new());
    bench.end().await;
}

async fn a_command_holds_its_sandbox_until_it_ends_whoever_waits_for_it(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let waited = bench.begin(&Command { stdin: true, ..shell("cat") }).await;
    let left = bench.begin(&Command { stdin: true, ..shell("cat") }).await;
    let (waited_id, left_id) = (waited.id.clone(), left.id.clone());
    drop(left);
    let mut both = [waited_id.clone(), left_id.clone()];
    both.sort();
    assert_eq!(bench.holding().await, both);
    bench.work.input(&bench.id, &waited_id, Input::Eof).await.unwrap();
    collect(waited).await;
    assert_eq!(bench.holding().await, std::slice::from_ref(&left_id));
    bench.work.input(&bench.id, &left_id, Input::Eof).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.holding().await.is_empty() {
        assert!(Instant::now() < deadline, "it holds although it has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.end().await;
}

async fn a_command_that_is_begun_while_others_look_for_ends_goes_on_holding(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let looking = {
        let work = bench.work.clone();
        tokio::spawn(async move {
            loop {
                work.resume_all().await;
                tokio::task::yield_now().await;
            }
        })
    };
    let command = Command { stdin: true, ..shell("cat") };
    let begun = futures_util::future::join_all((0..20).map(|_| bench.begin(&command))).await;
    looking.abort();
    // Longer than it takes to find out that a command is unknown.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(bench.holding().await.len(), begun.len());
    bench.end().await;
}

async fn a_file_comes_back_as_it_was_written(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let path = format!("{}/deep/file", bench.directory);
    let content: Vec<u8> = (0..2_500_000_u32).map(|number| number as u8).collect();
    let parts = content.chunks(60_000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    bench.put(&path, &[("mode", "640")], parts).await.unwrap();
    assert_eq!(bench.get("/files", &path).await.unwrap(), content);
    let found = bench.work.file_call(&bench.id, "Stat", &json!({"path": path}), None).await.unwrap();
    assert_eq!((&found["entry"]["permissions"], &found["entry"]["size"]), (&json!("-rw-r-----"), &json!("2500000")));
    let missing = bench.get("/files", &format!("{}/missing", bench.directory)).await.unwrap_err();
    assert!(missing.is_code("not_found"), "{missing}");
    let directory = bench.get("/files", &bench.directory).await.unwrap_err();
    assert!(directory.is_code("invalid_argument"), "{directory}");
    bench.end().await;
}

async fn a_file_that_breaks_off_in_the_middle_is_not_there(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let path = format!("{}/file", bench.directory);
    bench.put(&path, &[], vec![Ok(Bytes::from_static(b"old"))]).await.unwrap();
    let broken = vec![Ok(Bytes::from_static(b"new and")), Err(io::Error::other("the client is gone"))];
    assert!(bench.put(&path, &[], broken).await.is_err());
    // Its sender is dropped, and has told neither an error nor the end.
    let dropped = vec![Ok(Part::Data(Bytes::from_static(b"new and")))];
    assert!(bench.put_parts(&path, &[], dropped).await.is_err());
    assert_eq!(bench.get("/files", &path).await.unwrap(), b"old");
    let listed = bench.work.file_call(&bench.id, "ListDir", &json!({"path": bench.directory}), None).await.unwrap();
    assert_eq!(listed["entries"].as_array().unwrap().len(), 1, "nothing half is left: {listed}");
    bench.end().await;
}

async fn a_directory_goes_in_and_out_as_tar(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    tar.append_data(&mut header, "tree/deep/file", &b"abc"[..]).unwrap();
    let packed = tar.into_inner().unwrap();
    bench.put(&bench.directory, &[("tar", "")], vec![Ok(packed.into())]).await.unwrap();
    assert_eq!(bench.get("/files", &format!("{}/tree/deep/file", bench.directory)).await.unwrap(), b"abc");
    let back = bench.get("/files/archive", &format!("{}/tree", bench.directory)).await.unwrap();
    let mut archive = tar::Archive::new(back.as_slice());
    let names: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    assert!(names.iter().any(|name| name.ends_with("deep/file")), "{names:?}");
    bench.end().await;
}

async fn a_sandbox_that_ends_ends_what_is_told_of_it(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(bench.begin(&shell("sleep 1000")).await);
    }
    let waiting: Vec<_> = many.into_iter().map(|begun| tokio::spawn(collect(begun))).collect();
    bench.supervisor.terminate(&bench.id, Duration::ZERO).await.unwrap();
    let began = Instant::now();
    for waiting in waiting {
        let ending = waiting.await.unwrap().2;
        assert_eq!((ending.lost, ending.exit_code), (true, None), "an end is not invented");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "freed after {:?}", began.elapsed());
    let Err(refused) = bench.work.begin(&bench.id, &shell("true")).await else { panic!("it was begun") };
    let reason = EndReason::Requested;
    assert!(
        matches!(&refused, WorkError::Request(RequestError::Terminating { reason: told, .. }) if *told == reason)
            || matches!(&refused, WorkError::Request(RequestError::Gone(_))),
        "{refused}"
    );
    assert_eq!(bench.work.in_use(), 0);
}

async fn what_is_paused_cannot_be_worked_in(subject: &dyn Subject) {
    let bench = Bench::new(subject.runtime(), &[]).await;
    bench.shell("true").await;
    bench.supervisor.pause(&bench.id).await.unwrap();
    let Err(refused) = bench.work.begin(&bench.id, &shell("true")).await else { panic!("it was begun") };
    assert!(matches!(refused, WorkError::Request(RequestError::Paused(_))), "{refused}");
    bench.supervisor.resume(&bench.id, None).await.unwrap();
    assert_eq!(bench.shell("true").await.2, exited(0), "the connection from before serves again, or a new one");
    bench.end().await;
}
