//! How our table is laid out: sets, chains and rules, for the kernel to be given and to be compared with.
//!
//! ```text
//!   forward ──────▶ from ─▶ plain, or sb-ADDRESS ─▶ (sb-ADDRESS-template ─▶) walls ─▶ blocked
//!   input ─▶ host ─▶ names ──┘
//! ```
//!
//! A packet that goes to `blocked` is dropped, whatever other tables say; one that is accepted is still judged by them. Only
//! packets from bridges of ours are judged at all. Connections that the sandbox has begun are judged packet by packet, so that
//! new rules hold for old connections, too.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{
    expression::{Rule, TCP, UDP, Verdict},
    numbers::{BRIDGE, INET, hook, meta, set},
    table::{Rules, Table},
};

/// Before the priority at which Docker and others filter.
const PRIORITY: i32 = -10;

pub(super) const SANDBOXES: &str = "sandboxes";
pub(super) const BLOCKED_AT: &str = "blocked_at";
pub(super) const BLOCKED_BY: &str = "blocked_by";
const RESOLVERS: &str = "resolvers";
const WALLED: &str = "walled";

const FORWARD: &str = "forward";
const INPUT: &str = "input";
const FROM: &str = "from";
const HOST: &str = "host";
const NAMES: &str = "names";
const INSIDE: &str = "inside";
const WALLS: &str = "walls";
const PLAIN: &str = "plain";
const BLOCKED: &str = "blocked";

/// Addresses that are not the internet: "this" network, private ones, shared ones (cloud providers' and metadata), loopback,
/// Azure's metadata, link-local (metadata again), protocol assignments, benchmarks, multicast, and reserved ones with broadcast.
const NOT_INTERNET: [(Ipv4Addr, u8); 12] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Entries of a set that counts; one that is full counts no more.
const COUNTED: u32 = 65_536;
/// How long an address stays in `blocked_at`, in milliseconds.
const REMEMBERED: u64 = 3_600_000;

/// A set's properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) flags: u32,
    pub(super) key_type: u32,
    pub(super) key_length: u32,
    pub(super) data_type: u32,
    /// How many elements it may have, 0 without a limit.
    pub(super) size: u32,
    /// In milliseconds, 0 for ever.
    pub(super) timeout: u64,
}

/// Where the kernel enters a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) number: u32,
    pub(super) priority: i32,
    pub(super) policy: u32,
    pub(super) kind: String,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// An element of a set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Whether this is the first address after a range, not in it.
    pub(super) end: bool,
    pub(super) verdict: Option<Verdict>,
}

/// Elements by their addresses. A range begins with one and ends with another.
pub(super) type Elements = BTreeMap<(Ipv4Addr, bool), Element>;

/// A table as the kernel has it, without what counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) family: u8,
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) sets: BTreeMap<String, Set>,
    pub(super) chains: BTreeMap<String, Chain>,
    /// Of sets that others do not fill: by the set's name.
    pub(super) elements: BTreeMap<String, Elements>,
}

impl Layout {
    /// The table `inet` of this name.
    pub(super) fn of(table: &Table) -> Self {
        let mut layout = Self { family: INET, name: table.name.clone(), ..Self::default() };
        layout.sets = sets();
        layout.chains = fixed_chains(table);
        let not_internet = NOT_INTERNET.iter().filter_map(|(address, length)| Ipv4Net::new(*address, *length).ok());
        layout.elements = BTreeMap::from([
            (SANDBOXES.to_owned(), Elements::new()),
            (RESOLVERS.to_owned(), table.resolvers.iter().map(|address| element(*address, None)).collect()),
            (WALLED.to_owned(), ranges(not_internet)),
        ]);
        for (address, rules) in &table.sandboxes {
            layout.add(*address, rules);
        }
        layout
    }

    /// The table `bridge` of this name, for kernels that know a port's bridge: nothing passes from a port of a bridge of ours
    /// to another one.
    pub(super) fn of_bridge(table: &Table) -> Self {
        let rules = ours(table).map(|prefix| Rule::new().interface(meta::BRIDGE_NAME, prefix).drop()).collect();
        Self {
            family: BRIDGE,
            name: table.name.clone(),
            chains: BTreeMap::from([(FORWARD.to_owned(), Chain { hook: Some(entry(hook::FORWARD)), rules })]),
            ..Self::default()
        }
    }
}

/// The names of all bridges of ours, as beginnings.
fn ours(table: &Table) -> impl Iterator<Item = &String> {
    table.bridges.iter().chain(&table.internal)
}

fn addresses() -> Set {
    Set { key_type: set::ADDRESS, key_length: 4, ..Set::default() }
}

fn ranges_set() -> Set {
    Set { flags: set::INTERVAL, ..addresses() }
}

fn sets() -> BTreeMap<String, Set> {
    let addresses = addresses();
    let counted = Set { flags: set::DYNAMIC, size: COUNTED, ..addresses.clone() };
    let pairs = Set {
        flags: set::DYNAMIC | set::TIMEOUT,
        key_type: set::TWO_ADDRESSES,
        key_length: 8,
        timeout: REMEMBERED,
        ..counted.clone()
    };
    BTreeMap::from([
        (SANDBOXES.to_owned(), Set { flags: set::MAP, data_type: set::VERDICT, ..addresses.clone() }),
        (BLOCKED_AT.to_owned(), pairs),
        (BLOCKED_BY.to_owned(), counted),
        (RESOLVERS.to_owned(), addresses),
        (WALLED.to_owned(), ranges_set()),
    ])
}

fn entry(number: u32) -> Hook {
    Hook { number, priority: PRIORITY, policy: hook::ACCEPT, kind: "filter".to_owned() }
}

