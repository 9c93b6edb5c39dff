//! Agents that do not answer: what waits for them ends, unless their sandbox is paused.

use std::time::Duration;

use sandglass::{
    runtime::memory::{Point, When},
    work::{Command, CommandEvent, Events, Input, Program, Work, WorkError},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::bench::{Bench, id, idle};

const MINUTE: Duration = Duration::from_secs(60);

async fn bench() -> (Bench, Work) {
    let bench = Bench::with_agents(&[]).await;
    bench.create(idle("worked", 3600)).await;
    let work = Work::new(bench.supervisor.sandboxes());
    (bench, work)
}

async fn stat(work: &Work) -> Result<Value, WorkError> {
    work.file_call(&id("worked"), "Stat", &json!({"path": "/"}), None).await
}

/// A command that repeats what it reads, and its name.
async fn echo(work: &Work) -> (String, Events) {
    let command = Command {
        program: Program::Argv(vec!["cat".to_owned()]),
        env: std::collections::BTreeMap::new(),
        cwd: None,
        user: None,
        timeout: None,
        stdin: true,
        tty: None,
    };
    let mut begun = work.begin(&id("worked"), &command).await.expect("begun");
    assert!(matches!(begun.events.next().await, Ok(Some(CommandEvent::Started(_)))));
    (begun.id, begun.events)
}

async fn is_echoed(work: &Work, command: &str, events: &mut Events) {
    work.input(&id("worked"), command, Input::Bytes(b"word".to_vec())).await.expect("taken");
    let event = timeout(MINUTE, events.next()).await.expect("it is told").expect("it is known");
    let Some(CommandEvent::Output(piece)) = event else { panic!("{event:?}") };
    assert_eq!(&piece.bytes[..], b"word");
}

#[actix_web::test]
async fn a_call_to_an_agent_that_has_vanished_fails_within_a_minute_and_the_next_one_is_answered() {
    let (bench, work) = bench().await;
    stat(&work).await.expect("it answers");
    bench.runtime.hang(Point::Wire, When::Before);
    let calls = async {
        let (worked, message) = (id("worked"), json!({"path": "/no/such/file"}));
        tokio::join!(stat(&work), work.file_call(&worked, "Remove", &message, None))
    };
    let (brief, unbounded) = timeout(MINUTE, calls).await.expect("in time");
    for error in [brief.unwrap_err(), unbounded.unwrap_err()] {
        assert!(matches!(error, WorkError::Broken(..)), "{error}");
    }
    bench.runtime.heal(Point::Wire);
    stat(&work).await.expect("over a new connection");
}

#[actix_web::test]
async fn a_stream_over_a_line_that_went_silent_goes_on_over_a_new_one() {
    let (bench, work) = bench().await;
    let (command, mut events) = echo(&work).await;
    is_echoed(&work, &command, &mut events).await;
    bench.runtime.hang(Point::Wire, When::Before);
    let worked = id("worked");
    let fed = work.input(&worked, &command, Input::Bytes(b"lost".to_vec()));
    let told = timeout(2 * MINUTE, async {
        let healed = async {
            let Err(WorkError::Broken(..)) = fed.await else { panic!("it was answered") };
            bench.runtime.heal(Point::Wire);
            work.input(&worked, &command, Input::Bytes(b"later".to_vec())).await
        };
        tokio::join!(events.next(), healed)
    });
    let (event, input) = told.await.expect("in time");
    input.expect("over a new connection");
    let Ok(Some(CommandEvent::Output(piece))) = &event else { panic!("{event:?}") };
    assert_eq!((piece.offset, &piece.bytes[..]), (4, &b"later"[..]), "nothing is told twice");
}

#[actix_web::test]
async fn an_agent_that_is_paused_is_waited_for() {
    let (bench, work) = bench().await;
    let (command, mut events) = echo(&work).await;
    bench.runtime.hang(Point::Wire, When::Before);
    let waiting = stat(&work);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "it is under way");
    bench.supervisor.pause(&id("worked")).await.expect("paused");
    assert!(timeout(10 * MINUTE, &mut waiting).await.is_err(), "it waits");
    bench.supervisor.resume(&id("worked"), None).await.expect("resumed");
    bench.runtime.heal(Point::Wire);
    waiting.await.expect("it is answered over the old connection");
    is_echoed(&work, &command, &mut events).await;
}

#[actix_web::test]
async fn a_line_without_work_on_it_stays_open_while_its_agent_answers() {
    let (_bench, work) = bench().await;
    let (command, mut events) = echo(&work).await;
    let began = Instant::now();
    assert!(timeout(10 * MINUTE, events.next()).await.is_err(), "nothing is written");
    assert!(began.elapsed() >= 10 * MINUTE);
    is_echoed(&work, &command, &mut events).await;
}
