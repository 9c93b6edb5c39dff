//! Answers requests. Errors are plain text, as in E2B.

use std::{collections::BTreeMap, sync::Arc};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    context::Context,
    contexts::{BOUND, NotMade},
    execution,
    language::{Cell, Language},
};
use crate::{
    agent::Agent,
    body::{self, Request, Response},
    connect::{MESSAGE_BOUND, basic_user},
};

/// The lines that may wait for a client that reads slowly.
const LINES: usize = 4;

/// Code to be run. Fields that are unknown are ignored.
#[derive(Debug, Deserialize)]
struct Execute {
    code: String,
    context_id: Option<String>,
    language: Option<String>,
    env_vars: Option<BTreeMap<String, String>>,
}

/// A context to be made.
#[derive(Debug, Default, Deserialize)]
struct Create {
    language: Option<String>,
    cwd: Option<String>,
}

/// A status and why.
#[derive(Debug)]
struct Refusal(u16, String);

/// Answers a request.
pub(crate) async fn call(agent: &Agent, request: Request) -> Response {
    let answered = match basic_user(request.headers()) {
        Ok(user) => answer(agent, &user, request).await,
        Err(error) => Err(Refusal(400, error.message)),
    };
    answered.unwrap_or_else(|Refusal(status, why)| {
        let mut response = body::answer(status, body::full(why));
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    })
}

async fn answer(agent: &Agent, user: &str, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    match (&method, path.trim_end_matches('/')) {
        (&Method::GET, "/health") => Ok(body::json(200, &"OK")),
        (&Method::POST, "/execute") => execute(agent, user, read(request).await?).await,
        (&Method::POST, "/contexts") => create(agent, user, read(request).await?).await,
        (&Method::GET, "/contexts") => {
            let contexts = agent.contexts().list(user).map_err(|why| Refusal(400, why))?;
            Ok(body::json(200, &contexts.iter().map(|context| context.told()).collect::<Vec<_>>()))
        }
        (_, path) => {
            let unknown = || Refusal(404, format!("The interpreter has nothing at {method} {path}"));
            let id = path.strip_prefix("/contexts/").ok_or_else(unknown)?;
            match (&method, id.split_once('/')) {
                (&Method::POST, Some((id, "restart"))) => restart(agent, find(agent, id, user)?).await,
                (&Method::DELETE, None) if agent.contexts().remove(id, user) => Ok(body::json(200, &())),
                (&Method::DELETE, None) => Err(not_found(id)),
                _ => Err(unknown()),
            }
        }
    }
}

async fn execute(agent: &Agent, user: &str, request: Execute) -> Result<Response, Refusal> {
    let Execute { code, context_id, language, env_vars } = request;
    let context = match (context_id.filter(|id| !id.is_empty()), language) {
        (Some(_), Some(_)) => {
            return Err(Refusal(400, "Only one of context_id or language can be provided".to_owned()));
        }
        (Some(id), None) => find(agent, &id, user)?,
        (None, language) => {
            let language = Language::named(language.as_deref()).map_err(|name| unknown_language(&name))?;
            agent.contexts().default_of(language, user).map_err(not_made)?
        }
    };
    let cell = Cell { code, variables: env_vars.unwrap_or_default() };
    if let Some(why) = context.language.refuse(&cell) {
        return Err(Refusal(400, why));
    }
    start(agent, &context).await?;
    let (sender, answer) = body::channel(LINES);
    tokio::spawn(execution::run(agent.clone(), context, cell, sender));
    let mut response = body::answer(200, answer);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn create(agent: &Agent, user: &str, request: Create) -> Result<Response, Refusal> {
    let language = Language::named(request.language.as_deref()).map_err(|name| unknown_language(&name))?;
    let context = agent.contexts().make(language, user, request.cwd.as_deref()).map_err(not_made)?;
    if let Err(refusal) = start(agent, &context).await {
        agent.contexts().remove(&context.id, user);
        return Err(refusal);
    }
    Ok(body::json(200, &context.told()))
}

async fn restart(agent: &Agent, context: Arc<Context>) -> Result<Response, Refusal> {
    let agent = agent.clone();
    // In a task of its own: a client that hangs up must not leave a process that nobody knows.
    let restarted = tokio::spawn(async move { context.restart(&agent).await }).await;
    restarted.unwrap_or_else(|error| Err(error.to_string())).map_err(not_created)?;
    Ok(body::json(200, &()))
}

/// Starts a context's process, unless a cell runs, which then has done it.
async fn start(agent: &Agent, context: &Arc<Context>) -> Result<(), Refusal> {
    let (agent, context) = (agent.clone(), Arc::clone(context));
    let started = tokio::spawn(async move {
        match context.turn.try_lock() {
            Ok(mut turn) => context.start(&agent, &mut turn).await.map(drop),
            Err(_) => Ok(()),
        }
    });
    started.await.unwrap_or_else(|error| Err(error.to_string())).map_err(not_created)
}

fn find(agent: &Agent, id: &str, user: &str) -> Result<Arc<Context>, Refusal> {
    agent.contexts().find(id, user).map_err(not_made)?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Refusal {
    Refusal(404, format!("Context {id} not found"))
}

fn not_made(why: NotMade) -> Refusal {
    match why {
        // SDKs repeat what is answered with 429 by themselves, which does not help.
        NotMade::Full => {
            let Refusal(_, why) =
                not_created(format!("{BOUND} contexts are there, and no more can be at a time: remove one"));
            Refusal(400, why)
        }
        NotMade::Because(why) => not_created(why),
    }
}

fn not_created(mut why: String) -> Refusal {
    why.insert_str(0, "Failed to create context: ");
    Refusal(500, why)
}

fn unknown_language(name: &str) -> Refusal {
    not_created(format!(
        "{name:?} is not a language of this interpreter; it runs python, javascript, typescript and bash"
    ))
}

/// Reads a request's JSON. An empty one has only defaults.
async fn read<Q: DeserializeOwned>(request: Request) -> Result<Q, Refusal> {
    let read = Limited::new(request.into_body(), MESSAGE_BOUND).collect().await;
    let body = read.map_err(|error| match error.is::<LengthLimitError>() {
        true => Refusal(413, format!("A request may have {MESSAGE_BOUND} bytes at most")),
        false => Refusal(400, format!("The request broke off: {error}")),
    })?;
    let body = body.to_bytes();
    let body = if body.is_empty() { &b"{}"[..] } else { &body };
    serde_json::from_slice(body).map_err(|error| Refusal(400, format!("The request cannot be read: {error}")))
}
