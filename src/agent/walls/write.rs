//! The parts of a layout, as changes of a batch.

use std::net::Ipv4Addr;

use super::{
    expression::Rule,
    kernel::Batch,
    layout::{self, BLOCKED_AT, BLOCKED_BY, Chain, Element, Layout, SANDBOXES, Set},
    numbers::{INET, attribute, message, set},
    table::Rules,
    wire::Attributes,
};

/// Elements of one message; their list has to stay below 65,536 bytes.
const TOGETHER: usize = 400;

pub(super) fn create_table(batch: &mut Batch, family: u8, name: &str) {
    batch.add(message::NEW_TABLE, message::CREATE, family, format!("the table {name}"), |to| {
        to.text(attribute::table::NAME, name);
        to.number(attribute::table::FLAGS, 0);
    });
}

pub(super) fn delete_table(batch: &mut Batch, family: u8, name: &str) {
    batch.add(message::DELETE_TABLE, 0, family, format!("the removal of the table {name}"), |to| {
        to.text(attribute::table::NAME, name);
    });
}

/// A whole table, in the place of one that may be there.
///
/// For an instant, packets see neither the old one nor the new one: the kernel enters the new chains and leaves the old ones
/// one by one. [`mend`] does better.
pub(super) fn recreate(batch: &mut Batch, layout: &Layout) {
    create_table(batch, layout.family, &layout.name);
    delete_table(batch, layout.family, &layout.name);
    mend(batch, &Layout { family: layout.family, name: layout.name.clone(), ..Layout::default() }, layout);
}

/// Makes of the table that is there the one that is wanted, with as few changes as it takes. No packet sees anything between
/// the two, unless the kernel entered a chain in another way than is wanted.
pub(super) fn mend(batch: &mut Batch, found: &Layout, wanted: &Layout) {
    let (family, table) = (wanted.family, wanted.name.as_str());
    create_table(batch, family, table);
    for (id, (name, set)) in (1..).zip(&wanted.sets) {
        if found.sets.get(name) != Some(set) {
            create_set(batch, table, name, set, id);
        }
    }
    let (mut others, mut rewritten) = (Vec::new(), Vec::new());
    for (name, chain) in &found.chains {
        match wanted.chains.get(name) {
            None => others.push(name),
            Some(wanted) if wanted.hook != chain.hook || wanted.rules != chain.rules => rewritten.push(name),
            Some(_) => {}
        }
    }
    for (name, chain) in &wanted.chains {
        if found.chains.get(name).is_none_or(|found| found.hook != chain.hook) {
            // Also sets the policy of one that is there. The kernel refuses other changes.
            create_chain(batch, family, table, name, chain);
        }
    }
    for (set, found) in &found.elements {
        let wanted = wanted.elements.get(set);
        let surplus =
            found.iter().filter(|(key, element)| wanted.is_some_and(|wanted| wanted.get(key) != Some(element)));
        change_elements(batch, message::DELETE_ELEMENTS, table, set, surplus);
    }
    // What refers to a chain or a set goes before it does.
    for chain in rewritten.iter().chain(&others) {
        remove_rules(batch, family, table, chain);
    }
    for set in found.sets.keys().filter(|set| !wanted.sets.contains_key(*set)) {
        batch.add(message::DELETE_SET, 0, family, format!("the removal of the set {set}"), |to| {
            to.text(attribute::set::TABLE, table);
            to.text(attribute::set::NAME, set);
        });
    }
    for chain in others {
        remove_chain(batch, family, table, chain);
    }
    for (name, chain) in &wanted.chains {
        if rewritten.contains(&name) || !found.chains.contains_key(name) {
            create_rules(batch, family, table, name, chain);
        }
    }
    for (set, wanted) in &wanted.elements {
        let found = found.elements.get(set);
        let missing = wanted.iter().filter(|(key, element)| found.and_then(|found| found.get(key)) != Some(element));
        change_elements(batch, message::NEW_ELEMENTS, table, set, missing);
    }
}

/// Changes a sandbox's rules, from none if it has not been there.
pub(super) fn put(batch: &mut Batch, table: &str, address: Ipv4Addr, old: Option<&Rules>, new: &Rules) {
    let chains = layout::chains(address, new);
    let had_chains = old.is_some_and(|old| !old.is_empty());
    for (name, chain) in &chains {
        if had_chains {
            // The same chain gets other rules: a packet that is on its way to it finds the old ones or the new ones.
            remove_rules(batch, INET, table, name);
        } else {
            create_chain(batch, INET, table, name, chain);
        }
    }
    if old.is_some() {
        remove_element(batch, table, address);
    }
    if had_chains && chains.is_empty() {
        remove_chains(batch, table, address);
    }
    for (name, chain) in &chains {
        create_rules(batch, INET, table, name, chain);
    }
    let (key, element) = layout::element(address, Some(layout::verdict(address, new)));
    change_elements(batch, message::NEW_ELEMENTS, table, SANDBOXES, [(&key, &element)]);
}

/// The removal of a sandbox's element.
pub(super) fn remove_element(batch: &mut Batch, table: &str, address: Ipv4Addr) {
    let (key, element) = layout::element(address, None);
    change_elements(batch, message::DELETE_ELEMENTS, table, SANDBOXES, [(&key, &element)]);
}

/// The removal of a sandbox's chains with their rules, the first before the one that it refers to.
pub(super) fn remove_chains(batch: &mut Batch, table: &str, address: Ipv4Addr) {
    for chain in layout::names(address) {
        remove_rules(batch, INET, table, &chain);
        remove_chain(batch, INET, table, &chain);
    }
}

