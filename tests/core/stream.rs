//! The status stream over a real websocket: messages both ways, and the end of connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use sandglass::{
    app::{Adapters, App},
    domain::{ActivitySource, SandboxId},
    feed::Change,
    runtime::Memory,
    sandboxes::Create,
    store::MemoryStore,
    supervisor::Supervisor,
};
use serde_json::{Value, json, value::to_raw_value};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpSocket,
    process::{Child, ChildStdout},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message, client::IntoClientRequest, handshake::client::Response, http::HeaderValue,
        protocol::frame::coding::CloseCode,
    },
};

use crate::support::bench::{id, idle, settings};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A whole Sandglass over the memory adapters, on a port of its own.
async fn serve(overrides: &[(&str, &str)]) -> App {
    serve_over(MemoryStore::new(), overrides).await
}

async fn serve_over(store: MemoryStore, overrides: &[(&str, &str)]) -> App {
    let mut settings = settings(&[&[("http.bind", "127.0.0.1:0")], overrides].concat());
    let listener = App::listen(&mut settings).expect("a port");
    let adapters = Adapters { store: Arc::new(store), runtime: Arc::new(Memory::without_log()) };
    App::new(settings, adapters, listener).await.expect("it starts")
}

/// A connection to the stream.
struct Stream(WebSocketStream<tokio::net::TcpStream>);

async fn connect(
    app: &App,
    query: &str,
    headers: &[(&'static str, &str)],
    receive_buffer: Option<u32>,
) -> Result<(Stream, Response), tungstenite::Error> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(app.address()).await?;
    let mut request = format!("ws://{}/v1/stream?{query}", app.address()).into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header"));
    }
    let (stream, response) = client_async(request, stream).await?;
    Ok((Stream(stream), response))
}

async fn watch(app: &App, query: &str) -> Stream {
    connect(app, query, &[], None).await.expect("a stream").0
}

