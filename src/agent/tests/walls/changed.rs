//! A table that others change.

use std::sync::atomic::{AtomicBool, Ordering};

use sandglass_agent::walls::{Kind, Rules, Table};

use super::lab::*;

#[test]
fn whatever_others_change_is_noticed_and_mended() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    let whole = table([(FIRST, deny("1.0.0.0/8")), (SECOND, Rules::default())]);
    let changes = [
        ("flush ruleset", "The table sandglass-test is missing."),
        ("delete table inet T", "The table sandglass-test is missing."),
        ("flush table inet T", "The chain forward was changed."),
        ("add table inet T { flags dormant; }", "The table sandglass-test is switched off, or belongs to a program."),
        ("flush chain inet T blocked", "The chain blocked was changed."),
        ("flush chain inet T sb-10.213.0.7", "The chain sb-10.213.0.7 was changed."),
        ("insert rule inet T from accept", "The chain from was changed."),
        ("add rule inet T walls ip daddr 10.0.0.0/8 accept", "The chain walls was changed."),
        ("insert rule inet T blocked log", "The chain blocked was changed."),
        ("add chain inet T forward { policy drop; }", "The chain forward was changed."),
        ("add chain inet T more", "The chain more is not ours."),
        ("add chain inet T more { type filter hook output priority 0; }", "The chain more is not ours."),
        ("add set inet T more { type ipv4_addr; }", "The set more is not ours."),
        (
            "add element inet T sandboxes { 10.213.0.9 : accept }",
            "The address 10.213.0.9 of the set sandboxes is not ours.",
        ),
        ("delete element inet T sandboxes { 10.213.0.8 }", "The address 10.213.0.8 of the set sandboxes is missing."),
        (
            "delete element inet T sandboxes { 10.213.0.7 }; add element inet T sandboxes { 10.213.0.7 : goto plain }",
            "The address 10.213.0.7 of the set sandboxes was changed.",
        ),
        ("delete element inet T walled { 169.254.0.0/16 }", "The address 169.254.0.0 of the set walled is missing."),
        ("add element inet T resolvers { 10.1.1.1 }", "The address 10.1.1.1 of the set resolvers is not ours."),
    ];
    for (change, sentence) in changes {
        firewall.replace(whole.clone()).unwrap();
        assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
        let before = host.nft(&["list", "ruleset"]);
        host.nft(&[&change.replace(" T", &format!(" {NAME}"))]);
        let said = host.within(|| firewall.check()).unwrap();
        assert!(said.iter().any(|said| said == sentence), "{change}: {said:?}");
        firewall.replace(whole.clone()).unwrap();
        assert_eq!(host.nft(&["list", "ruleset"]), before, "{change}");
    }
}

#[test]
fn the_tables_of_others_are_neither_compared_nor_touched() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    host.nft(&["add table inet other { chain c { type filter hook forward priority 0; ip daddr 10.0.0.0/8 drop; }; }"]);
    let before = host.nft(&["list", "ruleset"]);
    firewall.replace(table([(FIRST, deny("1.0.0.0/8"))])).unwrap();
    assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
    firewall.delete(NAME).unwrap();
    assert_eq!(host.nft(&["list", "ruleset"]), before);
}

#[test]
fn rules_are_not_put_into_a_table_that_is_gone() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    firewall.replace(table([(FIRST, deny("1.0.0.0/8"))])).unwrap();
    host.nft(&["flush", "ruleset"]);
    for address in [FIRST, SECOND] {
        let error = firewall.put(address, deny("2.0.0.0/8")).unwrap_err();
        assert_eq!(error.kind, Kind::Missing, "{error}");
    }
    assert_eq!(host.nft(&["list", "ruleset"]), "");
    firewall.remove(FIRST).expect("it is gone");
    assert_eq!(host.within(|| firewall.check()).unwrap(), ["The table sandglass-test is missing."]);
}

#[test]
fn a_sandbox_of_which_others_have_removed_a_part_is_removed() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    let parts = [
        vec!["delete element inet T sandboxes { 10.213.0.7 }"],
        vec!["delete element inet T sandboxes { 10.213.0.7 }", "flush chain inet T C", "delete chain inet T C"],
    ];
    for part in parts {
        firewall.replace(table([(FIRST, deny("1.0.0.0/8"))])).unwrap();
        for change in part {
            host.nft(&[&change.replace(" T", &format!(" {NAME}")).replace(" C", " sb-10.213.0.7")]);
        }
        firewall.remove(FIRST).unwrap();
        assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn rules_of_others_that_refer_to_a_sandbox_are_in_its_way_until_the_table_is_written_again() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    let whole = table([(FIRST, deny("1.0.0.0/8"))]);
    firewall.replace(whole.clone()).unwrap();
    host.nft(&[&format!("add rule inet {NAME} plain jump sb-{FIRST}")]);
    let error = firewall.put(FIRST, Rules::default()).unwrap_err();
    assert_eq!(error.kind, Kind::Changed, "{error}");
    assert!(error.to_string().contains(&format!("sb-{FIRST}")), "{error} does not name the part");
    firewall.replace(whole).unwrap();
    firewall.put(FIRST, deny("2.0.0.0/8")).unwrap();
    assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_firewall_that_others_change_all_the_time_is_read_and_written() {
    let host = Namespace::new();
    let mut firewall = host.firewall();
    let rules = rules(&[], &["1.0.0.0/8"], &[], &["2.0.0.0/8"]);
    let sandboxes = (2..200).map(|n| (std::net::Ipv4Addr::new(10, 213, 0, n), rules.clone())).collect();
    firewall.replace(Table { sandboxes, ..table([]) }).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut other = host.firewall();
            let mut changes = 0;
            while !done.load(Ordering::Relaxed) {
                let name = "sandglass-other".to_owned();
                other.replace(Table { name: name.clone(), ..table([(FIRST, deny("1.0.0.0/8"))]) }).unwrap();
                other.delete(&name).unwrap();
                changes += 1;
            }
            changes
        });
        let _stop = Stop(&done);
        for n in 0..20 {
            assert_eq!(host.within(|| firewall.check()).unwrap(), Vec::<String>::new());
            firewall.put(FIRST, if n % 2 == 0 { Rules::default() } else { rules.clone() }).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 0);
    });
}
