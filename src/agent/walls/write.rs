//! The parts of a layout, as changes of a batch.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{
    expression::Rule,
    kernel::Batch,
    layout::{BLOCKED_AT, BLOCKED_BY, Chain, Element, Layout, Set},
    numbers::{INET, attribute, message, set},
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
    create_table(batch, layout.family, &layout.name);
    let nothing = Layout { family: layout.family, name: layout.name.clone(), ..Layout::default() };
    mend(batch, &nothing, layout, false);
}

/// Turns one layout, of a table or a part of it, into another. Changes only what differs or, with `anew`, everything, so that the
/// batch fails if the kernel's table is not the first layout.
///
/// No packet sees anything between the two. The kernel judges a packet by the rules of the moment when it comes to the first
/// chain, but looks sets up as they are at the moment. So chains stay and get other rules, and those come with sets of their
/// own. A packet that finds a sandbox's new chain in the map before it sees the chain's rules comes back from it, and is
/// dropped.
pub(super) fn mend(batch: &mut Batch, found: &Layout, wanted: &Layout, anew: bool) {
    let (family, table) = (wanted.family, wanted.name.as_str());
    let kept = |name: &String| match (found.sets.get(name), wanted.sets.get(name)) {
        (Some(old), Some(new)) if old != new => false,
        // Its elements cannot be changed one by one without a moment of neither.
        (Some(old), Some(_)) if old.flags & set::INTERVAL != 0 => {
            !anew && found.elements.get(name) == wanted.elements.get(name)
        }
        (old, new) => old.is_some() == new.is_some(),
    };
    let gone: BTreeSet<_> = found.sets.keys().filter(|name| !kept(name)).map(String::as_str).collect();
    let rewritten = |name: &String, old: &Chain| {
        let changed = |new: &Chain| anew || old != new || old.rules.iter().any(|rule| rule.uses(&gone));
        wanted.chains.get(name).is_none_or(changed)
    };

    // What refers to something goes before it does.
    for (name, chain) in &found.chains {
        if rewritten(name, chain) {
            remove_rules(batch, family, table, name);
        }
    }
    for (name, elements) in found.elements.iter().filter(|(name, _)| kept(name)) {
        let new = wanted.elements.get(name).filter(|_| !anew);
        let surplus = elements.iter().filter(|(key, element)| new.and_then(|new| new.get(key)) != Some(element));
        change_elements(batch, message::DELETE_ELEMENTS, table, name, surplus);
    }
    for name in &gone {
        remove_set(batch, table, name);
    }
    for name in found.chains.keys().filter(|name| !wanted.chains.contains_key(*name)) {
        remove_chain(batch, family, table, name);
    }

    for (id, (name, set)) in (1..).zip(&wanted.sets) {
        if gone.contains(name.as_str()) || !found.sets.contains_key(name) {
            create_set(batch, table, name, set, id);
        }
    }
    for (name, chain) in &wanted.chains {
        if found.chains.get(name).is_none_or(|found| found.hook != chain.hook) {
            // Also sets the policy of one that is there. The kernel refuses other changes.
            create_chain(batch, family, table, name, chain);
        }
    }
    for (name, chain) in &wanted.chains {
        if found.chains.get(name).is_none_or(|found| rewritten(name, found)) {
            create_rules(batch, family, table, name, chain);
        }
    }
    for (name, elements) in &wanted.elements {
        let old = found.elements.get(name).filter(|_| kept(name) && !anew);
        let missing = elements.iter().filter(|(key, element)| old.and_then(|old| old.get(key)) != Some(element));
        change_elements(batch, message::NEW_ELEMENTS, table, name, missing);
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

fn remove_set(batch: &mut Batch, table: &str, set: &str) {
    batch.add(message::DELETE_SET, 0, INET, format!("the removal of the set {set}"), |to| {
        to.text(attribute::set::TABLE, table);
        to.text(attribute::set::NAME, set);
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