fn remove_rules(batch: &mut Batch, family: u8, table: &str, chain: &str) {
    batch.add(message::DELETE_RULE, 0, family, format!("the removal of the rules of {chain}"), |to| {
        to.text(attribute::rule::TABLE, table);
        to.text(attribute::rule::CHAIN, chain);
    });
}

fn remove_chain(batch: &mut Batch, family: u8, table: &str, chain: &str) {
    batch.add(message::DELETE_CHAIN, 0, family, format!("the removal of the chain {chain}"), |to| {
        to.text(attribute::chain::TABLE, table);
        to.text(attribute::chain::NAME, chain);
    });
}

/// The removal of what was counted of a sandbox: `at` are the addresses that it sent to.
pub(super) fn forget(batch: &mut Batch, table: &str, address: Ipv4Addr, at: &[Ipv4Addr]) {
    let pairs: Vec<_> = at.iter().map(|at| [address.octets(), at.octets()].concat()).collect();
    for pairs in pairs.chunks(TOGETHER) {
        change(batch, message::DELETE_ELEMENTS, table, BLOCKED_AT, |to| pairs.iter().for_each(|pair| key(to, pair)));
    }
    change(batch, message::DELETE_ELEMENTS, table, BLOCKED_BY, |to| key(to, &address.octets()));
}

/// The removal of what was counted of a sandbox at one address.
pub(super) fn forget_one(batch: &mut Batch, table: &str, address: Ipv4Addr, at: Ipv4Addr) {
    let pair = [address.octets(), at.octets()].concat();
    change(batch, message::DELETE_ELEMENTS, table, BLOCKED_AT, |to| key(to, &pair));
}

fn create_set(batch: &mut Batch, table: &str, name: &str, of: &Set, id: u32) {
    batch.add(message::NEW_SET, message::CREATE, INET, format!("the set {name}"), |to| {
        to.text(attribute::set::TABLE, table);
        to.text(attribute::set::NAME, name);
        to.number(attribute::set::FLAGS, of.flags);
        to.number(attribute::set::KEY_TYPE, of.key_type);
        to.number(attribute::set::KEY_LENGTH, of.key_length);
        if of.flags & set::MAP != 0 {
            to.number(attribute::set::DATA_TYPE, of.data_type);
            to.number(attribute::set::DATA_LENGTH, 0);
        }
        to.number(attribute::set::ID, id);
        if of.size > 0 {
            to.nest(attribute::set::DESCRIPTION, |to| to.number(attribute::set::SIZE, of.size));
        }
        if of.timeout > 0 {
            to.long(attribute::set::TIMEOUT, of.timeout);
        }
    });
}

fn create_chain(batch: &mut Batch, family: u8, table: &str, name: &str, of: &Chain) {
    batch.add(message::NEW_CHAIN, message::CREATE, family, format!("the chain {name}"), |to| {
        to.text(attribute::chain::TABLE, table);
        to.text(attribute::chain::NAME, name);
        if let Some(hook) = &of.hook {
            to.nest(attribute::chain::HOOK, |to| {
                to.number(attribute::chain::HOOK_NUMBER, hook.number);
                to.put(attribute::chain::HOOK_PRIORITY, &hook.priority.to_be_bytes());
            });
            to.number(attribute::chain::POLICY, hook.policy);
            to.text(attribute::chain::TYPE, &hook.kind);
        }
    });
}

fn create_rules(batch: &mut Batch, family: u8, table: &str, chain: &str, of: &Chain) {
    for (number, rule) in (1..).zip(&of.rules) {
        create_rule(batch, family, table, chain, number, rule);
    }
}

fn create_rule(batch: &mut Batch, family: u8, table: &str, chain: &str, number: usize, rule: &Rule) {
    let what = format!("rule {number} of the chain {chain}");
    batch.add(message::NEW_RULE, message::CREATE | message::APPEND, family, what, |to| {
        to.text(attribute::rule::TABLE, table);
        to.text(attribute::rule::CHAIN, chain);
        to.nest(attribute::rule::EXPRESSIONS, |to| rule.write(to));
    });
}

fn change_elements<'a>(
    batch: &mut Batch,
    kind: u16,
    table: &str,
    set: &str,
    elements: impl IntoIterator<Item = (&'a (Ipv4Addr, bool), &'a Element)>,
) {
    let elements: Vec<_> = elements.into_iter().collect();
    for elements in elements.chunks(TOGETHER) {
        change(batch, kind, table, set, |to| {
            for ((address, _), element) in elements {
                to.nest(attribute::ELEMENT, |to| {
                    to.nest(attribute::elements::KEY, |to| to.put(attribute::data::VALUE, &address.octets()));
                    // What is removed is found by its key.
                    if let Some(verdict) = element.verdict.as_ref().filter(|_| kind == message::NEW_ELEMENTS) {
                        to.nest(attribute::elements::DATA, |to| verdict.write(to));
                    }
                    if element.end {
                        to.number(attribute::elements::FLAGS, set::RANGE_END);
                    }
                });
            }
        });
    }
}

fn change(batch: &mut Batch, kind: u16, table: &str, set: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    let flags = if kind == message::NEW_ELEMENTS { message::CREATE } else { 0 };
    batch.add(kind, flags, INET, format!("the elements of {set}"), |to| elements(to, table, set, fill));
}

/// The elements of a set, in a message of any kind about them.
pub(super) fn elements(to: &mut Attributes<'_>, table: &str, set: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    to.text(attribute::elements::TABLE, table);
    to.text(attribute::elements::SET, set);
    to.nest(attribute::elements::LIST, fill);
}

/// An element of which only its key is told.
pub(super) fn key(to: &mut Attributes<'_>, key: &[u8]) {
    to.nest(attribute::ELEMENT, |to| {
        to.nest(attribute::elements::KEY, |to| to.put(attribute::data::VALUE, key));
    });
}
