//! All contexts of an agent.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{context::Context, language::Language};
use crate::users::User;

/// The contexts at a time, at most. Each has a process, once it was used.
pub(super) const BOUND: usize = 64;

/// The languages whose default contexts are always listed, as in E2B.
const LISTED: [Language; 2] = [Language::Python, Language::JavaScript];

/// All contexts.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    all: Mutex<Vec<Arc<Context>>>,
    /// Has keys that nobody knows, from which the identifiers of default contexts follow: they can be told before the first
    /// use, which makes them.
    ids: RandomState,
}

/// Why there is no context.
#[derive(Debug)]
pub(super) enum NotMade {
    /// There are as many as there can be.
    Full,
    /// Something else.
    Because(String),
}

impl Contexts {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Context>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All contexts, the oldest first; also the default ones that are not made yet, for this user.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub(super) fn list(&self, user: &str) -> Result<Vec<Arc<Context>>, String> {
        let mut all = self.all().clone();
        let mut at = all.iter().take_while(|context| context.is_default).count();
        for language in LISTED {
            if !all.iter().any(|context| context.is_default_of(language, user)) {
                all.insert(at, Arc::new(self.new_default(language, user)?));
                at += 1;
            }
        }
        Ok(all)
    }

    /// The context with this identifier, if there is one; a listed default one of this user is made.
    ///
    /// # Errors
    ///
    /// As [`Self::default_of`].
    pub(super) fn find(&self, id: &str, user: &str) -> Result<Option<Arc<Context>>, NotMade> {
        let found = self.all().iter().find(|context| context.id == id).cloned();
        match LISTED.into_iter().find(|language| self.default_id(*language, user) == id) {
            Some(language) if found.is_none() => self.default_of(language, user).map(Some),
            _ => Ok(found),
        }
    }

    fn new_default(&self, language: Language, user: &str) -> Result<Context, String> {
        let home = User::find(user).map_err(|error| error.message)?.home;
        Ok(Context::new(self.default_id(language, user), language, home, user, true))
    }

    fn default_id(&self, language: Language, user: &str) -> String {
        let half = |half: u8| self.ids.hash_one((language.name(), user, half));
        uuid(half(0), half(1))
    }

    /// The default context of a language, for this user.
    ///
    /// # Errors
    ///
    /// If there are too many contexts, or there is no such user.
    pub(super) fn default_of(&self, language: Language, user: &str) -> Result<Arc<Context>, NotMade> {
        let mut all = self.all();
        if let Some(context) = all.iter().find(|context| context.is_default_of(language, user)) {
            return Ok(Arc::clone(context));
        }
        let context = Arc::new(self.new_default(language, user).map_err(NotMade::Because)?);
        // Beside the others of its kind: new ones that clients make are last.
        let at = all.iter().take_while(|context| context.is_default).count();
        place(&mut all, at, &context)?;
        Ok(context)
    }

    /// Makes a context in a directory; a relative one is below the user's home, which is also the one without a directory.
    ///
    /// # Errors
    ///
    /// If there are too many, or there is no such user.
    pub(super) fn make(&self, language: Language, user: &str, cwd: Option<&str>) -> Result<Arc<Context>, NotMade> {
        let home = User::find(user).map_err(|error| NotMade::Because(error.message))?.home;
        let directory: PathBuf = cwd.filter(|cwd| !cwd.is_empty()).map_or_else(|| home.clone(), |cwd| home.join(cwd));
        let context = Arc::new(Context::new(new_id(), language, directory, user, false));
        let mut all = self.all();
        let last = all.len();
        place(&mut all, last, &context)?;
        Ok(context)
    }

    /// Removes a context with its process. Tells whether it was there, or is a default one of this user that is not made yet.
    pub(super) fn remove(&self, id: &str, user: &str) -> bool {
        let mut all = self.all();
        let Some(at) = all.iter().position(|context| context.id == id) else {
            return LISTED.into_iter().any(|language| self.default_id(language, user) == id);
        };
        let context = all.remove(at);
        drop(all);
        context.remove();
        true
    }

    /// Removes all.
    pub(crate) fn end(&self) {
        for context in std::mem::take(&mut *self.all()) {
            context.remove();
        }
    }
}

fn place(all: &mut Vec<Arc<Context>>, at: usize, context: &Arc<Context>) -> Result<(), NotMade> {
    if all.len() >= BOUND {
        return Err(NotMade::Full);
    }
    all.insert(at, Arc::clone(context));
    Ok(())
}

/// An identifier in the form of a UUID. The standard library's hashers have random keys.
fn new_id() -> String {
    let half = || RandomState::new().hash_one(crate::clock::now_ms());
    uuid(half(), half())
}

fn uuid(high: u64, low: u64) -> String {
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff);
    let (fourth, fifth) = (low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-4{third:03x}-{fourth:04x}-{fifth:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_first_and_new_ones_last() {
        let contexts = Contexts::default();
        let made = contexts.make(Language::Bash, "", Some("/tmp")).unwrap();
        let listed: Vec<_> = contexts.list("").unwrap().iter().map(|context| context.language).collect();
        assert_eq!(listed, [Language::Python, Language::JavaScript, Language::Bash]);
        assert!(contexts.remove(&made.id, "") && !contexts.remove(&made.id, ""));
    }

    #[test]
    fn there_are_not_too_many() {
        let contexts = Contexts::default();
        for _ in 0..BOUND {
            contexts.make(Language::Python, "", None).unwrap();
        }
        assert!(matches!(contexts.make(Language::Python, "", None), Err(NotMade::Full)));
        assert!(matches!(contexts.default_of(Language::Python, ""), Err(NotMade::Full)));
    }

    #[test]
    fn identifiers_are_uuids_and_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        let id = new_id();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    }
}
