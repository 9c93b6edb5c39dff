//! The open connections of one worker.
//!
//! Each takes a file descriptor, of which there is a limit, so that their number is bounded. A client that pings has to get
//! through all the same, also when others keep connections open that they don't use. So new ones are never refused:
//! the connection that has been silent for the longest time is closed in their favour, as HTTP allows at any time. What
//! is being answered on it is answered first. Only when all of them are in use do new ones wait to be accepted.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    os::fd::{AsRawFd, RawFd},
    rc::Rc,
};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::{net::TcpStream, sync::Notify};

/// The open connections of one worker.
pub(in crate::http) struct Open {
    links: RefCell<HashMap<RawFd, Rc<State>>>,
    /// Above how many the longest silent one is closed.
    room: usize,
    /// Counts connections: what is needed of the time is only what was before what.
    turn: Cell<u64>,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When something was read last, in turns.
    heard: Cell<u64>,
    /// How many want it to stay open.
    holders: Cell<usize>,
    /// Whether the client has closed its side.
    ended: Cell<bool>,
    end: Notify,
}

/// A connection, as the requests on it know it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Link(Rc<State>);

/// Keeps a connection from being closed in favour of another.
#[derive(Debug)]
pub(in crate::http) struct Held(Rc<State>);

impl Open {
    /// None yet, and at most `most` at the same time; that there are not more, the server sees to.
    pub(in crate::http) fn new(most: usize) -> Rc<Self> {
        // A quarter is left for those that are in use, and for those that are being closed; without any, the system
        // would not be asked for a new one in whose favour another could be closed.
        let room = most.saturating_sub((most / 4).max(1)).max(1);
        Rc::new(Self { links: RefCell::default(), room, turn: Cell::new(0) })
    }

    /// Counts a new one, for which there is room then.
    pub(super) fn add(&self, stream: &TcpStream) -> Rc<State> {
        let state = Rc::new(State::default());
        self.turn.set(self.turn.get() + 1);
        self.heard(&state);
        self.links.borrow_mut().insert(stream.as_raw_fd(), state.clone());
        self.make_room();
        state
    }

    /// Something was read.
    pub(super) fn heard(&self, state: &State) {
        state.heard.set(self.turn.get());
    }

    /// It is about to be closed.
    pub(super) fn forget(&self, stream: &TcpStream, state: &Rc<State>) {
        let (mut links, descriptor) = (self.links.borrow_mut(), stream.as_raw_fd());
        if links.get(&descriptor).is_some_and(|known| Rc::ptr_eq(known, state)) {
            links.remove(&descriptor);
        }
    }

    fn make_room(&self) {
        let mut links = self.links.borrow_mut();
        while links.len() > self.room {
            let idle = links.iter().filter(|(_, state)| state.holders.get() == 0);
            let Some(descriptor) = idle.min_by_key(|(_, state)| state.heard.get()).map(|(descriptor, _)| *descriptor)
            else {
                return;
            };
            links.remove(&descriptor);
            // Whoever reads finds the end after all that has come; a socket that is closed already has no use for it.
            let _ = shutdown(descriptor, Shutdown::Read);
        }
    }
}

impl State {
    /// The client has closed its side, or the connection is broken.
    pub(super) fn ended(&self) {
        self.ended.set(true);
        self.end.notify_one();
    }
}

impl Link {
    pub(super) fn new(state: Rc<State>) -> Self {
        Self(state)
    }

    /// It stays open for as long as this is kept, whatever comes.
    pub(in crate::http) fn hold(&self) -> Held {
        self.0.holders.set(self.0.holders.get() + 1);
        Held(self.0.clone())
    }

    /// Resolves when the client has closed its side. While the connection is not held, it may also be ours.
    pub(in crate::http) async fn ended(&self) {
        if !self.0.ended.get() {
            self.0.end.notified().await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get().saturating_sub(1));
    }
}
