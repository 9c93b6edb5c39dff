//! Reads our table back from the kernel, where others may have changed it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    error::{Kind, WallsError},
    expression::{self, Rule, Verdict},
    kernel::Kernel,
    layout::{BLOCKED_AT, BLOCKED_BY, Chain, Element, Elements, Hook, Layout, Set},
    numbers::{attribute, message, set},
    table::PREFIX,
    wire::{Attributes, Body},
    write,
};

/// Families and names of all tables that are named as ours are.
pub(super) fn tables(kernel: &mut Kernel) -> Result<Vec<(u8, String)>, WallsError> {
    let found = kernel.read(
        message::GET_TABLE,
        message::DUMP,
        0,
        "the list of tables",
        |_| {},
        |message| Some((message.family(), message.body().text(attribute::table::NAME)?)),
    )?;
    Ok(found.into_iter().flatten().filter(|(_, name)| name.starts_with(PREFIX)).collect())
}

/// The table as it is, or `None` if there is none.
pub(super) fn table(kernel: &mut Kernel, family: u8, name: &str) -> Result<Option<Layout>, WallsError> {
    let Some(flags) = flags(kernel, family, name)? else { return Ok(None) };
    let mut layout = Layout { family, name: name.to_owned(), flags, ..Layout::default() };
    let here = |table: u16| move |body: Body<'_>| body.text(table).as_deref() == Some(name);

    let chains = dump(
        kernel,
        message::GET_CHAIN,
        family,
        "the chains",
        |to| to.text(attribute::chain::TABLE, name),
        |body| here(attribute::chain::TABLE)(body).then(|| chain(body))?,
    )?;
    layout.chains.extend(chains);
    // Chain by chain: the kernel begins at the table's first rule for each part of its answer.
    for (chain, of) in &mut layout.chains {
        let fill = |to: &mut Attributes<'_>| {
            to.text(attribute::rule::TABLE, name);
            to.text(attribute::rule::CHAIN, chain);
        };
        let rules = dump(kernel, message::GET_RULE, family, "the rules", fill, |body| {
            here(attribute::rule::TABLE)(body).then(|| rule(body))?
        })?;
        of.rules.extend(rules.into_iter().filter(|(at, _)| at == chain).map(|(_, rule)| rule));
    }
    let sets = dump(
        kernel,
        message::GET_SET,
        family,
        "the sets",
        |to| to.text(attribute::set::TABLE, name),
        |body| here(attribute::set::TABLE)(body).then(|| set(body))?,
    )?;
    layout.sets.extend(sets);
    let filled: Vec<String> =
        layout.sets.keys().filter(|set| ![BLOCKED_AT, BLOCKED_BY].contains(&set.as_str())).cloned().collect();
    for set in filled {
        let elements = elements(kernel, family, name, &set, element)?;
        layout.elements.insert(set, elements.into_iter().collect());
    }
    Ok(Some(layout))
}

/// What an element that counts has: its key, the packets, and in how many milliseconds it will be forgotten.
pub(super) struct Counted {
    pub(super) key: Vec<u8>,
    pub(super) packets: u64,
    pub(super) expires: u64,
}

/// All elements of a set that counts.
pub(super) fn counted(kernel: &mut Kernel, table: &str, set: &str) -> Result<Vec<Counted>, WallsError> {
    elements(kernel, super::numbers::INET, table, set, count)
}