fn fixed_chains(table: &Table) -> BTreeMap<String, Chain> {
    let at = |prefix: &String| Rule::new().interface(meta::INPUT_NAME, prefix);
    let bridges = || table.bridges.iter();
    let internal = || table.internal.iter();
    let base = |number, rules: Vec<Rule>| Chain { hook: Some(entry(number)), rules };
    // A packet that comes back from these chains has met one that was just being made, which is empty for it.
    let judge = |prefix, chain| [at(prefix).jump(chain), at(prefix).goto(BLOCKED)];
    let forward =
        bridges().flat_map(|prefix| judge(prefix, FROM)).chain(internal().map(|prefix| at(prefix).goto(BLOCKED)));
    let input =
        bridges().flat_map(|prefix| judge(prefix, HOST)).chain(internal().flat_map(|prefix| judge(prefix, INSIDE)));
    // Answers first: to published ports, to the host's own probes and to Docker's proxy.
    let first = || [Rule::new().ipv6().drop(), Rule::new().reply().accept()];
    let peers = ours(table).map(|prefix| Rule::new().interface(meta::OUTPUT_NAME, prefix).goto(BLOCKED));
    let last = || [Rule::new().goto(BLOCKED)];
    let judged = || [Rule::new().by_sender(SANDBOXES)];
    let names = [UDP, TCP].map(|protocol| Rule::new().within(RESOLVERS).names(protocol).back());
    let [over_udp, over_tcp] = names.clone();

    let chains = [
        (FORWARD, base(hook::FORWARD, forward.collect())),
        (INPUT, base(hook::INPUT, input.collect())),
        (FROM, plain_chain(first().into_iter().chain(peers).chain(judged()).chain(last()))),
        // Where a name server is an address of the host, it is reached, with the sandbox's own rules.
        (HOST, plain_chain(first().into_iter().chain([Rule::new().jump(NAMES)]).chain(judged()).chain(last()))),
        (NAMES, plain_chain(names.into_iter().chain(last()))),
        (INSIDE, plain_chain(first().into_iter().chain(last()))),
        (WALLS, plain_chain([over_udp, over_tcp, Rule::new().within(WALLED).goto(BLOCKED)])),
        (PLAIN, plain_chain([Rule::new().jump(WALLS), Rule::new().accept()])),
        // Each in a rule of its own: a full set ends its rule, and must not keep the packet from being dropped.
        (
            BLOCKED,
            plain_chain([Rule::new().count_both(BLOCKED_AT), Rule::new().count_sender(BLOCKED_BY), Rule::new().drop()]),
        ),
    ];
    chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect()
}

fn plain_chain(rules: impl IntoIterator<Item = Rule>) -> Chain {
    Chain { hook: None, rules: rules.into_iter().collect() }
}

/// What a sandbox has in the table: its element, and with rules one or two chains. Nothing of one that is not there.
pub(super) fn part(name: &str, address: Ipv4Addr, rules: Option<&Rules>) -> Layout {
    let mut part = Layout { family: INET, name: name.to_owned(), ..Layout::default() };
    part.elements.insert(SANDBOXES.to_owned(), Elements::new());
    if let Some(rules) = rules {
        part.add(address, rules);
    }
    part
}

impl Layout {
    /// Adds a sandbox.
    ///
    /// Each network has a rule of its own. A set would be faster for many of them, but kernels differ in whether a new set of
    /// ranges has its elements at the moment when the rule for it begins to hold.
    fn add(&mut self, address: Ipv4Addr, rules: &Rules) {
        let (own, template) = (format!("sb-{address}"), format!("sb-{address}-template"));
        let verdict = Verdict::Goto(if rules.is_empty() { PLAIN.to_owned() } else { own.clone() });
        let sandboxes = self.elements.entry(SANDBOXES.to_owned()).or_default();
        sandboxes.extend([element(address, Some(verdict))]);
        if rules.is_empty() {
            return;
        }
        let each = |networks: &[Ipv4Net]| {
            Ipv4Net::aggregate(&networks.to_vec()).into_iter().map(|network| Rule::new().to(network))
        };
        // What comes back from the first chain goes on to the sandbox's own rules.
        let mut first = WALLS;
        if !rules.open.is_empty() || !rules.shut.is_empty() {
            first = &template;
            let open = each(&rules.open).map(Rule::back);
            let shut = each(&rules.shut).map(|rule| rule.goto(BLOCKED));
            let chain = plain_chain(open.chain(shut).chain([Rule::new().goto(WALLS)]));
            self.chains.insert(template.clone(), chain);
        }
        let allow = each(&rules.allow).map(Rule::accept);
        let deny = each(&rules.deny).map(|rule| rule.goto(BLOCKED));
        let chain = [Rule::new().jump(first)].into_iter().chain(allow).chain(deny).chain([Rule::new().accept()]);
        self.chains.insert(own, plain_chain(chain));
    }
}

fn element(address: Ipv4Addr, verdict: Option<Verdict>) -> ((Ipv4Addr, bool), Element) {
    ((address, false), Element { end: false, verdict })
}

/// Networks as ranges, each with its first address and the first one behind it. They are sorted and do not overlap; neighbours
/// become one range.
fn ranges(networks: impl IntoIterator<Item = Ipv4Net>) -> Elements {
    let mut elements = Elements::new();
    for network in networks {
        if elements.remove(&(network.network(), true)).is_none() {
            elements.insert((network.network(), false), Element { end: false, verdict: None });
        }
        // The last range ends with the last address.
        if let Some(behind) = u32::from(network.broadcast()).checked_add(1) {
            elements.insert((behind.into(), true), Element { end: true, verdict: None });
        }
    }
    elements
}
