//! Rules: rows of expressions that work on registers. What one of them says no to ends the rule for a packet.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{
    numbers::{IPV4, IPV6, attribute, meta, register, verdict},
    wire::{Attributes, Body},
};

/// The expressions that our rules consist of, as `nft` writes them, too. Where no register is named, it is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads something about the packet that is not in it.
    Meta(u32),
    /// Loads the direction within its connection: 1 for replies. Ends the rule if the packet has no connection.
    Direction,
    /// Loads bytes of the packet.
    Payload { base: u32, offset: u32, length: u32, into: u32 },
    /// Keeps these bits of the register.
    Mask([u8; 4]),
    /// Ends the rule unless the register begins with these bytes.
    Equal(Vec<u8>),
    /// Ends the rule unless the set has the register.
    Within(String),
    /// The verdict that the map has for the register; ends the rule if it has none.
    Look(String),
    /// Adds the register to the set, or renews it there, and counts the packet. Ends the rule if the set is full.
    Count(String),
    /// Ends the rule, and judges the packet.
    Judge(Verdict),
    /// One of others, with its name; we write none.
    Other(String),
}

/// What is to happen with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// One that we never write.
    Other(i32),
}

/// Where the parts of packets are, from the beginning of a header.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
/// The bytes of an address.
const ADDRESS: u32 = 4;
/// The key by which the expression `ct` loads the direction.
const DIRECTION: u32 = 1;
const UPDATE: u32 = 1;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const DNS: u16 = 53;

/// A rule under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule(pub(super) Vec<Expression>);

impl Rule {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn and(mut self, expressions: impl IntoIterator<Item = Expression>) -> Self {
        self.0.extend(expressions);
        self
    }

    fn ipv4(self) -> Self {
        self.and([Expression::Meta(meta::FAMILY), Expression::Equal(vec![IPV4])])
    }

    pub(super) fn ipv6(self) -> Self {
        self.and([Expression::Meta(meta::FAMILY), Expression::Equal(vec![IPV6])])
    }

    /// From, to or at an interface whose name begins so; `key` says which.
    pub(super) fn interface(self, key: u32, prefix: &str) -> Self {
        self.and([Expression::Meta(key), Expression::Equal(prefix.as_bytes().to_vec())])
    }

    pub(super) fn reply(self) -> Self {
        self.and([Expression::Direction, Expression::Equal(vec![1])])
    }

    pub(super) fn to(self, network: Ipv4Net) -> Self {
        if network.prefix_len() == 0 {
            return self;
        }
        let rule = self.ipv4().and([address(DESTINATION, register::FIRST)]);
        let rule =
            if network.prefix_len() < 32 { rule.and([Expression::Mask(network.netmask().octets())]) } else { rule };
        rule.and([Expression::Equal(network.network().octets().to_vec())])
    }

    pub(super) fn within(self, set: &str) -> Self {
        self.ipv4().and([address(DESTINATION, register::FIRST), Expression::Within(set.to_owned())])
    }

    /// To the port of name servers over this protocol.
    pub(super) fn names(self, protocol: u8) -> Self {
        self.and([
            Expression::Meta(meta::PROTOCOL),
            Expression::Equal(vec![protocol]),
            Expression::Payload { base: TRANSPORT, offset: 2, length: 2, into: register::FIRST },
            Expression::Equal(DNS.to_be_bytes().to_vec()),
        ])
    }

    /// What the map says of the sender.
    pub(super) fn by_sender(self, map: &str) -> Self {
        self.ipv4().and([address(SOURCE, register::FIRST), Expression::Look(map.to_owned())])
    }

    pub(super) fn count_sender(self, set: &str) -> Self {
        self.ipv4().and([address(SOURCE, register::FIRST), Expression::Count(set.to_owned())])
    }

    pub(super) fn count_both(self, set: &str) -> Self {
        let both = [address(SOURCE, register::FIRST), address(DESTINATION, register::SECOND_WORD)];
        self.ipv4().and(both).and([Expression::Count(set.to_owned())])
    }

    pub(super) fn accept(self) -> Self {
        self.judge(Verdict::Accept)
    }

    pub(super) fn drop(self) -> Self {
        self.judge(Verdict::Drop)
    }

    pub(super) fn back(self) -> Self {
        self.judge(Verdict::Return)
    }

    pub(super) fn jump(self, chain: &str) -> Self {
        self.judge(Verdict::Jump(chain.to_owned()))
    }

    pub(super) fn goto(self, chain: &str) -> Self {
        self.judge(Verdict::Goto(chain.to_owned()))
    }

    fn judge(self, verdict: Verdict) -> Self {
        self.and([Expression::Judge(verdict)])
    }

    /// Whether it looks something up in one of these sets.
    pub(super) fn uses(&self, sets: &BTreeSet<&str>) -> bool {
        self.0.iter().any(|expression| match expression {
            Expression::Within(set) | Expression::Look(set) | Expression::Count(set) => sets.contains(set.as_str()),
            _ => false,
        })
    }

