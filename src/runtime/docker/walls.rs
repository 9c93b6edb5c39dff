//! The walls around sandboxes on networks of ours ([design: walls](crate::design::walls)).
//!
//! What this process has started or set is known here, and so is what it was told since; the firewall has the same. A sandbox
//! that is not known has no rules, and an address without rules reaches nothing.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net};
use sandglass_agent::walls::{PEERS_OPEN, Request, Rules, Table};
use tokio::time::timeout;

use super::{
    Docker,
    addresses::{Kind, Place},
    find::Search,
    firewall::{Firewall, Trouble},
    known::{State, Wall},
    open::OFF,
    settings::Firewall as Mode,
};
use crate::{
    domain::egress::{Egress, Ranges},
    ports::{
        runtime::ContainerRef,
        walls::{Blocked, Walls, WallsError},
    },
};

/// What is open where no rules are set.
const OPEN: &str = "sandboxes on isolated networks reach the host, its network and a cloud's metadata service";

/// How long an end, or a question about what was blocked, waits for the firewall.
const WAIT: Duration = Duration::from_secs(2);

impl Docker {
    /// Puts the rules of a container in place, which is about to start.
    ///
    /// A container without rules of its own starts also where none can be set.
    pub(super) async fn raise(&self, id: &str, place: &Place, egress: &Egress) -> Result<(), WallsError> {
        let (docker, id, place, egress) = (self.clone(), id.to_owned(), place.clone(), egress.clone());
        undisturbed(async move {
            let mut state = docker.known.state.lock().await;
            docker.raise_now(&mut state, &id, place, egress).await
        })
        .await
    }

