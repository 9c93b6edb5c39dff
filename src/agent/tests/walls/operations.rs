//! What the operations leave behind.

use std::process::Command;

use sandglass_agent::walls::{Kind, Rules};

use super::lab::*;

#[test]
fn what_nft_shows_is_what_was_written() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    let mut table = table([
        (FIRST, Rules::default()),
        (SECOND, rules(&["10.1.0.0/16"], &["9.9.9.9/32", "8.0.0.0/9", "8.128.0.0/9"], &["1.2.3.4/24"], &["0.0.0.0/0"])),
    ]);
    table.resolvers = vec!["10.0.0.2".parse().unwrap(), "1.1.1.1".parse().unwrap()];
    firewall.replace(table).unwrap();
    assert_eq!(host.nft(&["list", "table", "inet", NAME]), include_str!("written.nft"));
    assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_table_that_grew_step_by_step_is_the_one_that_is_written_at_once() {
    let [host, other] = std::array::from_fn(|_| Namespace::new());
    let (mut firewall, mut at_once) = (host.firewall(), other.firewall());
    firewall.replace(table([])).unwrap();
    let steps = [
        (FIRST, deny("1.0.0.0/8")),
        (SECOND, Rules::default()),
        (FIRST, Rules::default()),
        (SECOND, rules(&["10.0.0.0/8"], &[], &[], &[])),
        (FIRST, rules(&[], &["2.0.0.0/8"], &["3.0.0.0/8"], &["3.0.0.0/8"])),
        (GATEWAY, deny("4.0.0.0/8")),
        (SECOND, deny("5.0.0.0/8")),
    ];
    for (address, rules) in steps.clone() {
        firewall.put(address, rules).unwrap();
        assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
    }
    firewall.remove(GATEWAY).unwrap();
    firewall.remove(GATEWAY).expect("it is gone");
    at_once.replace(table([(FIRST, steps[4].1.clone()), (SECOND, steps[6].1.clone())])).unwrap();
    // The order of chains is that of their making.
    let sorted = |text: String| {
        let mut parts: Vec<_> = text.split("\n\n").map(|part| part.trim_matches(['\n', '}', ' ']).to_owned()).collect();
        parts.sort_unstable();
        parts
    };
    let [step_by_step, at_once] = [&host, &other].map(|place| sorted(place.nft(&["list", "table", "inet", NAME])));
    assert_eq!(step_by_step, at_once);
}

#[test]
fn nothing_of_a_sandbox_is_left_for_the_next_one_at_its_address() {
    let mut lab = Lab::new();
    for _ in 0..2 {
        lab.firewall.put(FIRST, deny("203.0.113.0/24")).unwrap();
        assert_eq!(lab.firewall.blocked(FIRST).unwrap().packets, 0);
        lab.reach(&[], &[INTERNET_TOO, PRIVATE]);
        let blocked = lab.firewall.blocked(FIRST).unwrap();
        assert!(blocked.packets >= 2 && blocked.recent.len() == 2, "{blocked:?}");
        assert_eq!(blocked.recent[0].0, PRIVATE, "the last one is first");
        lab.firewall.remove(FIRST).unwrap();
        let all = lab.host.nft(&["list", "table", "inet", NAME]);
        assert!(!all.contains(&FIRST.to_string()), "{all}");
    }
}

#[test]
fn tables_are_found_and_removed_by_their_names() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    host.nft(&["add table ip others; add table ip6 sandglass-six; add table ip sandglasses"]);
    assert_eq!(firewall.tables().unwrap(), ["sandglass-six"]);
    firewall.replace(table([(FIRST, deny("1.0.0.0/8"))])).unwrap();
    let mut second = host.firewall();
    assert_eq!(second.tables().unwrap(), ["sandglass-six", NAME]);
    second.delete(NAME).unwrap();
    second.delete(NAME).expect("it is gone");
    second.delete("sandglass-six").unwrap();
    for others in ["others", "sandglasses", "sandglass-", ""] {
        assert_eq!(second.delete(others).unwrap_err().kind, Kind::Invalid);
    }
    assert_eq!(host.nft(&["list", "tables"]).lines().collect::<Vec<_>>(), ["table ip others", "table ip sandglasses"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    assert_eq!(firewall.put(FIRST, Rules::default()).unwrap_err().kind, Kind::Missing);
    for name in ["", "filter", "sandglass-", "sandglass-\0x", &format!("sandglass-{}", "x".repeat(300))] {
        let table = sandglass_agent::walls::Table { name: name.to_owned(), ..table([]) };
        assert_eq!(firewall.replace(table).unwrap_err().kind, Kind::Invalid, "{name:?}");
    }
    for interface in ["", "a/b", "much-too-long-for-a-name"] {
        for list in [0, 1] {
            let mut table = table([]);
            [&mut table.bridges, &mut table.internal][list].push(interface.to_owned());
            assert_eq!(firewall.replace(table).unwrap_err().kind, Kind::Invalid, "{interface:?}");
        }
    }
    assert_eq!(host.nft(&["list", "ruleset"]), "");
}

#[test]
fn who_may_not_administer_the_network_is_told_so() {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--", "sh", "-c", "echo '{\"do\":\"tables\"}' | \"$0\" walls"])
        .arg(env!("CARGO_BIN_EXE_sandglass-agent"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("\"kind\":\"denied\"") && said.contains("NET_ADMIN"), "{said}");
}
