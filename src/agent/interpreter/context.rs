//! One context: starts, restarts and ends its process.

use std::{ffi::CString, fs, os::unix::ffi::OsStringExt, path::PathBuf, sync::PoisonError};

use serde::Serialize;
use tokio::sync::{Mutex, watch};

use super::{child::Child, language::Language};
use crate::{agent::Agent, connect::Error, files::run_as, users::User};

/// A context.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: String,
    pub(super) language: Language,
    /// The directory that its process begins in.
    directory: std::sync::Mutex<PathBuf>,
    /// Whether it is the one of requests that name no context but this language.
    pub(super) is_default: bool,
    /// The user as requests name it.
    pub(super) user: String,
    /// Cells wait for this, and run one after the other.
    pub(super) turn: Mutex<Turn>,
    pub(super) wishes: watch::Sender<Wishes>,
}

/// What belongs to the cell that runs.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The process, if it runs.
    pub(super) child: Option<Child>,
    /// What the next cell has to be told.
    pub(super) note: Option<String>,
}

/// What others want of a context whose cell runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// How often it was to be restarted.
    restarts: u64,
    /// How often its process was ended for that.
    pub(super) ended: u64,
    pub(super) removed: bool,
}

impl Wishes {
    /// Whether the process has to end.
    pub(super) fn is_due(&self) -> bool {
        self.removed || self.ended < self.restarts
    }
}

/// A context as lists tell it.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    id: &'a str,
    language: &'static str,
    cwd: String,
}

impl Context {
    /// A context whose process does not run yet.
    pub(super) fn new(id: String, language: Language, directory: PathBuf, user: &str, is_default: bool) -> Self {
        let wishes = watch::Sender::new(Wishes::default());
        let directory = std::sync::Mutex::new(directory);
        Self { id, language, directory, is_default, user: user.to_owned(), turn: Mutex::default(), wishes }
    }

    /// Whether it is the default one of this language and user.
    pub(super) fn is_default_of(&self, language: Language, user: &str) -> bool {
        self.is_default && self.language == language && self.user == user
    }

    fn directory(&self) -> PathBuf {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn told(&self) -> Told<'_> {
        Told { id: &self.id, language: self.language.name(), cwd: self.directory().display().to_string() }
    }

    /// Starts the process if it does not run.
    ///
    /// # Errors
    ///
    /// Why it cannot, in a sentence for the user.
    pub(super) async fn start<'a>(&self, agent: &Agent, turn: &'a mut Turn) -> Result<&'a mut Child, String> {
        if turn.child.is_none() {
            let user = User::find(&self.user).map_err(|error| error.message)?;
            if let Err(why) = self.make_directory(&user).await {
                let home = user.home.display();
                turn.note = Some(format!("cwd: {why}; this context begins in {home}\n"));
                *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = user.home.clone();
            }
            let directory = CString::new(self.directory().into_os_string().into_vec());
            let directory = directory.map_err(|_| "cwd must not contain the character 0")?;
            turn.child = Some(Child::start(agent, self.language, &user, directory).await?);
            // A restart that was asked for meanwhile, or before, has been done.
            self.tell_ended();
        }
        turn.child.as_mut().ok_or_else(String::new)
    }

    /// Restarts the process. A cell that runs ends with an error.
    ///
    /// # Errors
    ///
    /// Why it does not start again.
    pub(super) async fn restart(&self, agent: &Agent) -> Result<(), String> {
        let mut wishes = self.wishes.subscribe();
        let mut number = 0;
        self.wishes.send_modify(|wishes| {
            wishes.restarts += 1;
            number = wishes.restarts;
        });
        tokio::select! {
            biased;
            mut turn = self.turn.lock() => {
                turn.note = None;
                if self.wishes.borrow().ended < number {
                    turn.child = None;
                }
                self.start(agent, &mut turn).await.map(drop)
            }
            // The cell that ran has ended, and the next one starts the process.
            () = async { _ = wishes.wait_for(|wishes| wishes.ended >= number || wishes.removed).await } => Ok(()),
        }
    }

    /// Ends everything. Cells that wait fail.
    pub(super) fn remove(&self) {
        self.wishes.send_modify(|wishes| wishes.removed = true);
        // Otherwise the cell that runs notices it.
        if let Ok(mut turn) = self.turn.try_lock() {
            turn.child = None;
        }
    }

    /// Tells that the process has ended, as was wanted.
    pub(super) fn tell_ended(&self) {
        self.wishes.send_modify(|wishes| wishes.ended = wishes.restarts);
    }

    /// Makes the directory as the user if somebody has asked for it, and tries whether the user may enter it.
    async fn make_directory(&self, user: &User) -> Result<(), String> {
        let path = self.directory();
        if self.is_default {
            return Ok(());
        }
        let made = run_as(user, move || {
            fs::create_dir_all(&path)
                .and_then(|()| fs::metadata(path.join(".")))
                .map(drop)
                .map_err(|error| Error::io(&format!("{} cannot be made or entered", path.display()), &error))
        });
        made.await.map_err(|error: Error| error.message)
    }
}
