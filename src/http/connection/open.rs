//! The open connections of one worker.
//!
//! Each connection takes a file descriptor, and these are limited. A client that pings has to get through even if others
//! keep unused connections open. So new connections are never refused: instead, the connection that has been silent for the
//! longest time is closed, as HTTP allows at any time, after the requests on it are answered. New connections wait only if
//! all are in use.
//!
//! Streams and requests for the inside of a sandbox last as long as somebody else wants, and their connections cannot be
//! closed for others. So at most half of the connections are occupied by those; more are refused.

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
    /// The number of connections that may be occupied.
    most_occupied: usize,
    /// The number that are.
    occupied: Cell<usize>,
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
    /// Whether our side has closed it to make room.
    evicted: Cell<bool>,
    /// Whether the client has closed its side.
    ended: Cell<bool>,
    end: Notify,
}

/// A connection, as its requests see it.
#[derive(Clone)]
pub(in crate::http) struct Link {
    state: Rc<State>,
    open: Rc<Open>,
}

/// Keeps a connection from being closed for another one.
#[must_use]
pub(in crate::http) struct Held(Rc<State>);

/// Occupies a connection: keeps it from being closed, for as long as somebody else wants.
#[must_use]
pub(in crate::http) struct Occupied {
    open: Rc<Open>,
    _held: Held,
}

/// As many connections are occupied as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "as many streams and requests for the inside of sandboxes are under way as the limit of open files allows: wait until \
     one has ended, or raise the hard limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker, ulimit -Hn of a shell)"
)]
pub(in crate::http) struct Full;

impl Open {
    /// No connections yet. The server ensures that there are at most `most`.
    pub(in crate::http) fn new(most: usize) -> Rc<Self> {
        // A quarter is kept free for connections that are in use or being closed. If all were taken, the system would not
        // be asked for a new one that could replace another.
        let room = most.saturating_sub((most / 4).max(1)).max(1);
        // Another quarter is for all requests that are answered at once, pings above all.
        let most_occupied = (most / 2).min(room - 1).max(1);
        let occupied = Cell::new(0);
        Rc::new(Self { links: RefCell::default(), room, most_occupied, occupied, turn: Cell::new(0) })
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
            let Some((&descriptor, state)) = idle.min_by_key(|(_, state)| state.heard.get()) else { return };
            state.evicted.set(true);
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
    pub(super) fn new(state: Rc<State>, open: Rc<Open>) -> Self {
        Self { state, open }
    }

    /// Keeps it open until the result is dropped, for a while that is bounded.
    pub(in crate::http) fn hold(&self) -> Held {
        self.state.holders.set(self.state.holders.get() + 1);
        Held(self.state.clone())
    }

    /// Keeps it open until the result is dropped.
    ///
    /// # Errors
    /// [`Full`].
    pub(in crate::http) fn occupy(&self) -> Result<Occupied, Full> {
        let occupied = self.open.occupied.get();
        // A request may be read that came while its connection was being closed for another one.
        if occupied >= self.open.most_occupied || self.state.evicted.get() {
            return Err(Full);
        }
        self.open.occupied.set(occupied + 1);
        Ok(Occupied { open: self.open.clone(), _held: self.hold() })
    }

    /// Resolves when the client has closed its side. Unless the connection is held, our side may have closed it.
    pub(in crate::http) async fn ended(&self) {
        let end = self.state.end.notified();
        if !self.state.ended.get() {
            end.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get().saturating_sub(1));
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.open.occupied.set(self.open.occupied.get().saturating_sub(1));
    }
}