    async fn raise_now(&self, state: &mut State, id: &str, place: Place, egress: Egress) -> Result<(), WallsError> {
        let needed = !egress.is_empty();
        if needed && place.kind != Kind::Isolated {
            return Err(WallsError::NoWalls("egress rules need network = \"isolated\"".to_owned()));
        }
        let (kind, address, rules) = (place.kind, place.address, rules(&egress));
        let wall = Wall { place, egress, recent: true };
        // Who had the address before is gone, or the engine would not have given it away.
        state.walls.retain(|other, wall| other == id || wall.place.address != address);
        let before = state.walls.insert(id.to_owned(), wall);
        if let Some(before) = before.as_ref().filter(|before| before.place.address != address) {
            self.clear(state, before.place.address).await;
        }
        let outcome = match kind {
            Kind::Isolated => self.put(state, address, rules, needed).await,
            // The engine itself lets nothing out. The table keeps them from the host.
            Kind::Internal => self.opened(state, false).await.map(drop),
        };
        match outcome {
            Err(message) if needed => {
                // What it is known to need stays known: the next try must not start it without.
                match before {
                    Some(before) => state.walls.insert(id.to_owned(), before),
                    None => state.walls.remove(id),
                };
                Err(unable(&message))
            }
            Err(message) => {
                self.note_gap(&message);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Puts the rules of a container that was made earlier in place again. Without knowing them, it reaches nothing until the
    /// walls are tended.
    ///
    /// `labelled` is what its labels tell of its rules, which may have changed since.
    pub(super) async fn raise_again(&self, id: &str, place: &Place, labelled: &Egress) -> Result<(), WallsError> {
        let (docker, id, place, needed) = (self.clone(), id.to_owned(), place.clone(), !labelled.is_empty());
        undisturbed(async move {
            let mut state = docker.known.state.lock().await;
            let known = state.walls.get(&id).map(|wall| (wall.egress.clone(), wall.recent));
            let Some((egress, recent)) = known else {
                return match docker.opened(&mut state, needed).await.map(drop) {
                    Err(message) if needed => Err(unable(&message)),
                    Err(message) => {
                        docker.note_gap(&message);
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                };
            };
            docker.raise_now(&mut state, &id, place, egress).await?;
            if let Some(wall) = state.walls.get_mut(&id) {
                wall.recent = recent;
            }
            Ok(())
        })
        .await
    }

    /// Removes the rules of a container that is gone, and gives its address back.
    pub(super) async fn lower(&self, id: &str, place: Option<Place>) {
        let (docker, id) = (self.clone(), id.to_owned());
        let lowered = undisturbed(async move {
            let mut state = docker.known.state.lock().await;
            let known = state.walls.remove(&id).map(|wall| wall.place);
            let Some(place) = known.or(place) else { return };
            if state.walls.values().any(|wall| wall.place.address == place.address) {
                return;
            }
            docker.clear(&mut state, place.address).await;
            docker.addresses.free(place.address);
        });
        // It goes on where it takes longer: a firewall that hangs holds up no end.
        let _ = timeout(WAIT, lowered).await;
    }

    /// Removes the rules of an address. If that fails, they are found when the walls are tended, and are replaced before if
    /// another sandbox gets the address.
    async fn clear(&self, state: &mut State, address: Ipv4Addr) {
        state.written.sandboxes.remove(&address);
        let Some(firewall) = &mut state.firewall else { return };
        let removed: Result<(), _> = firewall.ask(Request::Remove { address }).await;
        if let Err(trouble) = removed {
            tracing::debug!(%address, "failed to remove the rules of a sandbox: {}", trouble.message());
            state.firewall = None;
        }
    }

    /// Puts rules in place. If they are `needed`, looks first whether the whole table is intact.
    async fn put(&self, state: &mut State, address: Ipv4Addr, rules: Rules, needed: bool) -> Result<(), String> {
        let firewall = match self.opened(state, needed).await? {
            // The table was written just now, with these rules.
            Opened::Now => return Ok(()),
            Opened::Before(firewall) => firewall,
        };
        let intact = if needed { firewall.ask(Request::Check).await } else { Ok(Vec::new()) };
        let done = match intact {
            Ok(differences) if differences.iter().all(|difference: &String| difference == PEERS_OPEN) => {
                firewall.ask::<()>(Request::Put { address, rules: rules.clone() }).await
            }
            Ok(differences) => {
                tracing::warn!(?differences, "the firewall's table was changed by others: writing it again");
                return self.write(state).await;
            }
            Err(trouble) => Err(trouble),
        };
        match done {
            Ok(()) => {
                state.written.sandboxes.insert(address, rules);
                Ok(())
            }
            Err(trouble) => {
                tracing::warn!("failed to set the rules of a sandbox, writing the whole table: {}", trouble.message());
                self.write(state).await
            }
        }
    }

    /// The firewall with a table of ours in it. With `again` also if that was in vain before.
    async fn opened<'a>(&self, state: &'a mut State, again: bool) -> Result<Opened<'a>, String> {
        if state.firewall.is_some() {
            // The borrow checker does not see that a `Some` from a match on the field would end here.
            return state.firewall.as_mut().map(Opened::Before).ok_or_else(String::new);
        }
        if let Some(refused) = state.refused.clone().filter(|_| !again) {
            return Err(refused);
        }
        self.write(state).await.map(|()| Opened::Now)
    }

    /// Writes the whole table, and opens the firewall if it is not.
    pub(super) async fn write(&self, state: &mut State) -> Result<(), String> {
        if self.engine.settings.firewall == Mode::Off {
            return Err(OFF.to_owned());
        }
        let written = self.write_once(state).await;
        let written = match written {
            Err(Trouble::Broken(message)) if state.refused.is_none() => {
                tracing::debug!("lost the way to the firewall: {message}");
                self.write_once(state).await
            }
            written => written,
        };
        match written {
            Ok(gap) => {
                state.refused = None;
                *self.known.gap() = gap;
                Ok(())
            }
            Err(trouble) => {
                state.firewall = None;
                state.refused = Some(trouble.message().to_owned());
                Err(trouble.message().to_owned())
            }
        }
    }

    /// Returns what stays open nevertheless.
    async fn write_once(&self, state: &mut State) -> Result<Option<String>, Trouble> {
        let mut firewall = match state.firewall.take() {
            Some(firewall) => firewall,
            None => {
                let interface = self.an_interface().await.map_err(Trouble::Broken)?;
                self.open_firewall(&interface).await.map_err(Trouble::Broken)?
            }
        };
        self.known.set_local(matches!(firewall, Firewall::Local(_)));
        let table = self.table(&mut firewall, &state.walls).await;
        firewall.ask::<()>(Request::Replace { table: table.clone() }).await?;
        let differences: Vec<String> = firewall.ask(Request::Check).await?;
        (state.firewall, state.written) = (Some(firewall), table);
        Ok((!differences.is_empty()).then(|| differences.join(" ")))
    }

    /// The name of an interface of a network of ours that the engine has; makes a network if there is none.
    async fn an_interface(&self) -> Result<String, String> {
        let bridge = self.any_bridge().await.map_err(|error| error.to_string())?;
        Ok(self.names.interface(bridge.kind, bridge.number))
    }

    pub(super) async fn table(&self, firewall: &mut Firewall, walls: &HashMap<String, Wall>) -> Table {
        let isolated = walls.values().filter(|wall| wall.place.kind == Kind::Isolated);
        Table {
            name: self.names.table(),
            bridges: vec![self.names.interfaces(Kind::Isolated)],
            internal: vec![self.names.interfaces(Kind::Internal)],
            resolvers: self.resolvers(firewall).await,
            sandboxes: isolated.map(|wall| (wall.place.address, rules(&wall.egress))).collect(),
        }
    }

    pub(super) fn note_gap(&self, message: &str) {
        *self.known.gap() = Some(format!("{OPEN}: the firewall cannot be set: {message}"));
    }
}

enum Opened<'a> {
    Before(&'a mut Firewall),
    /// The table was written just now.
    Now,
}

impl Docker {
    /// The id of a container on an isolated network, and where it is there.
    async fn walled(&self, container: &ContainerRef) -> Result<(String, Place), WallsError> {
        let found =
            self.find(container).await.map_err(|error| WallsError::Failed(error.during("find it").to_string()))?;
        let Search::Ours(found) = found else { return Err(WallsError::NoWalls("there is none".to_owned())) };
        let place = self.inspected_place(&found).filter(|place| place.kind == Kind::Isolated);
        let elsewhere = || WallsError::NoWalls("it is on no isolated network".to_owned());
        found.id.zip(place).ok_or_else(elsewhere)
    }
}

#[async_trait]
impl Walls for Docker {
    async fn set(&self, container: &ContainerRef, egress: &Egress) -> Result<(), WallsError> {
        let (id, place) = self.walled(container).await?;
        let (docker, egress) = (self.clone(), egress.clone());
        undisturbed(async move {
            let mut state = docker.known.state.lock().await;
            let before = state.walls.get(&id).map(|wall| wall.egress.clone());
            let address = place.address;
            let wall = Wall { place, egress: egress.clone(), recent: true };
            state.walls.insert(id.clone(), wall);
            // Also empty rules replace others, so they are needed.
            let Err(message) = docker.put(&mut state, address, rules(&egress), true).await else { return Ok(()) };
            match before {
                Some(before) => {
                    if let Some(wall) = state.walls.get_mut(&id) {
                        (wall.egress, wall.recent) = (before, false);
                    }
                }
                None => {
                    state.walls.remove(&id);
                }
            }
            Err(WallsError::Failed(message))
        })
        .await
    }

    async fn blocked(&self, container: &ContainerRef) -> Result<Blocked, WallsError> {
        let (_, place) = self.walled(container).await?;
        let docker = self.clone();
        undisturbed(async move {
            // Who only asks stands in nobody's way.
            let Ok(mut state) = timeout(WAIT, docker.known.state.lock()).await else {
                return Err(WallsError::Failed("the firewall is busy".to_owned()));
            };
            let Some(firewall) = &mut state.firewall else {
                return Err(WallsError::Unable("the firewall is not open".to_owned()));
            };
            let asked = firewall.ask(Request::Blocked { address: place.address }).await;
            let blocked: sandglass_agent::walls::Blocked = match asked {
                Ok(blocked) => blocked,
                Err(trouble) => {
                    if let Trouble::Broken(_) = trouble {
                        state.firewall = None;
                    }
                    return Err(WallsError::Failed(trouble.message().to_owned()));
                }
            };
            let recent = blocked.recent.into_iter().map(|(address, packets)| (IpAddr::V4(address), packets)).collect();
            Ok(Blocked { packets: blocked.packets, recent })
        })
        .await
    }

    async fn tend(&self, expected: HashMap<String, Egress>) -> Result<(), WallsError> {
        let docker = self.clone();
        undisturbed(async move { docker.tend_now(expected).await }).await
    }

    fn gap(&self) -> Option<String> {
        self.known.gap().clone()
    }
}

/// Does `work` in a task of its own: if its caller goes away, it is not left half done.
async fn undisturbed<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn unable(message: &str) -> WallsError {
    WallsError::Unable(format!("the sandbox's egress rules cannot be set: {message}"))
}

/// What the firewall is told of a sandbox's rules. Ranges of IPv6 match nothing, since networks of ours have none of it.
fn rules(egress: &Egress) -> Rules {
    let four = |ranges: &[IpNet]| -> Vec<Ipv4Net> {
        ranges.iter().filter_map(|range| if let IpNet::V4(range) = range { Some(*range) } else { None }).collect()
    };
    let Ranges { allow: open, deny: shut } = &egress.template;
    let Ranges { allow, deny } = &egress.request;
    Rules { open: four(open), shut: four(shut), allow: four(allow), deny: four(deny) }
}