    pub(super) fn write(&self, to: &mut Attributes<'_>) {
        for expression in &self.0 {
            to.nest(attribute::ELEMENT, |to| expression.write(to));
        }
    }

    pub(super) fn read(list: Body<'_>) -> Self {
        Self(list.attributes().map(|(_, expression)| Expression::read(expression)).collect())
    }
}

fn address(offset: u32, into: u32) -> Expression {
    Expression::Payload { base: NETWORK, offset, length: ADDRESS, into }
}

/// The kinds of each expression's attributes, in the order of their values in `write` below.
mod kinds {
    pub(super) const META: [u16; 2] = [1, 2];
    pub(super) const CT: [u16; 2] = [1, 2];
    pub(super) const PAYLOAD: [u16; 4] = [1, 2, 3, 4];
    pub(super) const BITWISE: [u16; 3] = [1, 2, 3];
    pub(super) const BITWISE_MASK: u16 = 4;
    pub(super) const BITWISE_XOR: u16 = 5;
    pub(super) const BITWISE_OPERATION: u16 = 6;
    pub(super) const CMP: [u16; 2] = [1, 2];
    pub(super) const CMP_DATA: u16 = 3;
    pub(super) const LOOKUP_SET: u16 = 1;
    pub(super) const LOOKUP_FROM: u16 = 2;
    pub(super) const LOOKUP_INTO: u16 = 3;
    pub(super) const LOOKUP_FLAGS: u16 = 5;
    pub(super) const DYNSET_SET: u16 = 1;
    pub(super) const DYNSET: [u16; 2] = [3, 4];
    pub(super) const DYNSET_TIMEOUT: u16 = 6;
    pub(super) const DYNSET_EXPRESSION: u16 = 7;
    pub(super) const DYNSET_EXPRESSIONS: u16 = 10;
    pub(super) const IMMEDIATE_INTO: u16 = 1;
    pub(super) const IMMEDIATE_DATA: u16 = 2;
}

impl Expression {
    fn write(&self, to: &mut Attributes<'_>) {
        let first = register::FIRST;
        match self {
            Self::Meta(key) => named(to, "meta", |to| numbers(to, kinds::META, [first, *key])),
            Self::Direction => named(to, "ct", |to| numbers(to, kinds::CT, [first, DIRECTION])),
            Self::Payload { base, offset, length, into } => {
                named(to, "payload", |to| numbers(to, kinds::PAYLOAD, [*into, *base, *offset, *length]));
            }
            Self::Mask(mask) => named(to, "bitwise", |to| {
                numbers(to, kinds::BITWISE, [first, first, ADDRESS]);
                to.nest(kinds::BITWISE_MASK, |to| to.put(attribute::data::VALUE, mask));
                to.nest(kinds::BITWISE_XOR, |to| to.put(attribute::data::VALUE, &[0; 4]));
            }),
            Self::Equal(bytes) => named(to, "cmp", |to| {
                numbers(to, kinds::CMP, [first, 0]);
                to.nest(kinds::CMP_DATA, |to| to.put(attribute::data::VALUE, bytes));
            }),
            Self::Within(set) => named(to, "lookup", |to| {
                to.text(kinds::LOOKUP_SET, set);
                to.number(kinds::LOOKUP_FROM, first);
            }),
            Self::Look(map) => named(to, "lookup", |to| {
                to.text(kinds::LOOKUP_SET, map);
                to.number(kinds::LOOKUP_FROM, first);
                to.number(kinds::LOOKUP_INTO, register::VERDICT);
            }),
            Self::Count(set) => named(to, "dynset", |to| {
                to.text(kinds::DYNSET_SET, set);
                numbers(to, kinds::DYNSET, [UPDATE, first]);
                to.nest(kinds::DYNSET_EXPRESSION, |to| named(to, "counter", |_| {}));
            }),
            Self::Judge(verdict) => named(to, "immediate", |to| {
                to.number(kinds::IMMEDIATE_INTO, register::VERDICT);
                to.nest(kinds::IMMEDIATE_DATA, |to| verdict.write(to));
            }),
            // Only read.
            Self::Other(name) => named(to, name, |_| {}),
        }
    }

    fn read(expression: Body<'_>) -> Self {
        let name = expression.text(attribute::expression::NAME).unwrap_or_default();
        let data = expression.get(attribute::expression::DATA).unwrap_or_default();
        Self::read_known(&name, data).unwrap_or(Self::Other(name))
    }

