//! The open connections of one worker.
//!
//! Each connection takes a file descriptor, and these are limited. A client that pings has to get through even if others
//! keep unused connections open. So new connections are never refused: instead, the connection that has been silent for the
//! longest time is closed, as HTTP allows at any time, after the requests on it are answered. New connections wait only if
//! all are in use.

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
    /// The number of connections above which the longest silent one is closed.
    room: usize,
    /// Counts connections. Only their order matters, so no clock is needed.
    turn: Cell<u64>,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The turn in which something was last read.
    heard: Cell<u64>,
    /// How many requests keep it open.
    holders: Cell<usize>,
    /// Whether the client has closed its side.
    ended: Cell<bool>,
    end: Notify,
}

/// A connection, as its requests see it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Link(Rc<State>);

/// Keeps a connection from being closed for another one.
#[derive(Debug)]
pub(in crate::http) struct Held(Rc<State>);

impl Open {
    /// No connections yet. The server ensures that there are at most `most`.
    pub(in crate::http) fn new(most: usize) -> Rc<Self> {
        // A quarter is kept free for connections that are in use or being closed. If all were taken, the system would not
        // be asked for a new one that could replace another.
        let room = most.saturating_sub((most / 4).max(1)).max(1);
        Rc::new(Self { links: RefCell::default(), room, turn: Cell::new(0) })
    }

    /// Adds a connection and makes room for it.
    pub(super) fn add(&self, stream: &TcpStream) -> Rc<State> {
        let state = Rc::new(State::default());
        self.turn.set(self.turn.get() + 1);
        self.heard(&state);
        self.links.borrow_mut().insert(stream.as_raw_fd(), state.clone());
        self.make_room();
        state
    }

    /// Notes that something was read.
    pub(super) fn heard(&self, state: &State) {
        state.heard.set(self.turn.get());
    }

    /// Forgets a connection that is about to be closed.
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
            // The reader sees the end after all bytes that have arrived. The error for a closed socket does not matter.
            let _ = shutdown(descriptor, Shutdown::Read);
        }
    }
}

impl State {
    /// Notes that the client has closed its side or the connection is broken.
    pub(super) fn ended(&self) {
        self.ended.set(true);
        self.end.notify_waiters();
    }
}

impl Link {
    pub(super) fn new(state: Rc<State>) -> Self {
        Self(state)
    }

    /// Keeps it open until the result is dropped.
    pub(in crate::http) fn hold(&self) -> Held {
        self.0.holders.set(self.0.holders.get() + 1);
        Held(self.0.clone())
    }

    /// Resolves when the client has closed its side. Unless the connection is held, our side may have closed it.
    pub(in crate::http) async fn ended(&self) {
        let end = self.0.end.notified();
        if !self.0.ended.get() {
            end.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get().saturating_sub(1));
    }
}
