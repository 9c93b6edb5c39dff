//! Networks of a test's own: a host with a bridge and sandboxes at it, and the rest of the world.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sandglass_agent::walls::{Firewall, Rules, Table};

pub(super) const NAME: &str = "sandglass-test";
pub(super) const BRIDGE: &str = "sg-test01-1";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
pub(super) const FIRST: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 7);
pub(super) const SECOND: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 8);
/// The host's address in the rest of the world.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(super) const INTERNET_TOO: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
pub(super) const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
pub(super) const PRIVATE_TOO: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 7);
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub(super) const PORT: u16 = 8080;

/// How long a connection may take; the machine may be busy.
const CONNECTS: Duration = Duration::from_secs(10);
/// How long one that must not come about is tried.
const TRIED: Duration = Duration::from_millis(300);

/// A network namespace, which ends with this value.
#[derive(Debug)]
pub(super) struct Namespace {
    holder: Child,
}

impl Namespace {
    pub(super) fn new() -> Self {
        // It says a word once it is in its namespace.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs: config/setup.sh engine says what is missing");
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("making a network namespace needs root");
        let namespace = Self { holder };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs this on a thread in the namespace.
    pub(super) fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                run()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(super) fn ip(&self, arguments: &str) {
        self.run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// Has nftables' own program do something, and returns what it prints.
    pub(super) fn nft(&self, arguments: &[&str]) -> String {
        self.run("nft", arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.within(|| Command::new(program).args(arguments).output());
        let output = output.unwrap_or_else(|why| {
            panic!("{program} does not run ({why}): config/setup.sh engine nftables installs it")
        });
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn sysctl(&self, key: &str, value: &str) {
        self.within(|| fs::write(format!("/proc/sys/{key}"), value))
            .unwrap_or_else(|why| panic!("{key} cannot be set: {why}"));
    }

    pub(super) fn firewall(&self) -> Firewall {
        self.within(|| Firewall::open().unwrap())
    }

    /// Answers at this port, over TCP with a word and over UDP with what it gets, as long as the test runs.
    pub(super) fn answer_at(&self, port: u16) {
        let (tcp, udp) = self.within(|| {
            let any = (Ipv4Addr::UNSPECIFIED, port);
            (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap())
        });
        thread::spawn(move || {
            for connection in tcp.incoming() {
                _ = connection.map(|mut connection| connection.write_all(b"hello"));
            }
        });
        thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut bytes) {
                _ = udp.send_to(&bytes[..length], from);
            }
        });
    }

    pub(super) fn reaches(&self, address: Ipv4Addr) -> bool {
        self.reaches_port(address, PORT)
    }

    /// Whether a connection comes about that has to.
    pub(super) fn reaches_port(&self, address: Ipv4Addr, port: u16) -> bool {
        self.connects(address, port, CONNECTS)
    }

    /// Whether a connection comes about that must not.
    pub(super) fn gets_through(&self, address: Ipv4Addr, port: u16) -> bool {
        self.connects(address, port, TRIED)
    }

    /// Whether a connection comes about soon enough that no packet of it was lost.
    pub(super) fn connects_within(&self, address: Ipv4Addr, bound: Duration) -> bool {
        self.connects(address, PORT, bound)
    }

    /// Sends packets to this address as fast as it can.
    pub(super) fn send_until(&self, done: &AtomicBool, address: Ipv4Addr, port: u16) {
        self.within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            while !done.load(Ordering::Relaxed) {
                _ = socket.send_to(b"x", (address, port));
            }
        });
    }

    fn connects(&self, address: Ipv4Addr, port: u16, bound: Duration) -> bool {
        self.within(|| {
            let connected = TcpStream::connect_timeout(&SocketAddr::from((address, port)), bound);
            connected.is_ok_and(|mut connection| {
                connection.set_read_timeout(Some(bound)).unwrap();
                connection.read_exact(&mut [0; 5]).is_ok()
            })
        })
    }

    /// Whether a question over UDP is answered.
    pub(super) fn asks(&self, address: Ipv4Addr, port: u16, answered: bool) -> bool {
        self.within(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_read_timeout(Some(if answered { CONNECTS } else { TRIED })).unwrap();
            // A packet that the host itself refuses may be an error of the next call.
            _ = socket.send_to(b"who?", (address, port));
            socket.recv_from(&mut [0; 8]).is_ok()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        _ = self.holder.kill();
        _ = self.holder.wait();
    }
}

