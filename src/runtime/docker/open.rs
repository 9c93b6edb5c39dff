//! Opens a way to the firewall of the engine's host, and reads which resolvers that host asks.

use std::{
    fs,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};
use sandglass_agent::walls;
use tokio::task::spawn_blocking;

use super::{Docker, error::CallError, firewall::Firewall, host::Host, resolvers, settings::Firewall as Mode};

/// What is said where nobody may set rules.
pub(super) const OFF: &str = "docker.firewall is \"off\"";

impl Docker {
    /// Opens the way that the setting asks for. `interface` is that of a network of ours.
    pub(super) async fn open_firewall(&self, interface: &str) -> Result<Firewall, String> {
        let helper = || async {
            let helper = self.start_helper().await;
            helper.map(|helper| Firewall::Helper(Box::new(helper))).map_err(|error| error.to_string())
        };
        match self.engine.settings.firewall {
            Mode::Off => Err(OFF.to_owned()),
            Mode::Local => self.open_here(interface).await,
            Mode::Helper => helper().await,
            Mode::Auto => match self.open_here(interface).await {
                Ok(firewall) => Ok(firewall),
                Err(here) => {
                    tracing::debug!("the firewall cannot be set by this process: {here}");
                    helper()
                        .await
                        .map_err(|there| format!("not by this process ({here}), and not by a helper ({there})"))
                }
            },
        }
    }

    pub(super) async fn open_here(&self, interface: &str) -> Result<Firewall, String> {
        if !matches!(self.engine.host(), Host::Unix(_)) {
            return Err("the engine is on another host".to_owned());
        }
        if !is_here(interface) {
            return Err(format!("the engine is in another network namespace: {interface} is not an interface here"));
        }
        self.open_in_this_process().await
    }

    /// Opens the firewall of this process's network namespace, if the engine is on this host.
    pub(super) async fn open_in_this_process(&self) -> Result<Firewall, String> {
        if !matches!(self.engine.host(), Host::Unix(_)) {
            return Err("the engine is on another host".to_owned());
        }
        let opened = spawn_blocking(|| walls::Firewall::open().map_err(|error| error.message));
        let firewall = opened.await.map_err(|error| error.to_string())??;
        Ok(Firewall::Local(Arc::new(Mutex::new(firewall))))
    }

    /// The DNS servers that the engine has sandboxes ask.
    pub(super) async fn resolvers(&self, firewall: &mut Firewall) -> Vec<Ipv4Addr> {
        let files = match firewall {
            Firewall::Local(_) => {
                let read = spawn_blocking(|| resolvers::FILES.map(|file| fs::read_to_string(file).unwrap_or_default()));
                read.await.map(Vec::from).unwrap_or_default()
            }
            Firewall::Helper(helper) => match self.file_of(helper.id(), resolvers::FILES[0]).await {
                Ok(file) => vec![file],
                Err(error) => {
                    tracing::warn!(%error, "failed to read which DNS servers the engine's host asks: if they are in a \
                                            private range, sandboxes on isolated networks do not reach them");
                    Vec::new()
                }
            },
        };
        resolvers::named(files.iter().map(String::as_str))
    }

    /// The text of a small file of a container.
    async fn file_of(&self, id: &str, path: &str) -> Result<String, CallError> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let archive = self.engine.call(|docker| async move {
            let mut bytes = Vec::new();
            let mut parts = std::pin::pin!(docker.download_from_container(id, Some(options)));
            while let Some(part) = parts.next().await {
                bytes.extend_from_slice(&part?);
            }
            Ok(bytes)
        });
        let archive = archive.await?;
        let mut text = String::new();
        let read = tar::Archive::new(archive.as_slice()).entries().and_then(|mut entries| {
            let mut entry = entries.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
            std::io::Read::read_to_string(&mut entry, &mut text)
        });
        read.map(|_| text).map_err(|error| CallError::Broken(error.to_string()))
    }
}

/// Whether this process sees the interface, and so is in the network namespace of the engine's host.
pub(super) fn is_here(interface: &str) -> bool {
    socket(AddressFamily::INET, SocketType::DGRAM, None).is_ok_and(|socket| name_to_index(&socket, interface).is_ok())
}

/// Whether the kernel says that there is no such interface. Without an answer, as when no file can be opened, nothing is gone.
pub(super) fn is_gone(interface: &str) -> bool {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None);
    socket.is_ok_and(|socket| matches!(name_to_index(&socket, interface), Err(Errno::NODEV | Errno::NXIO)))
}
