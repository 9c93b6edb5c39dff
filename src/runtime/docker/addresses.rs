//! The addresses of sandboxes on bridges of ours, chosen before their containers are created: so the rules of a sandbox can be
//! set before it starts.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::Ipv4Net;

/// The length of a bridge's subnet.
pub(super) const LENGTH: u8 = 22;
/// How many sandboxes share a bridge; Linux takes 1023 ports on one.
pub(super) const PER_BRIDGE: usize = 1000;

/// Whether a bridge has a way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Isolated,
    Internal,
}

/// Where a sandbox is on its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// The network's name.
    pub(super) network: String,
    pub(super) address: Ipv4Addr,
}

/// A network of ours that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) kind: Kind,
    pub(super) number: u32,
    /// The network's name.
    pub(super) network: String,
    pub(super) subnet: Ipv4Net,
}

/// The bridges of this prefix, and which of their addresses are taken.
#[derive(Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<Pool>>);

#[derive(Default)]
struct Pool {
    /// `None` before the engine has told them.
    bridges: Option<Vec<Bridge>>,
    taken: BTreeMap<Ipv4Addr, Taken>,
    /// The address after which the next one is looked for, by bridge: an address that was just given back rests longest.
    last: BTreeMap<(Kind, u32), Ipv4Addr>,
    /// Counts what is taken and let go.
    stamp: u64,
}

#[derive(Default)]
struct Taken {
    /// How many starts are under way that may still make a container with it.
    pending: usize,
    since: u64,
}

/// An address whose container is being made. Once this is dropped, the address is free unless the next listing shows a
/// container that has it.
pub(super) struct Pending {
    addresses: Addresses,
    place: Place,
}

impl Addresses {
    /// The bridges; `None` if the engine has not told them yet.
    pub(super) fn bridges(&self) -> Option<Vec<Bridge>> {
        self.pool().bridges.clone()
    }

    /// Notes the bridges that the engine has.
    pub(super) fn know(&self, bridges: Vec<Bridge>) {
        self.pool().bridges = Some(bridges);
    }

    /// Adds a bridge that was made.
    pub(super) fn add(&self, bridge: Bridge) {
        let mut pool = self.pool();
        let bridges = pool.bridges.get_or_insert_default();
        bridges.retain(|other| (other.kind, other.number) != (bridge.kind, bridge.number));
        bridges.push(bridge);
        bridges.sort_by_key(|bridge| (bridge.kind, bridge.number));
    }

    /// Has the next caller ask the engine for the bridges again.
    pub(super) fn doubt(&self) {
        self.pool().bridges = None;
    }

    /// Takes an address of a bridge of `kind` that has room; `None` if there is no such bridge.
    pub(super) fn take(&self, kind: Kind) -> Option<Pending> {
        let mut pool = self.pool();
        let bridges = pool.bridges.clone().unwrap_or_default();
        let place = bridges.iter().filter(|bridge| bridge.kind == kind).find_map(|bridge| pool.take_on(bridge))?;
        drop(pool);
        Some(Pending { addresses: self.clone(), place })
    }

    /// Takes an address of this bridge, if it has room.
    pub(super) fn take_on(&self, bridge: &Bridge) -> Option<Pending> {
        let place = self.pool().take_on(bridge)?;
        Some(Pending { addresses: self.clone(), place })
    }

    /// Takes this address again for a container that has it and is about to start.
    pub(super) fn retake(&self, place: &Place) -> Pending {
        let mut pool = self.pool();
        pool.stamp += 1;
        let stamp = pool.stamp;
        let taken = pool.taken.entry(place.address).or_default();
        taken.pending += 1;
        taken.since = stamp;
        drop(pool);
        Pending { addresses: self.clone(), place: place.clone() }
    }

    /// Gives back the address of a container that is gone.
    pub(super) fn free(&self, address: Ipv4Addr) {
        let mut pool = self.pool();
        if pool.taken.get(&address).is_some_and(|taken| taken.pending == 0) {
            pool.taken.remove(&address);
        }
    }

    /// What [`Self::settle`] is told after a listing that begins now.
    pub(super) fn stamp(&self) -> u64 {
        self.pool().stamp
    }

