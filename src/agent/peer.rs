//! The socket's name, and who is at its other side.

use std::{
    io,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};

/// The abstract socket of a name.
pub(crate) fn address(name: &str) -> Result<SocketAddr, String> {
    SocketAddr::from_abstract_name(name).map_err(|error| format!("the socket @{name} cannot be: {error}"))
}

/// Connects, or tells with `None` that nobody listens.
pub(crate) fn connect(name: &str) -> Result<Option<UnixStream>, String> {
    match UnixStream::connect_addr(&address(name)?) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(format!("cannot connect to the socket @{name}: {error}")),
    }
}

/// Checks that the other side is of the same user, and in this container.
///
/// An abstract socket belongs to a network namespace, which containers may share; a process of another container has no
/// number here, and the kernel tells it as 0.
pub(crate) fn check(socket: &impl AsFd) -> Result<(), String> {
    let peer = getsockopt(socket, PeerCredentials).map_err(|error| format!("cannot tell who is there: {error}"))?;
    match (peer.pid(), peer.uid()) {
        (0, _) => Err("it is in another container that shares the network".to_owned()),
        (_, uid) if uid != geteuid().as_raw() => Err(format!("it runs as user {uid}, and this as user {}", geteuid())),
        _ => Ok(()),
    }
}