impl Stream {
    /// The next message; `None` if the connection was closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(ANSWER_WITHIN, self.0.next()).await.expect("a message in time")?.ok()?;
            match message {
                Message::Text(text) => return Some(serde_json::from_str(&text).expect("JSON")),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Skips messages up to the next one of this type.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("closed before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.expect("it is taken");
    }
}

async fn create(supervisor: &Supervisor, create: Create) {
    supervisor.create(create, true).await.expect("created");
}

#[actix_web::test]
async fn a_ping_over_the_stream_is_proof_of_use_and_each_is_answered() {
    let app = serve(&[]).await;
    create(app.supervisor(), idle("a", 100)).await;
    create(app.supervisor(), idle("b", 100)).await;
    let mut stream = watch(&app, "id=nobody").await;
    stream.say(&json!({ "type": "ping", "id": "a" })).await;
    stream.say(&json!({ "type": "ping", "ids": ["b", "nobody", "no/id"] })).await;
    let one = stream.next_of("pong").await;
    assert_eq!((&one["results"][0]["sandbox_id"], &one["results"][0]["ok"]), (&json!("a"), &json!(true)), "{one}");
    let many = stream.next_of("pong").await["results"].clone();
    assert_eq!((&many[0]["ok"], many.as_array().expect("a list").len()), (&json!(true), 3), "{many}");
    assert_eq!((&many[1]["error"]["code"], &many[2]["error"]["code"]), (&json!("not_found"), &json!("invalid_id")));
    for (name, promised) in [("a", &one["results"][0]), ("b", &many[0])] {
        let sandbox = app.supervisor().get(&id(name)).await.expect("it lives");
        let now = app.supervisor().now();
        assert_eq!(sandbox.activity_by(ActivitySource::Stream).count, 1);
        let deadline = sandbox.idle_deadline().map(|at| now.wall_at(at));
        assert_eq!(deadline, promised["idle_deadline"].as_f64());
    }
    app.shutdown().await;
}

#[actix_web::test]
async fn what_is_no_text_or_no_number_is_answered_with_the_field_and_the_stream_goes_on() {
    let app = serve(&[]).await;
    let mut stream = watch(&app, "").await;
    for (wrong, field) in [
        (r#"{"type": "ping", "ids": ["a", "\ud800"]}"#, "ids[1]"),
        (r#"{"type": "ping", "id": 1e999}"#, "id"),
        (r#"{"type": "subscribe", "metadata": {"team": "\udc00"}}"#, "metadata.team"),
        (r#"{"type": "\ud800"}"#, "type"),
    ] {
        stream.0.send(Message::text(wrong)).await.expect("it is taken");
        let error = stream.next_of("error").await["error"].clone();
        assert_eq!((&error["code"], &error["details"]["field"]), (&json!("invalid_request"), &json!(field)), "{error}");
    }
    stream.say(&json!({ "type": "ping", "id": "a" })).await;
    stream.next_of("pong").await;
    app.shutdown().await;
}

#[actix_web::test]
async fn what_is_not_understood_is_answered_with_the_field_and_the_stream_goes_on() {
    let app = serve(&[]).await;
    create(app.supervisor(), idle("a", 100)).await;
    let mut stream = watch(&app, "").await;
    for (wrong, code) in [
        (json!({ "type": "dance" }), "invalid_request"),
        (json!({ "type": "ping" }), "invalid_request"),
        (json!({ "type": "ping", "id": "a", "ids": ["a"] }), "invalid_request"),
        (json!({ "type": "ping", "id": "a", "loud": true }), "invalid_request"),
        (json!({ "type": "subscribe", "statuses": ["asleep"] }), "invalid_request"),
        (json!({ "type": "subscribe", "ids": ["a/b"] }), "invalid_id"),
        (json!([1]), "invalid_request"),
    ] {
        stream.say(&wrong).await;
        let error = stream.next_of("error").await;
        assert_eq!(error["error"]["code"], code, "{wrong}: {error}");
    }
    let many: Vec<_> = (0..10_001).map(|number| format!("id-{number}")).collect();
    stream.say(&json!({ "type": "ping", "ids": many })).await;
    assert_eq!(stream.next_of("error").await["error"]["details"]["field"], "ids");
    stream.say(&json!({ "type": "ping", "id": "a" })).await;
    assert_eq!(stream.next_of("pong").await["results"][0]["ok"], true);
    app.shutdown().await;
}

#[actix_web::test]
async fn another_filter_begins_with_a_snapshot_of_it() {
    let app = serve(&[]).await;
    create(app.supervisor(), idle("a", 100)).await;
    create(app.supervisor(), idle("b", 100)).await;
    let mut stream = watch(&app, "id=a").await;
    assert_eq!(stream.next_of("snapshot").await["sandboxes"][0]["sandbox_id"], "a");
    stream.say(&json!({ "type": "subscribe", "ids": ["b"], "statuses": ["all"] })).await;
    stream.next_of("subscribed").await;
    let snapshot = stream.next_of("snapshot").await;
    assert_eq!(snapshot["sandboxes"].as_array().expect("a list").len(), 1);
    assert_eq!(snapshot["sandboxes"][0]["sandbox_id"], "b");
    app.supervisor().touch(&id("a"), ActivitySource::Ping).await.expect("it lives");
    app.supervisor().terminate(&id("b"), Duration::from_secs(5)).await.expect("it ends");
    let event = stream.next_of("event").await;
    assert_eq!((&event["sandbox"]["sandbox_id"], &event["from"]), (&json!("b"), &json!("running")));
    app.shutdown().await;
}

#[actix_web::test]
async fn a_stop_closes_the_stream_as_going_away_after_the_last_event() {
    let app = serve(&[]).await;
    let mut stream = watch(&app, "").await;
    stream.next_of("snapshot").await;
    create(app.supervisor(), idle("last", 100)).await;
    app.shutdown().await;
    let mut told = BTreeSet::new();
    let frame = loop {
        match stream.0.next().await.expect("it is closed properly").expect("it is whole") {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                told.insert(message["sandbox"]["status"].as_str().unwrap_or_default().to_owned());
            }
            Message::Close(frame) => break frame.expect("with a reason"),
            _ => {}
        }
    };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(told.contains("running"), "{told:?}");
}

#[actix_web::test]
async fn a_page_of_another_site_gets_no_stream() {
    let app = serve(&[]).await;
    let ours = format!("http://{}", app.address());
    connect(&app, "", &[("origin", &ours)], None).await.expect("our own page may");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        match connect(&app, "", &[("origin", origin)], None).await {
            Err(tungstenite::Error::Http(refused)) => assert_eq!(refused.status(), 403, "{origin}"),
            Err(other) => panic!("{origin}: {other}"),
            Ok(_) => panic!("{origin} was let in"),
        }
    }
    app.shutdown().await;
}

#[actix_web::test]
async fn a_browser_presents_the_key_as_a_subprotocol() {
    let app = serve(&[("http.api_key", "open/sesame?")]).await;
    // "open/sesame?" in base64 for URLs.
    let right = "sandglass.v1, sandglass.key.b3Blbi9zZXNhbWU_";
    let (_, response) = connect(&app, "", &[("sec-websocket-protocol", right)], None).await.expect("it may");
    assert_eq!(response.headers()["sec-websocket-protocol"], "sandglass.v1");
    for wrong in
        ["sandglass.v1", "sandglass.v1, sandglass.key.b3Blbg", "sandglass.v1, sandglass.key.!", "sandglass.key."]
    {
        match connect(&app, "", &[("sec-websocket-protocol", wrong)], None).await {
            Err(tungstenite::Error::Http(refused)) => assert_eq!(refused.status(), 401, "{wrong}"),
            other => panic!("{wrong}: {:?}", other.map(|_| "let in")),
        }
    }
    app.shutdown().await;
}

/// Pauses and resumes all: two transitions per round and sandbox.
async fn keep_busy(supervisor: Arc<Supervisor>, ids: Vec<SandboxId>, rounds: usize) {
    for _ in 0..rounds {
        for id in &ids {
            supervisor.pause(id).await.expect("paused");
            supervisor.resume(id, None).await.expect("resumed");
        }
    }
}

#[actix_web::test]
async fn a_thousand_lost_connections_in_a_busy_run_leave_no_gap_and_no_duplicate() {
    let app = serve(&[("http.stream_history", "100000")]).await;
    let ids: Vec<_> = (0..20).map(|number| id(&format!("busy-{number}"))).collect();
    for id in &ids {
        create(app.supervisor(), idle(id.as_str(), 1000)).await;
    }
    let mut stream = watch(&app, "status=all").await;
    let hello = stream.next_of("hello").await;
    let epoch = hello["epoch"].as_str().expect("an epoch").to_owned();
    let mut last = stream.next_of("snapshot").await["seq"].as_u64().expect("a number");
    let busy = actix_web::rt::spawn(keep_busy(app.supervisor().clone(), ids.clone(), 400));
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for broken in 0..1000 {
        // Dropped in the middle of any message.
        stream = watch(&app, &format!("status=all&since={epoch}:{last}")).await;
        let hello = stream.next_of("hello").await;
        assert_eq!((&hello["resumed"], &hello["seq"]), (&json!(true), &json!(last)), "connection {broken}");
        for _ in 0..broken % 7 {
            let Ok(Some(event)) = timeout(Duration::from_millis(20), stream.next()).await else { break };
            assert_eq!(event["type"], "event", "{event}");
            assert_eq!(event["seq"], last + 1, "connection {broken}");
            last += 1;
            let sandbox = &event["sandbox"];
            let name = sandbox["sandbox_id"].as_str().expect("an id").to_owned();
            known.insert(name, sandbox["status"].as_str().expect("a status").to_owned());
        }
    }
    busy.await.expect("it was busy");
    app.supervisor().pause(&ids[0]).await.expect("paused");
    while known.get("busy-0").map(String::as_str) != Some("paused") || last < 20 * 400 * 2 {
        let event = stream.next_of("event").await;
        assert_eq!(event["seq"], last + 1);
        last += 1;
        let sandbox = &event["sandbox"];
        let name = sandbox["sandbox_id"].as_str().expect("an id").to_owned();
        known.insert(name, sandbox["status"].as_str().expect("a status").to_owned());
    }
    app.shutdown().await;
}

#[actix_web::test]
async fn a_reader_that_takes_nothing_disturbs_nobody_and_begins_anew_when_it_reads_again() {
    let app = serve(&[("http.stream_history", "100")]).await;
    let note = to_raw_value(&"x".repeat(30_000)).expect("a text");
    let metadata = [("note".to_owned(), note)].into_iter().collect();
    create(app.supervisor(), Create { metadata, ..idle("busy", 1000) }).await;
    let busy = app.supervisor().get(&id("busy")).await.expect("it lives");
    let (mut slow, _) = connect(&app, "status=all", &[], Some(4096)).await.expect("a stream");
    let mut quick = watch(&app, "status=all").await;
    let mut last = quick.next_of("snapshot").await["seq"].as_u64().expect("a number");
    let world = app.supervisor().shared();
    // More bytes than all buffers between the two hold, and more events than the history does.
    for _ in 0..40 {
        for _ in 0..20 {
            world.feed.publish(Change::Changed, &busy, world.clock.now());
        }
        for _ in 0..20 {
            let event = quick.next_of("event").await;
            assert_eq!(event["seq"], last + 1, "the quick one misses nothing");
            last += 1;
        }
    }
    let lagged = slow.next_of("lagged").await;
    assert!(lagged["missed"].as_u64().expect("a number") > 0);
    let snapshot = slow.next_of("snapshot").await;
    assert_eq!((&snapshot["first"], &snapshot["sandboxes"][0]["sandbox_id"]), (&json!(true), &json!("busy")));
    app.supervisor().pause(&id("busy")).await.expect("paused");
    while slow.next_of("event").await["sandbox"]["status"] != "paused" {}
    app.shutdown().await;
}

#[actix_web::test]
async fn whoever_takes_nothing_of_server_sent_events_is_given_up() {
    let app = serve(&[("http.max_streams", "1"), ("http.stream_history", "16")]).await;
    let note = to_raw_value(&"x".repeat(30_000)).expect("a text");
    let metadata = [("note".to_owned(), note)].into_iter().collect();
    create(app.supervisor(), Create { metadata, ..idle("busy", 1000) }).await;
    let busy = app.supervisor().get(&id("busy")).await.expect("it lives");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    let mut silent = socket.connect(app.address()).await.expect("a connection");
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", app.address());
    silent.write_all(request.as_bytes()).await.expect("it is taken");
    let world = app.supervisor().shared();
    let given_up = async {
        while world.feed.readers() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        while world.feed.readers() > 0 {
            world.feed.publish(Change::Changed, &busy, world.clock.now());
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(90), given_up).await.expect("its place is free again");
    drop(silent);
    app.shutdown().await;
}

#[actix_web::test]
async fn a_peer_that_does_not_answer_is_closed() {
    let app = serve(&[("http.max_streams", "1")]).await;
    // The client is connected, and from here on neither reads nor answers.
    let (silent, _) = connect(&app, "", &[], None).await.expect("a stream");
    let refused = connect(&app, "", &[], None).await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(refused)) if refused.status() == 429));
    let gone = async {
        while connect(&app, "", &[], None).await.is_err() {
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_secs(90), gone).await.expect("its place is free again");
    drop(silent);
    app.shutdown().await;
}

/// `sandglass watch`, piped; killed when it is dropped.
struct Watching {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn watch_command(url: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(crate::support::program::command(&["watch", "--url", url]));
    command.args(arguments).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Watching {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = watch_command(url, arguments).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { _child: child, lines }
    }

    /// The next line of this type.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let line = timeout(ANSWER_WITHIN, self.lines.next_line()).await.expect("a line in time").expect("a line");
            let message: Value = serde_json::from_str(&line.expect("it goes on")).expect("one message a line");
            if message["type"] == kind {
                return message;
            }
        }
    }
}

#[actix_web::test]
async fn the_command_prints_the_stream_as_lines_and_comes_back_by_itself() {
    let app = serve(&[]).await;
    let (address, url) = (app.address(), format!("http://{}", app.address()));
    let mut watching = Watching::start(&url, &[]);
    watching.next_of("snapshot").await;
    create(app.supervisor(), idle("one", 100)).await;
    assert_eq!(watching.next_of("event").await["sandbox"]["sandbox_id"], "one");
    app.shutdown().await;
    // For another process on the same port, the current state is printed, not the history.
    let again = serve(&[("http.bind", &address.to_string())]).await;
    create(again.supervisor(), idle("other", 100)).await;
    assert_eq!(watching.next_of("hello").await["resumed"], false);
    let there = watching.next_of("snapshot").await["sandboxes"].clone();
    assert!(there.as_array().expect("a list").iter().all(|sandbox| sandbox["sandbox_id"] == "other"), "{there}");
    again.supervisor().pause(&id("other")).await.expect("paused");
    while watching.next_of("event").await["sandbox"]["status"] != "paused" {}
    again.shutdown().await;
}

#[actix_web::test]
async fn the_command_goes_on_where_a_record_holds_what_no_program_can_read() {
    let (store, now) = (MemoryStore::new(), sandglass::clock::wall_seconds());
    let record =
        json!({ "status": "running", "last_activity_at": now, "expires_at": now + 60.0, "idle_timeout": 3600, "v": 1 });
    let broken = r#","metadata":{"a":["\ud800",1e999]}}"#;
    store.plant("old", now, record.to_string().replace('}', broken));
    let app = serve_over(store, &[]).await;
    let mut watching = Watching::start(&format!("http://{}", app.address()), &["--id", "old"]);
    let told = watching.next_of("snapshot").await;
    assert_eq!(told["sandboxes"][0]["metadata"], json!({ "a": ["\u{fffd}", "1e999"] }));
    app.shutdown().await;
}

#[actix_web::test]
async fn the_command_ends_on_what_trying_again_cannot_mend() {
    let app = serve(&[("http.api_key", "open-sesame")]).await;
    let url = format!("http://{}", app.address());
    for (url, arguments, words) in [
        (url.as_str(), vec![], "SANDGLASS_HTTP__API_KEY"),
        (&url, vec!["--api-key", "open-sesame", "--status", "asleep"], "status: expected all, or one of pending"),
        (&url, vec!["--metadata", "team"], "has to be KEY=VALUE"),
        ("https://127.0.0.1", vec![], "has to begin with http://"),
    ] {
        let output = timeout(ANSWER_WITHIN, watch_command(url, &arguments).output()).await.expect("it ends");
        let output = output.expect("it ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {} {said}", output.status);
    }
    app.shutdown().await;
}