    /// The expression, if it is one that we may have written.
    fn read_known(name: &str, data: Body<'_>) -> Option<Self> {
        let first = register::FIRST;
        let expression = match name {
            "meta" => match read(data, kinds::META)? {
                [register, key] if register == first => Self::Meta(key),
                _ => return None,
            },
            "ct" => match read(data, kinds::CT)? {
                [register, DIRECTION] if register == first => Self::Direction,
                _ => return None,
            },
            "payload" => {
                let [into, base, offset, length] = read(data, kinds::PAYLOAD)?;
                Self::Payload { base, offset, length, into }
            }
            "bitwise" => {
                let operation = data.number(kinds::BITWISE_OPERATION).unwrap_or_default();
                let value = |kind| <[u8; 4]>::try_from(data.get(kind)?.get(attribute::data::VALUE)?.0).ok();
                match (read(data, kinds::BITWISE)?, operation, value(kinds::BITWISE_XOR)?) {
                    ([from, into, ADDRESS], 0, [0, 0, 0, 0]) if from == first && into == first => {
                        Self::Mask(value(kinds::BITWISE_MASK)?)
                    }
                    _ => return None,
                }
            }
            "cmp" => match read(data, kinds::CMP)? {
                [register, 0] if register == first => {
                    Self::Equal(data.get(kinds::CMP_DATA)?.get(attribute::data::VALUE)?.0.to_vec())
                }
                _ => return None,
            },
            "lookup" => {
                let flags = data.number(kinds::LOOKUP_FLAGS).unwrap_or_default();
                let set = data.text(kinds::LOOKUP_SET)?;
                match (data.number(kinds::LOOKUP_FROM)?, flags, data.number(kinds::LOOKUP_INTO)) {
                    (from, 0, None) if from == first => Self::Within(set),
                    (from, 0, Some(register::VERDICT)) if from == first => Self::Look(set),
                    _ => return None,
                }
            }
            "dynset" => {
                let timeout = data.long(kinds::DYNSET_TIMEOUT).unwrap_or_default();
                // Newer kernels may write a list.
                let counter = data
                    .get(kinds::DYNSET_EXPRESSION)
                    .or_else(|| data.get(kinds::DYNSET_EXPRESSIONS)?.get(attribute::ELEMENT))?
                    .text(attribute::expression::NAME)?;
                match (read(data, kinds::DYNSET)?, timeout, counter.as_str()) {
                    ([UPDATE, from], 0, "counter") if from == first => Self::Count(data.text(kinds::DYNSET_SET)?),
                    _ => return None,
                }
            }
            "immediate" if data.number(kinds::IMMEDIATE_INTO)? == register::VERDICT => {
                Self::Judge(Verdict::read(data.get(kinds::IMMEDIATE_DATA)?)?)
            }
            _ => return None,
        };
        Some(expression)
    }
}

impl Verdict {
    pub(super) fn write(&self, to: &mut Attributes<'_>) {
        let (code, chain) = match self {
            Self::Accept => (verdict::ACCEPT, None),
            Self::Drop => (verdict::DROP, None),
            Self::Return => (verdict::RETURN, None),
            Self::Jump(chain) => (verdict::JUMP, Some(chain)),
            Self::Goto(chain) => (verdict::GOTO, Some(chain)),
            Self::Other(code) => (*code, None),
        };
        to.nest(attribute::data::VERDICT, |to| {
            to.put(attribute::data::VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                to.text(attribute::data::VERDICT_CHAIN, chain);
            }
        });
    }

    pub(super) fn read(data: Body<'_>) -> Option<Self> {
        let data = data.get(attribute::data::VERDICT)?;
        let chain = || data.text(attribute::data::VERDICT_CHAIN);
        Some(match data.number(attribute::data::VERDICT_CODE)?.cast_signed() {
            verdict::ACCEPT => Self::Accept,
            verdict::DROP => Self::Drop,
            verdict::RETURN => Self::Return,
            verdict::JUMP => Self::Jump(chain()?),
            verdict::GOTO => Self::Goto(chain()?),
            code => Self::Other(code),
        })
    }
}

/// How many packets an element's counter has seen.
pub(super) fn packets(element: Body<'_>) -> Option<u64> {
    const PACKETS: u16 = 2;
    let counter = element
        .get(attribute::elements::EXPRESSION)
        .or_else(|| element.get(attribute::elements::EXPRESSIONS)?.get(attribute::ELEMENT))?;
    counter.get(attribute::expression::DATA)?.long(PACKETS)
}

/// The address that a key of four bytes is.
pub(super) fn to_address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn named(to: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    to.text(attribute::expression::NAME, name);
    to.nest(attribute::expression::DATA, fill);
}

fn numbers<const N: usize>(to: &mut Attributes<'_>, kinds: [u16; N], values: [u32; N]) {
    for (kind, value) in kinds.into_iter().zip(values) {
        to.number(kind, value);
    }
}

/// The numbers of these kinds, if all of them are there.
fn read<const N: usize>(data: Body<'_>, kinds: [u16; N]) -> Option<[u32; N]> {
    let mut values = [0; N];
    for (value, kind) in values.iter_mut().zip(kinds) {
        *value = data.number(kind)?;
    }
    Some(values)
}
