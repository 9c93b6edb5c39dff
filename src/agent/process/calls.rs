//! Answers the calls of `process.Process`.

use std::{sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use tokio::time::timeout;

use super::{
    launch::{Process, launch},
    messages::{self, Data, Empty, Event, Input, Listed, SendInput, StreamInput, Told},
    output::Reader,
    plan::{self, Plan},
};
use crate::{
    agent::Agent,
    body::{Request, Response, json},
    connect::{self, Code, Context, Error, Events, Messages},
};

/// Answers the call `name`.
pub(crate) async fn call(agent: &Agent, name: &str, request: Request) -> Response {
    let agent = agent.clone();
    match name {
        "Start" => {
            connect::server_stream(request, move |context, message, events| start(agent, context, message, events))
                .await
        }
        "Connect" => {
            connect::server_stream(request, move |context, message, events| reconnect(agent, context, message, events))
                .await
        }
        "StreamInput" => connect::client_stream(request, move |_, messages| stream_input(agent, messages)).await,
        "List" => connect::unary(request, |_, message| list(agent, message)).await,
        "Update" => connect::unary(request, |_, message| update(agent, message)).await,
        "SendInput" => connect::unary(request, |_, message| send_input(agent, message)).await,
        "CloseStdin" => connect::unary(request, |_, message| close_stdin(agent, message)).await,
        "SendSignal" => connect::unary(request, |_, message| send_signal(agent, message)).await,
        _ => {
            let error = Error::new(Code::Unimplemented, format!("process.Process has no call {name}"));
            json(error.code.status(), &error)
        }
    }
}

async fn start(agent: Agent, context: Context, message: messages::Start, events: Events) -> Result<(), Error> {
    let plan = Plan::new(agent.setup(), &context, message)?;
    // In a task of its own: a client that hangs up just now must not leave a process that nobody knows.
    let launched = tokio::spawn(launch(agent, plan)).await;
    let (process, reader) = launched.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    follow(&process, reader, context.keepalive, &events).await
}

async fn reconnect(agent: Agent, context: Context, message: messages::Connect, events: Events) -> Result<(), Error> {
    let process = agent.processes().find(message.process.as_ref())?;
    if message.end_only {
        return tell_end(&process, context.keepalive, &events).await;
    }
    let reader = process.output.read(message.from);
    follow(&process, reader, context.keepalive, &events).await
}

/// Tells everything of a process from the reader's position on, until it has ended.
async fn follow(process: &Process, mut reader: Reader, keepalive: Duration, events: &Events) -> Result<(), Error> {
    events.send(&Told { event: Event::Start { pid: process.pid } }).await?;
    loop {
        let event = match timeout(keepalive, reader.next()).await {
            Err(_) => Told { event: Event::Keepalive {} },
            Ok(None) => break,
            Ok(Some(part)) => {
                let data = Data { stream: part.stream, offset: part.offset, bytes: &part.bytes };
                events.send(&Told { event: Event::Data(data) }).await?;
                continue;
            }
        };
        events.send(&event).await?;
    }
    drop(reader);
    tell_end(process, keepalive, events).await
}

/// Tells how a process has ended, once it has.
async fn tell_end(process: &Process, keepalive: Duration, events: &Events) -> Result<(), Error> {
    loop {
        match timeout(keepalive, process.ended()).await {
            Err(_) => events.send(&Told { event: Event::Keepalive {} }).await?,
            Ok(None) => return Err(Error::new(Code::Internal, "the process is not watched any more")),
            Ok(Some(ended)) => return events.send(&Told { event: Event::End(&ended.how) }).await,
        }
    }
}

async fn list(agent: Agent, message: messages::List) -> Result<Listed, Error> {
    let processes = agent.processes().list(message.ended);
    Ok(Listed { processes: processes.iter().map(|process| process.info()).collect() })
}

async fn update(agent: Agent, message: messages::Update) -> Result<Empty, Error> {
    let process = agent.processes().find(message.process.as_ref())?;
    if let Some(pty) = message.pty {
        process.resize(&plan::winsize(pty.size)?)?;
    }
    Ok(Empty {})
}

async fn send_input(agent: Agent, message: SendInput) -> Result<Empty, Error> {
    let process = agent.processes().find(message.process.as_ref())?;
    write(&process, message.input).await?;
    Ok(Empty {})
}

async fn stream_input(agent: Agent, mut messages: Messages<StreamInput>) -> Result<Empty, Error> {
    let mut process: Option<Arc<Process>> = None;
    while let Some(message) = messages.next().await? {
        match (message, &process) {
            (StreamInput::Start { process: selector }, _) => {
                process = Some(agent.processes().find(selector.as_ref())?);
            }
            (StreamInput::Data { input }, Some(process)) => write(process, input).await?,
            (StreamInput::Data { .. }, None) => return Err(Error::invalid("the first message must be start")),
            (StreamInput::Keepalive {}, _) => {}
        }
    }
    Ok(Empty {})
}

async fn write(process: &Process, input: Option<Input>) -> Result<(), Error> {
    match input {
        Some(Input::Stdin(bytes)) => process.write_stdin(&bytes.0).await,
        Some(Input::Pty(bytes)) => process.write_terminal(&bytes.0).await,
        Some(Input::Any(bytes)) if process.has_terminal => process.write_terminal(&bytes.0).await,
        Some(Input::Any(bytes)) => process.write_stdin(&bytes.0).await,
        None => Err(Error::invalid("input is missing: give {\"stdin\": BASE64} or {\"pty\": BASE64}")),
    }
}

async fn close_stdin(agent: Agent, message: messages::CloseStdin) -> Result<Empty, Error> {
    agent.processes().find(message.process.as_ref())?.close_stdin().await?;
    Ok(Empty {})
}

async fn send_signal(agent: Agent, message: messages::SendSignal) -> Result<Empty, Error> {
    let process = agent.processes().find(message.process.as_ref())?;
    let signal = signal(message.signal.as_ref())?;
    agent.processes().signal(&process, signal)?;
    Ok(Empty {})
}

fn signal(given: Option<&messages::Signal>) -> Result<Signal, Error> {
    let signal = match given {
        Some(messages::Signal::Number(number)) => Signal::try_from(*number).ok(),
        Some(messages::Signal::Name(name)) => name.strip_prefix("SIGNAL_").unwrap_or(name).parse().ok(),
        None => None,
    };
    signal.ok_or_else(|| Error::invalid("signal must be a name such as SIGNAL_SIGTERM"))
}
