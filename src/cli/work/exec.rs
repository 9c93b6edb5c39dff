//! `sandglass exec` and `sandglass shell`.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write, stderr, stdin, stdout},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    super::{
        args::{Exec, Shell},
        client::Client,
        out::print,
        watch::Refused,
    },
    exit::{BY_INTERRUPT, BY_SIGNAL, ExitWith, NO_SUCH_PROGRAM, OWN_FAILURE},
    follow::{Event, Events},
    terminal::{self, RawMode, tell_person},
    typing::{Sender, Typing},
};

/// Opens a shell: bash where the image has one, else sh.
pub(in crate::cli) async fn shell(args: Shell) -> anyhow::Result<()> {
    let Shell { server, user, workdir, sandbox } = args;
    exec(Exec {
        server,
        interactive: true,
        tty: stdin().is_terminal(),
        detach: false,
        env: Vec::new(),
        user,
        workdir,
        timeout: None,
        sandbox,
        command: ["/bin/bash", "-i", "-l"].map(str::to_owned).to_vec(),
    })
    .await
}

/// Runs a command, passes on what is typed and what it writes, and ends as it does.
pub(in crate::cli) async fn exec(args: Exec) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    if args.tty && !stdin().is_terminal() {
        return Err(Refused("-t needs a terminal on standard input; leave it out here".to_owned()).into());
    }
    let request = client.request(Method::POST, &args.sandbox, &["commands"]).json(&body(&args)?);
    if args.detach {
        let begun: Value = client.send(request).await.map_err(ExitWith::from)?.json().await?;
        return Ok(print(&format!("{}\n", begun["command_id"].as_str().unwrap_or_default()))?);
    }
    let response = client.send(request.header("accept", "text/event-stream")).await;
    let response = response.map_err(|failed| with_advice(failed.into(), &args.command))?;
    let session = Session { client, sandbox: args.sandbox, tty: args.tty, events: Events::new(response) };
    // A terminal that stays raw would be of no use: the session ends before anything else does.
    // Where keys are not passed on, Ctrl-C has to remain a signal.
    let raw = (args.tty && args.interactive).then(RawMode::enter).flatten();
    let ended = session.run(args.interactive).await;
    drop(raw);
    let ended = ended?;
    if args.tty && !ended.message.is_empty() {
        // What the command wrote last may have no end of line.
        print("\n")?;
    }
    if ended.code == 0 { Ok(()) } else { Err(ended.into()) }
}

/// A whole line in one word is mostly meant for a shell.
fn with_advice(mut failed: ExitWith, command: &[String]) -> ExitWith {
    if let ([line], NO_SUCH_PROGRAM) = (command, failed.code)
        && line.contains(char::is_whitespace)
    {
        failed.message += "; for a line of a shell, use: -- sh -c 'LINE'";
    }
    failed
}

fn body(args: &Exec) -> anyhow::Result<Value> {
    let mut body = json!({"command": args.command, "stdin_open": args.interactive, "background": args.detach});
    let mut env = Map::new();
    for variable in &args.env {
        // As `docker exec -e NAME` does, a name alone passes on the variable of this process.
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable.clone(), std::env::var(variable).unwrap_or_default()),
        };
        env.insert(name, value.into());
    }
    body["env"] = env.into();
    for (name, value) in [("user", &args.user), ("cwd", &args.workdir)] {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    if let Some(timeout) = &args.timeout {
        // A number is seconds.
        body["timeout"] = timeout.parse::<f64>().map_or_else(|_| timeout.as_str().into(), Value::from);
    }
    if args.tty {
        let (cols, rows) = terminal::size();
        body["tty"] = json!({"cols": cols, "rows": rows});
        if body["env"]["TERM"].is_null() {
            body["env"]["TERM"] = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()).into();
        }
    }
    Ok(body)
}

/// A command that runs, and the person in front of it.
struct Session {
    client: Client,
    sandbox: String,
    tty: bool,
    events: Events,
}

