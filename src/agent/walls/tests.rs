use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::{
    layout::{self, Layout},
    numbers::{attribute, message},
    read,
    table::{Rules, Table},
    wire::{Body, Writer, messages},
};

/// Reads bytes as every kind of answer.
fn read_all(bytes: &[u8]) -> usize {
    let of_body = |body: Body<'_>| {
        [
            read::chain(body).is_some(),
            read::rule(body).is_some(),
            read::set(body).is_some(),
            read::element(body).is_some(),
            read::count(body).is_some(),
        ]
    };
    let of_messages = messages(bytes).map(|message| {
        let known = of_body(message.body()).into_iter().filter(|known| *known).count();
        known + usize::from(message.end().is_some()) + usize::from(message.family())
    });
    of_messages.sum::<usize>() + of_body(Body(bytes)).into_iter().filter(|known| *known).count()
}

fn a_message() -> Vec<u8> {
    let layout =
        Layout::of(&Table { name: "sandglass-test".to_owned(), bridges: vec!["sg-".to_owned()], ..Table::default() });
    let mut writer = Writer::default();
    for (name, chain) in &layout.chains {
        for rule in &chain.rules {
            writer.message(message::NEW_RULE, 0, 1, 1, |to| {
                to.text(attribute::rule::TABLE, "sandglass-test");
                to.text(attribute::rule::CHAIN, name);
                to.nest(attribute::rule::EXPRESSIONS, |to| rule.write(to));
            });
        }
    }
    writer.bytes().to_vec()
}

fn networks() -> impl Strategy<Value = Vec<Ipv4Net>> {
    let network = (any::<u32>(), 0..=32_u8).prop_map(|(address, length)| Ipv4Net::new(address.into(), length).unwrap());
    prop::collection::vec(network, 0..8)
}

proptest! {
    #[test]
    fn no_bytes_end_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read_all(&bytes);
    }

    #[test]
    fn no_changed_bytes_end_the_reader(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16), cut in any::<prop::sample::Index>()) {
        let mut bytes = a_message();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
        read_all(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn rules_are_read_as_they_were_written(open in networks(), shut in networks(), allow in networks(), deny in networks()) {
        let chains = layout::part("sandglass-test", Ipv4Addr::LOCALHOST, Some(&Rules { open, shut, allow, deny })).chains;
        let mut written = Vec::new();
        let mut writer = Writer::default();
        for (name, chain) in chains {
            for rule in chain.rules {
                writer.message(message::NEW_RULE, 0, 1, 1, |to| {
                    to.text(attribute::rule::CHAIN, &name);
                    to.nest(attribute::rule::EXPRESSIONS, |to| rule.write(to));
                });
                written.push((name.clone(), rule));
            }
        }
        let read: Vec<_> = messages(writer.bytes()).filter_map(|message| read::rule(message.body())).collect();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn a_message_that_is_not_whole_is_none() {
    let bytes = a_message();
    let all = messages(&bytes).count();
    assert_eq!(messages(&bytes[..bytes.len() - 1]).count(), all - 1);
    assert_eq!(messages(&[0; 64]).count(), 0, "a length of 0 goes nowhere");
}
