//! The calls of `filesystem.Filesystem` that have one answer.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Files, acting, entry::Entry, paths, tree};
use crate::{
    body::{Request, Response},
    connect::{Code, Context, Error, unary},
    users::User,
};

/// A call about one path.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PathRequest {
    path: String,
    /// Of a list: how many levels, at least 1.
    depth: u32,
    /// Of a removal: whether `not_found` is told. An addition of ours.
    must_exist: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MoveRequest {
    source: String,
    destination: String,
}

#[derive(Debug, Serialize)]
struct EntryResponse {
    entry: Entry,
}

#[derive(Debug, Serialize)]
struct ListDirResponse {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Nothing {}

/// Answers the call of this name.
pub(super) async fn answer(files: &Files, name: &str, request: Request) -> Option<Response> {
    Some(match name {
        "Stat" => {
            unary(request, async |context: Context, asked: PathRequest| {
                on_path(files, &context, &asked.path, tree::stat).await.map(|entry| EntryResponse { entry })
            })
            .await
        }
        "MakeDir" => {
            unary(request, async |context: Context, asked: PathRequest| {
                on_path(files, &context, &asked.path, tree::make_dir).await.map(|entry| EntryResponse { entry })
            })
            .await
        }
        "ListDir" => {
            unary(request, async |context: Context, asked: PathRequest| {
                let depth = asked.depth.max(1);
                let listed = on_path(files, &context, &asked.path, move |path| tree::list(path, depth)).await;
                listed.map(|entries| ListDirResponse { entries })
            })
            .await
        }
        "Remove" => {
            unary(request, async |context: Context, asked: PathRequest| {
                let must_exist = asked.must_exist;
                let removed = on_path(files, &context, &asked.path, move |path| tree::remove(path, must_exist)).await;
                removed.map(|()| Nothing {})
            })
            .await
        }
        "Move" => {
            unary(request, async |context: Context, asked: MoveRequest| {
                let user = User::find(&context.user)?;
                let from = given("source", &asked.source, &user)?;
                let to = given("destination", &asked.destination, &user)?;
                work(files, &user, move || tree::rename(&from, &to)).await.map(|entry| EntryResponse { entry })
            })
            .await
        }
        _ => return None,
    })
}

/// Does blocking work on one path of a call.
async fn on_path<T: Send + 'static>(
    files: &Files,
    context: &Context,
    path: &str,
    work_on: impl FnOnce(&Path) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let user = User::find(&context.user)?;
    let path = given("path", path, &user)?;
    work(files, &user, move || work_on(&path)).await
}

/// A path of a call. Which field of it is wrong is told.
fn given(field: &str, path: &str, user: &User) -> Result<PathBuf, Error> {
    paths::resolve(path, user).map_err(|error| Error::invalid(error.message.replacen("path", field, 1)))
}

/// Does blocking work when its turn has come. The turn ends with the work, also where nobody waits for it any more.
async fn work<T: Send + 'static>(
    files: &Files,
    user: &User,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let turn = files.calls.clone().acquire_owned().await;
    let turn = turn.map_err(|_| Error::new(Code::Internal, "the agent ends"))?;
    acting::run(user, move || {
        let _turn = turn;
        work()
    })
    .await
}