    /// Corrects what is taken by a listing of all containers, which began at `began` and shows these addresses.
    pub(super) fn settle(&self, began: u64, listed: &HashSet<Ipv4Addr>) {
        let mut pool = self.pool();
        pool.taken.retain(|address, taken| taken.pending > 0 || taken.since > began || listed.contains(address));
        for address in listed {
            pool.taken.entry(*address).or_default();
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn take_on(&mut self, bridge: &Bridge) -> Option<Place> {
        let on_bridge = |address: &Ipv4Addr| bridge.subnet.contains(address);
        if self.taken.keys().filter(|address| on_bridge(address)).count() >= PER_BRIDGE {
            return None;
        }
        let hosts = u32::from(bridge.subnet.network()) + 2..u32::from(bridge.subnet.broadcast());
        let last = self.last.get(&(bridge.kind, bridge.number)).filter(|last| on_bridge(last));
        let first = last.map_or(hosts.start, |last| u32::from(*last) + 1);
        let mut candidates = (first..hosts.end).chain(hosts.start..first).map(Ipv4Addr::from);
        let address = candidates.find(|address| !self.taken.contains_key(address))?;
        self.stamp += 1;
        self.taken.insert(address, Taken { pending: 1, since: self.stamp });
        self.last.insert((bridge.kind, bridge.number), address);
        Some(Place { kind: bridge.kind, network: bridge.network.clone(), address })
    }
}

impl Pending {
    /// Gives the address back at once. If a container appears with it all the same, that never starts.
    pub(super) fn give_back(self) {
        let (addresses, address) = (self.addresses.clone(), self.place.address);
        drop(self);
        addresses.free(address);
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pool = self.addresses.pool();
        pool.stamp += 1;
        let stamp = pool.stamp;
        if let Some(taken) = pool.taken.get_mut(&self.place.address) {
            taken.pending = taken.pending.saturating_sub(1);
            taken.since = stamp;
        }
    }
}

/// The subnets of bridges within `range`, in the order in which they are tried: from one on that depends on `seed`, so that
/// supervisors of one engine rarely want the same one.
pub(super) fn subnets(range: Ipv4Net, seed: u32, used: &BTreeSet<Ipv4Net>) -> impl Iterator<Item = Ipv4Net> {
    let all: Vec<_> = range.subnets(LENGTH).into_iter().flatten().collect();
    let start = seed as usize % all.len().max(1);
    let (before, from) = all.split_at(start);
    let order: Vec<_> = from.iter().chain(before).filter(|subnet| !used.contains(subnet)).copied().collect();
    order.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(number: u32, subnet: &str) -> Bridge {
        Bridge {
            kind: Kind::Isolated,
            number,
            network: format!("sandglass-test-{number}"),
            subnet: subnet.parse().unwrap(),
        }
    }

    fn addresses(bridges: &[Bridge]) -> Addresses {
        let addresses = Addresses::default();
        addresses.know(bridges.to_vec());
        addresses
    }

    #[test]
    fn no_address_is_given_twice_and_none_is_the_gateways() {
        let addresses = addresses(&[bridge(1, "10.213.4.0/22"), bridge(2, "10.213.8.0/22")]);
        let taken: Vec<_> = (0..2 * PER_BRIDGE).map(|_| addresses.take(Kind::Isolated).unwrap()).collect();
        let distinct: HashSet<_> = taken.iter().map(|pending| pending.place().address).collect();
        assert_eq!(distinct.len(), 2 * PER_BRIDGE);
        for address in ["10.213.4.0", "10.213.4.1", "10.213.7.255", "10.213.8.1"] {
            assert!(!distinct.contains(&address.parse().unwrap()), "{address}");
        }
        let on = |number: usize| taken[number].place().network.clone();
        assert_eq!((on(PER_BRIDGE - 1).as_str(), on(PER_BRIDGE).as_str()), ("sandglass-test-1", "sandglass-test-2"));
        assert!(addresses.take(Kind::Isolated).is_none(), "both are full");
        assert!(addresses.take(Kind::Internal).is_none(), "there is none");
    }

    #[test]
    fn an_address_that_was_given_back_rests_longest() {
        let addresses = addresses(&[bridge(1, "10.213.4.0/22")]);
        let first = addresses.take(Kind::Isolated).unwrap().place().address;
        addresses.free(first);
        let mut seen = HashSet::new();
        loop {
            let next = addresses.take(Kind::Isolated).unwrap().place().address;
            addresses.free(next);
            if next == first {
                break;
            }
            assert!(seen.insert(next));
        }
        assert_eq!(seen.len(), 1020);
    }

    #[test]
    fn a_listing_frees_what_no_container_has_and_nothing_that_a_start_may_still_use() {
        let addresses = addresses(&[bridge(1, "10.213.4.0/22")]);
        let (held, gone) = (addresses.take(Kind::Isolated).unwrap(), addresses.take(Kind::Isolated).unwrap());
        let (held_at, gone_at) = (held.place().address, gone.place().address);
        addresses.settle(addresses.stamp(), &HashSet::new());
        let is_taken = |address| addresses.pool().taken.contains_key(&address);
        assert!(is_taken(held_at) && is_taken(gone_at), "they are being made");
        let began = addresses.stamp();
        drop((held, gone));
        addresses.settle(began, &HashSet::new());
        assert!(is_taken(held_at) && is_taken(gone_at), "they may have been made after the engine listed them");
        addresses.settle(addresses.stamp(), &HashSet::from([held_at, "10.213.5.5".parse().unwrap()]));
        assert!(is_taken(held_at) && !is_taken(gone_at));
        assert!(is_taken("10.213.5.5".parse().unwrap()), "a container has it");
        addresses.free(held_at);
        assert!(!is_taken(held_at));
    }

    #[test]
    fn every_subnet_is_tried_once() {
        let range = "10.213.0.0/16".parse().unwrap();
        let used = BTreeSet::from(["10.213.4.0/22".parse().unwrap()]);
        for seed in [0, 1, 63, 64, u32::MAX] {
            let tried: Vec<_> = subnets(range, seed, &used).collect();
            let distinct: BTreeSet<_> = tried.iter().copied().collect();
            assert_eq!((tried.len(), distinct.len()), (63, 63));
            assert!(distinct.is_disjoint(&used));
        }
        assert_eq!(subnets(range, 2, &used).next(), Some("10.213.8.0/22".parse().unwrap()));
        assert_eq!(subnets("10.213.0.0/24".parse().unwrap(), 0, &used).count(), 0);
    }
}