/// The element with this key, of a set that counts.
pub(super) fn counted_one(
    kernel: &mut Kernel,
    table: &str,
    set: &str,
    key: &[u8],
) -> Result<Option<Counted>, WallsError> {
    let fill = |to: &mut Attributes<'_>| write::elements(to, table, set, |to| write::key(to, key));
    let doing = format!("an element of {set}");
    let found = kernel.read(message::GET_ELEMENTS, 0, super::numbers::INET, &doing, fill, |message| {
        list(message.body()).find_map(count)
    });
    match found {
        Ok(found) => Ok(found.into_iter().flatten().next()),
        Err(error) if error.kind == Kind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

fn flags(kernel: &mut Kernel, family: u8, name: &str) -> Result<Option<u32>, WallsError> {
    let fill = |to: &mut Attributes<'_>| to.text(attribute::table::NAME, name);
    let found = kernel.read(message::GET_TABLE, 0, family, "the table", fill, |message| {
        message.body().number(attribute::table::FLAGS).unwrap_or_default()
    });
    match found {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.kind == Kind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

fn dump<T>(
    kernel: &mut Kernel,
    kind: u16,
    family: u8,
    doing: &str,
    fill: impl Fn(&mut Attributes<'_>),
    each: impl Fn(Body<'_>) -> Option<T>,
) -> Result<Vec<T>, WallsError> {
    let found = kernel.read(kind, message::DUMP, family, doing, fill, |message| each(message.body()))?;
    Ok(found.into_iter().flatten().collect())
}

fn elements<T>(
    kernel: &mut Kernel,
    family: u8,
    table: &str,
    set: &str,
    each: impl Fn(Body<'_>) -> Option<T>,
) -> Result<Vec<T>, WallsError> {
    let fill = |to: &mut Attributes<'_>| {
        to.text(attribute::elements::TABLE, table);
        to.text(attribute::elements::SET, set);
    };
    let doing = format!("the elements of {set}");
    let found = kernel.read(message::GET_ELEMENTS, message::DUMP, family, &doing, fill, |message| {
        list(message.body()).filter_map(&each).collect::<Vec<_>>()
    })?;
    Ok(found.into_iter().flatten().collect())
}

fn list(body: Body<'_>) -> impl Iterator<Item = Body<'_>> {
    body.get(attribute::elements::LIST).unwrap_or_default().attributes().map(|(_, element)| element)
}

pub(super) fn chain(body: Body<'_>) -> Option<(String, Chain)> {
    let name = body.text(attribute::chain::NAME)?;
    let hook = body.get(attribute::chain::HOOK).map(|hook| Hook {
        number: hook.number(attribute::chain::HOOK_NUMBER).unwrap_or(u32::MAX),
        priority: hook.number(attribute::chain::HOOK_PRIORITY).unwrap_or_default().cast_signed(),
        policy: body.number(attribute::chain::POLICY).unwrap_or_default(),
        kind: body.text(attribute::chain::TYPE).unwrap_or_default(),
    });
    Some((name, Chain { hook, rules: Vec::new() }))
}

pub(super) fn rule(body: Body<'_>) -> Option<(String, Rule)> {
    let chain = body.text(attribute::rule::CHAIN)?;
    Some((chain, Rule::read(body.get(attribute::rule::EXPRESSIONS).unwrap_or_default())))
}

pub(super) fn set(body: Body<'_>) -> Option<(String, Set)> {
    let name = body.text(attribute::set::NAME)?;
    let number = |kind| body.number(kind).unwrap_or_default();
    let flags = number(attribute::set::FLAGS);
    let size = body.get(attribute::set::DESCRIPTION).and_then(|description| description.number(attribute::set::SIZE));
    Some((
        name,
        Set {
            flags,
            key_type: number(attribute::set::KEY_TYPE),
            key_length: number(attribute::set::KEY_LENGTH),
            data_type: if flags & set::MAP == 0 { 0 } else { number(attribute::set::DATA_TYPE) },
            size: size.unwrap_or_default(),
            timeout: body.long(attribute::set::TIMEOUT).unwrap_or_default(),
        },
    ))
}

pub(super) fn element(body: Body<'_>) -> Option<((Ipv4Addr, bool), Element)> {
    let key = body.get(attribute::elements::KEY)?.get(attribute::data::VALUE)?;
    let address = expression::to_address(key.0)?;
    let end = body.number(attribute::elements::FLAGS).unwrap_or_default() & set::RANGE_END != 0;
    let verdict = body.get(attribute::elements::DATA).and_then(Verdict::read);
    Some(((address, end), Element { end, verdict }))
}

pub(super) fn count(body: Body<'_>) -> Option<Counted> {
    Some(Counted {
        key: body.get(attribute::elements::KEY)?.get(attribute::data::VALUE)?.0.to_vec(),
        packets: expression::packets(body).unwrap_or_default(),
        expires: body.long(attribute::elements::EXPIRES).unwrap_or_default(),
    })
}

/// The differences between a table as it was read and as it should be, as sentences.
pub(super) fn differences(wanted: &Layout, found: Option<&Layout>) -> Vec<String> {
    let name = &wanted.name;
    let Some(found) = found else { return vec![format!("The table {name} is missing.")] };
    let mut differences = Vec::new();
    if wanted.flags != found.flags {
        differences.push(format!("The table {name} is switched off, or belongs to a program."));
    }
    differ(&mut differences, "set", &wanted.sets, &found.sets);
    differ(&mut differences, "chain", &wanted.chains, &found.chains);
    for (set, elements) in &wanted.elements {
        compare(&mut differences, set, elements, found.elements.get(set).unwrap_or(&Elements::new()));
    }
    differences
}

fn differ<T: PartialEq>(
    differences: &mut Vec<String>,
    kind: &str,
    wanted: &BTreeMap<String, T>,
    found: &BTreeMap<String, T>,
) {
    for (name, part) in wanted {
        match found.get(name) {
            Some(found) if found == part => {}
            Some(_) => differences.push(format!("The {kind} {name} was changed.")),
            None => differences.push(format!("The {kind} {name} is missing.")),
        }
    }
    let surplus = found.keys().filter(|name| !wanted.contains_key(*name));
    differences.extend(surplus.map(|name| format!("The {kind} {name} is not ours.")));
}

fn compare(differences: &mut Vec<String>, set: &str, wanted: &Elements, found: &Elements) {
    for (key, element) in wanted {
        match found.get(key) {
            Some(found) if found == element => {}
            Some(_) => differences.push(format!("The address {} of the set {set} was changed.", key.0)),
            None => differences.push(format!("The address {} of the set {set} is missing.", key.0)),
        }
    }
    let surplus = found.keys().filter(|key| !wanted.contains_key(key));
    differences.extend(surplus.map(|key| format!("The address {} of the set {set} is not ours.", key.0)));
}