impl Session {
    async fn run(mut self, interactive: bool) -> anyhow::Result<ExitWith> {
        let Some(Event { data, .. }) = self.events.next().await else {
            let message = "the connection was lost before the command began".to_owned();
            return Ok(ExitWith { code: OWN_FAILURE, message });
        };
        let command = data["command_id"].as_str().context("the server told no command_id")?.to_owned();
        // Input goes its own way, in order: output must not wait for it.
        let sender = Sender { client: self.client.clone(), sandbox: self.sandbox.clone(), command: command.clone() };
        let (leave, mut leaves) = mpsc::channel(1);
        let typing = interactive.then(|| {
            let typing = Typing { sender: sender.clone(), tty: self.tty, leave, held_back: VecDeque::new() };
            tokio::spawn(typing.run())
        });
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut resizes = signal(SignalKind::window_change())?;
        let mut interrupted = false;
        let ended = loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => if let Some(ended) = tell(&event, self.tty)? {
                        break ended;
                    },
                    None => {
                        tell_person(self.tty, "the connection is lost; reading on when it is back");
                        let again = || self.client.request(Method::GET, &self.sandbox, &["commands", &command]);
                        if let Err(failed) = self.events.reopen(&self.client, again).await {
                            break ExitWith { code: OWN_FAILURE, message: format!("the command's end is not known: {}", failed.message) };
                        }
                    }
                },
                Some(why) = leaves.recv() => break ExitWith {
                    code: why.code,
                    message: format!("{}the command goes on as {command}", why.message),
                },
                _ = interrupts.recv() => {
                    if interrupted {
                        break ExitWith { code: BY_INTERRUPT, message: format!("the command goes on as {command}") };
                    }
                    interrupted = true;
                    sender.send("signal", &json!({"signal": "SIGINT"})).await;
                }
                _ = terminations.recv() => sender.send("signal", &json!({"signal": "SIGTERM"})).await,
                _ = resizes.recv(), if self.tty => {
                    let (cols, rows) = terminal::size();
                    sender.send("resize", &json!({"cols": cols, "rows": rows})).await;
                }
            }
        };
        if let Some(typing) = typing {
            typing.abort();
        }
        Ok(ended)
    }
}

/// Prints what a command tells; at its end, how this process shall end.
fn tell(event: &Event, tty: bool) -> anyhow::Result<Option<ExitWith>> {
    let data = &event.data;
    match event.kind.as_str() {
        "output" => {
            if let Some(dropped) = data["dropped"].as_u64().filter(|dropped| *dropped > 0) {
                tell_person(tty, &format!("{dropped} bytes of output were lost, since they were not read in time"));
            }
            let bytes = STANDARD.decode(data["data"].as_str().unwrap_or_default())?;
            // A reader that has gone, such as `head`, ends this process as it would end the command.
            let written = if data["stream"] == "stderr" {
                stderr().lock().write_all(&bytes)
            } else {
                let mut out = stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            };
            Ok(written.is_err().then(|| ExitWith::silently(BY_SIGNAL + 13)))
        }
        "exited" => Ok(Some(ending(data))),
        "error" => {
            let message = data["message"].as_str().unwrap_or("the command's end is not known").to_owned();
            Ok(Some(ExitWith { code: OWN_FAILURE, message }))
        }
        _ => Ok(None),
    }
}

fn ending(data: &Value) -> ExitWith {
    let timed_out = data["timed_out"] == true;
    let message = if timed_out { "the command was ended by its timeout".to_owned() } else { String::new() };
    let code = |code: &Value| code.as_i64().and_then(|code| u8::try_from(code & 0xff).ok());
    match (&data["signal"], code(&data["exit_code"])) {
        (Value::String(name), _) => {
            let number = name.parse::<nix::sys::signal::Signal>().map_or(0, |signal| signal as i32);
            ExitWith { code: BY_SIGNAL.saturating_add(u8::try_from(number).unwrap_or(0)), message }
        }
        (_, Some(code)) => ExitWith { code, message },
        (_, None) => ExitWith {
            code: OWN_FAILURE,
            message: "nobody knows how the command ended: its sandbox ended under it".to_owned(),
        },
    }
}
