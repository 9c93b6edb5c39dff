//! What gets through.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use sandglass_agent::walls::{PEERS_OPEN, Rules};

use super::lab::*;

#[test]
fn a_sandbox_reaches_the_internet_and_nothing_else() {
    let mut lab = Lab::new();
    lab.firewall.put(FIRST, Rules::default()).unwrap();
    lab.firewall.put(SECOND, Rules::default()).unwrap();
    let shut = [SECOND, GATEWAY, HOST, PRIVATE, PRIVATE_TOO, METADATA];
    lab.reach(&[INTERNET, INTERNET_TOO], &shut);
    for address in shut {
        assert!(!lab.first.asks(address, PORT, false), "{address} answers");
    }
    let blocked = lab.firewall.blocked(FIRST).unwrap();
    let all: Vec<_> = shut.iter().filter(|address| !blocked.recent.iter().any(|(at, _)| at == *address)).collect();
    assert!(all.is_empty(), "{all:?} were blocked and not counted: {blocked:?}");
    assert_eq!(blocked.packets, blocked.recent.iter().map(|(_, packets)| packets).sum::<u64>());
    assert_eq!(lab.firewall.blocked(SECOND).unwrap().packets, 0, "answers that nobody asked for were sent");
}

#[test]
fn an_address_that_is_not_in_the_table_reaches_nothing() {
    let mut lab = Lab::new();
    lab.firewall.put(SECOND, Rules::default()).unwrap();
    lab.reach(&[], &[INTERNET, PRIVATE, SECOND, GATEWAY]);
    assert!(lab.second.reaches(INTERNET));
    lab.firewall.remove(SECOND).unwrap();
    assert!(!lab.second.gets_through(INTERNET, PORT), "rules have survived their sandbox");
}

#[test]
fn a_sandbox_of_an_internal_bridge_reaches_nothing() {
    let mut lab = Lab::at("si-test01-1");
    lab.firewall.put(FIRST, rules(&["0.0.0.0/0"], &[], &[], &[])).unwrap();
    lab.reach(&[], &[INTERNET, PRIVATE, SECOND, GATEWAY, HOST]);
    // The host's own probes are answered.
    assert!(lab.host.reaches(FIRST));
}

#[test]
fn what_others_begin_is_answered() {
    let mut lab = Lab::new();
    lab.firewall.put(FIRST, deny("0.0.0.0/0")).unwrap();
    assert!(lab.host.reaches(FIRST), "the host has no answer");
    assert!(lab.world.reaches(FIRST), "the world has no answer");
    lab.reach(&[], &[INTERNET, HOST]);
}

#[test]
fn the_hosts_own_traffic_and_other_bridges_are_left_alone() {
    let lab = Lab::at("br0");
    lab.reach(&[INTERNET, PRIVATE, METADATA, GATEWAY, SECOND], &[]);
    assert!(lab.host.reaches(PRIVATE) && lab.world.reaches(HOST));
}

#[test]
fn an_operator_may_open_a_wall_and_a_sandbox_only_what_it_shut_itself() {
    let mut lab = Lab::new();
    let world = [INTERNET, INTERNET_TOO, PRIVATE, PRIVATE_TOO];
    let cases = [
        (rules(&["10.9.0.0/16"], &[], &[], &[]), vec![INTERNET, INTERNET_TOO, PRIVATE]),
        (rules(&["10.9.9.9/32"], &["10.0.0.0/8"], &[], &[]), vec![INTERNET, INTERNET_TOO, PRIVATE]),
        (rules(&["198.51.100.0/24"], &["0.0.0.0/0"], &[], &[]), vec![INTERNET]),
        (rules(&["0.0.0.0/0"], &[], &[], &["192.168.0.0/16"]), vec![INTERNET, INTERNET_TOO, PRIVATE]),
        (rules(&[], &["198.51.100.0/25"], &["198.51.100.0/24", "10.9.9.0/24"], &[]), vec![INTERNET_TOO]),
        (rules(&[], &[], &["198.51.100.2/32", "10.0.0.0/8"], &["0.0.0.0/0"]), vec![INTERNET]),
        (rules(&[], &[], &[], &["198.51.100.0/31"]), vec![INTERNET, INTERNET_TOO]),
        (rules(&[], &[], &[], &["198.51.100.2/31", "198.51.100.0/31"]), vec![INTERNET_TOO]),
    ];
    for (rules, must) in cases {
        lab.firewall.put(FIRST, rules.clone()).unwrap();
        let must_not: Vec<_> = world.into_iter().filter(|address| !must.contains(address)).collect();
        println!("{rules:?}");
        lab.reach(&must, &must_not);
        // Whatever the rules, these are neither the operator's nor the sandbox's to open.
        lab.reach(&[], &[SECOND, GATEWAY, HOST]);
    }
}

#[test]
fn name_servers_are_reached_at_their_port_alone_and_unless_the_rules_shut_them() {
    let mut lab = Lab::new();
    let resolvers = [PRIVATE, GATEWAY];
    let mut table = table([(FIRST, Rules::default())]);
    table.resolvers = resolvers.to_vec();
    lab.firewall.replace(table).unwrap();
    for resolver in resolvers {
        assert!(lab.first.asks(resolver, 53, true), "{resolver} does not answer over UDP");
        assert!(lab.first.reaches_port(resolver, 53), "{resolver} does not answer over TCP");
        assert!(!lab.first.asks(resolver, PORT, false), "{resolver} answers at another port");
        assert!(!lab.first.gets_through(resolver, PORT), "{resolver} is reached at another port");
    }
    for other in [HOST, PRIVATE_TOO, SECOND] {
        assert!(!lab.first.gets_through(other, 53), "{other} is no name server");
    }
    assert!(!lab.second.asks(GATEWAY, 53, false), "a sandbox that is not listed gets names");
    lab.firewall.put(FIRST, deny("0.0.0.0/0")).unwrap();
    for resolver in resolvers {
        assert!(!lab.first.asks(resolver, 53, false), "{resolver} carries what is denied");
    }
}

