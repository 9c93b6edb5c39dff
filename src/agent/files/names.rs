//! Names of owners, each looked up once per call.

use std::{cell::RefCell, collections::HashMap};

use crate::users;

/// The names that one call has needed so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: RefCell<HashMap<u32, String>>,
    groups: RefCell<HashMap<u32, String>>,
}

impl Names {
    /// A user's name, or number.
    pub(super) fn user(&self, uid: u32) -> String {
        self.users.borrow_mut().entry(uid).or_insert_with(|| users::user_name(uid)).clone()
    }

    /// A group's name, or number.
    pub(super) fn group(&self, gid: u32) -> String {
        self.groups.borrow_mut().entry(gid).or_insert_with(|| users::group_name(gid)).clone()
    }
}