/// The networks.
pub(super) struct Lab {
    pub(super) host: Namespace,
    pub(super) first: Namespace,
    pub(super) second: Namespace,
    pub(super) world: Namespace,
    pub(super) firewall: Firewall,
}

impl Lab {
    /// Two sandboxes at one bridge, which have no rules yet, and a table that does not list them.
    pub(super) fn new() -> Self {
        Self::at(BRIDGE)
    }

    pub(super) fn at(bridge: &str) -> Self {
        let [host, first, second, world] = std::array::from_fn(|_| Namespace::new());
        host.sysctl("net/ipv4/ip_forward", "1");
        host.ip(&format!("link add {bridge} type bridge"));
        host.ip(&format!("addr add {GATEWAY}/24 dev {bridge}"));
        host.ip(&format!("link set {bridge} up"));
        for (sandbox, address, port) in [(&first, FIRST, "port1"), (&second, SECOND, "port2")] {
            host.ip(&format!("link add {port} type veth peer name eth0 netns {}", sandbox.holder.id()));
            host.ip(&format!("link set {port} master {bridge} up"));
            sandbox.ip(&format!("addr add {address}/24 dev eth0"));
            sandbox.ip("link set eth0 up");
            sandbox.ip(&format!("route add default via {GATEWAY}"));
            sandbox.answer_at(PORT);
        }
        host.ip(&format!("link add out type veth peer name eth0 netns {}", world.holder.id()));
        host.ip(&format!("addr add {HOST}/24 dev out"));
        host.ip("link set out up");
        world.ip("link set eth0 up");
        for address in [INTERNET, INTERNET_TOO, PRIVATE, PRIVATE_TOO, METADATA] {
            world.ip(&format!("addr add {address}/24 dev eth0"));
        }
        world.ip(&format!("route add 10.213.0.0/16 via {HOST}"));
        host.ip(&format!("route add default via {INTERNET}"));
        for place in [&host, &world] {
            place.answer_at(PORT);
            place.answer_at(53);
        }
        let mut firewall = host.firewall();
        firewall.replace(table([])).unwrap();
        Self { host, first, second, world, firewall }
    }

    /// Whether the first sandbox reaches these, each of which it must or must not reach.
    pub(super) fn reach(&self, must: &[Ipv4Addr], must_not: &[Ipv4Addr]) {
        for address in must {
            assert!(self.first.reaches(*address), "{address} is not reached");
        }
        for address in must_not {
            assert!(!self.first.gets_through(*address, PORT), "{address} is reached");
        }
    }
}

pub(super) fn table<const N: usize>(sandboxes: [(Ipv4Addr, Rules); N]) -> Table {
    Table {
        name: NAME.to_owned(),
        bridges: vec!["sg-test01-".to_owned()],
        internal: vec!["si-test01-".to_owned()],
        resolvers: Vec::new(),
        sandboxes: sandboxes.into(),
    }
}

/// Rules from what they open, shut, allow and deny.
pub(super) fn rules(open: &[&str], shut: &[&str], allow: &[&str], deny: &[&str]) -> Rules {
    let [open, shut, allow, deny] =
        [open, shut, allow, deny].map(|networks| networks.iter().map(|network| network.parse().unwrap()).collect());
    Rules { open, shut, allow, deny }
}

pub(super) fn deny(network: &str) -> Rules {
    rules(&[], &[], &[], &[network])
}

/// Ends what runs beside a test, also when it fails.
pub(super) struct Stop<'a>(pub(super) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
