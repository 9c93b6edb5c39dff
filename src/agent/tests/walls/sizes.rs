//! Many sandboxes with many rules.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use sandglass_agent::walls::{Rules, Table};

use super::lab::*;

fn many(sandboxes: u32, ranges: u32) -> BTreeMap<Ipv4Addr, Rules> {
    // Every other address, so that no two of them are one network.
    let networks =
        |from: u32| (0..ranges).map(|n| Ipv4Net::from(Ipv4Addr::from((from << 24) + 2 * n))).collect::<Vec<_>>();
    let rules = Rules { open: networks(11), shut: networks(12), allow: networks(13), deny: networks(14) };
    (0..sandboxes).map(|n| (Ipv4Addr::from(0x0ad5_0002 + n), rules.clone())).collect()
}

#[test]
fn a_thousand_sandboxes_with_all_their_rules_are_written_at_once_and_read_back() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    firewall.replace(Table { sandboxes: many(1_000, 64), ..table([]) }).unwrap();
    assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
    let address = Ipv4Addr::from(0x0ad5_0002 + 500);
    let chain = host.nft(&["list", "chain", "inet", NAME, &format!("sb-{address}")]);
    assert_eq!(chain.matches("13.0.0.").count(), 64, "{chain}");
    firewall.remove(address).unwrap();
    firewall.put(address, deny("1.0.0.0/8")).unwrap();
    assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "measures, and asserts nothing"]
#[expect(clippy::disallowed_types, reason = "measures real time")]
fn how_long_it_takes() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    for (sandboxes, ranges) in [(1, 2), (1_000, 0), (1_000, 2), (1_000, 16), (1_000, 64)] {
        let all = many(sandboxes, ranges);
        let (address, rules) = all.first_key_value().map(|(address, rules)| (*address, rules.clone())).unwrap();
        let table = Table { sandboxes: all, ..table([]) };
        let time = |run: &mut dyn FnMut()| {
            let start = std::time::Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1_000.0
        };
        let replace = time(&mut || firewall.replace(table.clone()).unwrap());
        let check = time(&mut || drop(firewall.check().unwrap()));
        let middle = |run: &mut dyn FnMut()| {
            let mut times: Vec<_> = (0..21).map(|_| time(run)).collect();
            times.sort_by(f64::total_cmp);
            times[10]
        };
        let put = middle(&mut || firewall.put(address, rules.clone()).unwrap());
        let again = middle(&mut || {
            firewall.remove(address).unwrap();
            firewall.put(address, rules.clone()).unwrap();
        });
        let blocked = middle(&mut || drop(firewall.blocked(address).unwrap()));
        println!(
            "{sandboxes} sandboxes, 4 lists of {ranges}: replace {replace:.1} ms, check {check:.1} ms, put {put:.2} ms, \
             remove and put {again:.2} ms, blocked {blocked:.2} ms"
        );
    }
}
