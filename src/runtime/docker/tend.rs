//! Compares the walls with what they have to be, and mends them.

use std::collections::HashMap;

use sandglass_agent::walls::{PEERS_OPEN, Request, Table};

use super::{
    Docker,
    addresses::Kind,
    error::CallError,
    known::{State, Wall},
    settings::Firewall as Mode,
};
use crate::{domain::egress::Egress, ports::walls::WallsError};

impl Docker {
    pub(super) async fn tend_now(&self, expected: HashMap<String, Egress>) -> Result<(), WallsError> {
        let failed =
            |error: CallError| WallsError::Failed(error.during("look after the networks of sandboxes").to_string());
        // Nothing starts and nothing is removed from here on, so what the engine lists is what the rules are for.
        let mut state = self.known.state.lock().await;
        if self.engine.settings.isolated {
            self.any_bridge().await.map_err(failed)?;
        }
        let survey = self.learn_networks().await.map_err(failed)?;
        let known = state.walls.iter().map(|(id, wall)| (id.clone(), wall.place.address)).collect();
        let mended = self.mend_networks(&survey, &known).await;
        let on_ours = survey.containers.iter().filter_map(|container| {
            let id = container.id.as_deref()?;
            let place = self.listed_place(container).or_else(|| Some(state.walls.get(id)?.place.clone()))?;
            Some((id.to_owned(), place))
        });
        let listed: HashMap<_, _> = on_ours.collect();
        let mut walls = HashMap::new();
        for (id, mut wall) in std::mem::take(&mut state.walls) {
            let starting = self.known.is_starting(&id);
            if starting || (wall.recent && listed.contains_key(&id)) {
                wall.recent = starting;
                walls.insert(id, wall);
            }
        }
        for (id, place) in listed {
            if let Some(egress) = expected.get(&id).filter(|_| !walls.contains_key(&id)) {
                walls.insert(id, Wall { place, egress: egress.clone(), recent: false });
            }
        }
        state.walls = walls;
        if self.addresses.bridges().is_some_and(|bridges| bridges.is_empty()) {
            *self.known.gap() = None;
            return mended.map_err(failed);
        }
        let compared = self.compare(&mut state).await;
        if let Err(message) = compared {
            self.note_gap(&message);
            if state.walls.values().any(|wall| wall.place.kind == Kind::Isolated && !wall.egress.is_empty()) {
                return Err(WallsError::Failed(format!("the egress rules of sandboxes cannot be set: {message}")));
            }
        }
        mended.map_err(failed)
    }

    /// Compares the firewall's table with the one that has to be, and writes it if it differs.
    async fn compare(&self, state: &mut State) -> Result<(), String> {
        if self.engine.settings.firewall == Mode::Off {
            self.take_down().await;
        }
        let Some(mut firewall) = state.firewall.take() else { return self.write(state).await };
        let table = self.table(&mut firewall, &state.walls).await;
        let found = firewall.ask::<Vec<String>>(Request::Check).await;
        state.firewall = Some(firewall);
        let differences = match found {
            Ok(differences) => differences,
            Err(trouble) => {
                tracing::warn!("failed to read the firewall's table, writing it again: {}", trouble.message());
                return self.write(state).await;
            }
        };
        let (peers, others): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|difference| difference == PEERS_OPEN);
        if !others.is_empty() {
            tracing::warn!(differences = ?others, "the firewall's table was changed by others: writing it again");
            return self.write(state).await;
        }
        *self.known.gap() = peers.into_iter().next();
        self.adjust(state, table).await
    }

    /// Makes an intact table what it has to be; what stays keeps what was counted.
    async fn adjust(&self, state: &mut State, table: Table) -> Result<(), String> {
        if (Table { sandboxes: table.sandboxes.clone(), ..state.written.clone() }) != table {
            return self.write(state).await;
        }
        let Some(firewall) = &mut state.firewall else { return self.write(state).await };
        let surplus = state.written.sandboxes.keys().filter(|address| !table.sandboxes.contains_key(address));
        let mut requests: Vec<_> = surplus.map(|address| Request::Remove { address: *address }).collect();
        for (address, rules) in &table.sandboxes {
            if state.written.sandboxes.get(address) != Some(rules) {
                requests.push(Request::Put { address: *address, rules: rules.clone() });
            }
        }
        for request in requests {
            if let Err(trouble) = firewall.ask::<()>(request).await {
                tracing::warn!("failed to set the rules of a sandbox, writing the whole table: {}", trouble.message());
                return self.write(state).await;
            }
        }
        state.written = table;
        Ok(())
    }

    /// Removes the table that this prefix had while the setting was another one: it would shut out new sandboxes.
    async fn take_down(&self) {
        let Some(bridge) = self.addresses.bridges().and_then(|bridges| bridges.into_iter().next()) else { return };
        let interface = self.names.interface(bridge.kind, bridge.number);
        let Ok(mut firewall) = self.open_here(&interface).await else { return };
        if let Err(trouble) = firewall.ask::<()>(Request::Delete { name: self.names.table() }).await {
            tracing::warn!(
                "failed to remove the firewall's table, which shuts out new sandboxes: {}",
                trouble.message()
            );
        }
    }
}