#[test]
fn new_rules_hold_for_old_connections() {
    let mut lab = Lab::new();
    lab.firewall.put(FIRST, Rules::default()).unwrap();
    let listener = lab.world.within(|| TcpListener::bind((INTERNET, 4000)).unwrap());
    let mut sender = lab.first.within(|| TcpStream::connect((INTERNET, 4000)).unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    sender.write_all(b"a").unwrap();
    receiver.read_exact(&mut [0]).unwrap();
    lab.firewall.put(FIRST, deny("198.51.100.0/24")).unwrap();
    sender.write_all(b"b").unwrap();
    assert!(receiver.read_exact(&mut [0]).is_err(), "an old connection goes on");
    lab.firewall.put(FIRST, Rules::default()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    receiver.read_exact(&mut [0]).expect("what was sent meanwhile is sent again");
}

#[test]
fn between_two_rules_there_is_no_moment_with_others() {
    let mut lab = Lab::new();
    let many = ["203.0.113.9/32", "1.0.0.0/8", "3.0.0.0/8", "5.0.0.0/8", "7.0.0.0/8", "9.0.0.0/8"];
    // Each of them has it in another list.
    let all = [
        deny("203.0.113.0/24"),
        rules(&[], &many, &["1.0.0.0/8"], &["2.0.0.0/8"]),
        rules(&[], &["2.0.0.0/8"], &[], &many),
    ];
    lab.firewall.put(FIRST, all[0].clone()).unwrap();
    let done = AtomicBool::new(false);
    let Lab { first, world, firewall, host: _host, second: _second } = &mut lab;
    // What must never arrive is sent all the time, and so is what must always arrive.
    let forbidden = world.within(|| UdpSocket::bind((INTERNET_TOO, 4001)).unwrap());
    forbidden.set_nonblocking(true).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| first.send_until(&done, INTERNET_TOO, 4001));
        scope.spawn(|| {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                // A connection takes three packets, and one that is lost a second.
                assert!(first.connects_within(INTERNET, Duration::from_millis(900)), "after {answered} others");
                answered += 1;
            }
            assert!(answered > 0, "none was tried");
        });
        let _stop = Stop(&done);
        for round in 0..600 {
            let rules = all[round % 3].clone();
            if round % 10 > 6 {
                firewall.replace(table([(FIRST, rules), (SECOND, all[round % 2].clone())])).unwrap();
            } else {
                firewall.put(FIRST, rules).unwrap();
            }
        }
    });
    assert!(forbidden.recv_from(&mut [0]).is_err(), "a packet has slipped through");
}

#[test]
fn a_sandbox_that_comes_goes_and_changes_is_never_without_walls() {
    let mut lab = Lab::new();
    let done = AtomicBool::new(false);
    let Lab { first, world, firewall, host: _host, second: _second } = &mut lab;
    let forbidden = world.within(|| UdpSocket::bind((PRIVATE, 4001)).unwrap());
    forbidden.set_nonblocking(true).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| first.send_until(&done, PRIVATE, 4001));
        let _stop = Stop(&done);
        for round in 0..400 {
            match round % 4 {
                0 => firewall.put(FIRST, Rules::default()).unwrap(),
                1 => firewall.put(FIRST, deny("1.0.0.0/8")).unwrap(),
                2 => firewall.replace(table([(FIRST, Rules::default())])).unwrap(),
                _ => firewall.remove(FIRST).unwrap(),
            }
        }
    });
    assert!(forbidden.recv_from(&mut [0]).is_err(), "a packet has slipped through");
}

#[test]
fn it_is_told_if_packets_of_one_bridge_do_not_come_to_the_firewall() {
    let mut lab = Lab::new();
    lab.firewall.replace(table([(FIRST, Rules::default()), (SECOND, Rules::default())])).unwrap();
    lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    let said = lab.host.within(|| lab.firewall.check()).unwrap();
    assert_eq!(said.iter().any(|sentence| sentence == PEERS_OPEN), lab.first.gets_through(SECOND, PORT), "{said:?}");
    lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "1");
    assert_eq!(lab.host.within(|| lab.firewall.check()).unwrap(), Vec::<String>::new());
    lab.reach(&[], &[SECOND]);
}

#[test]
fn a_full_count_does_not_open_the_walls() {
    let mut lab = Lab::new();
    lab.firewall.put(FIRST, Rules::default()).unwrap();
    let elements: Vec<_> = (0..65_536_u32).map(|number| Ipv4Addr::from(0x0b00_0000 + number).to_string()).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("add element inet {NAME} blocked_by {{ {} }}", elements.join(","));
    std::fs::write(file.path(), text).unwrap();
    lab.host.nft(&["-f", file.path().to_str().unwrap()]);
    lab.reach(&[INTERNET], &[PRIVATE, METADATA, SECOND, GATEWAY]);
}
