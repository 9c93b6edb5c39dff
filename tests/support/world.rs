//! Hosts in a network namespace of a test's own, which stand for the internet, for a private network and for a service with a
//! link-local address. The engine's host reaches them over a route; nothing that is sent to them leaves the machine.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What all hosts answer at.
pub const PORT: u16 = 8080;
/// What they answer.
pub const WORD: &str = "hello";

const NEEDS: &str = "this test needs root, iproute2 and util-linux: config/setup.sh installs them";

/// The namespace, which ends with this value.
pub struct World {
    holder: Child,
    number: u8,
}

impl World {
    /// A world that no other test has.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect(NEEDS);
        holder.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect(NEEDS);
        let pid = holder.id().to_string();
        // The first free name wins, and the number in it makes all addresses this test's own.
        let mut numbers = 1..=63;
        let number = numbers.find(|number| {
            let link = link(*number);
            let peer = ["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid];
            Command::new("ip").args(peer).stderr(Stdio::null()).status().expect(NEEDS).success()
        });
        let world = Self { holder, number: number.expect("a free link") };
        let (link, host, gate) = (link(world.number), world.host(), world.gate());
        ip(&["addr", "add", &format!("{host}/30"), "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        world.within_ip(&["link", "set", "lo", "up"]);
        world.within_ip(&["addr", "add", &format!("{gate}/30"), "dev", "eth0"]);
        world.within_ip(&["link", "set", "eth0", "up"]);
        world.within_ip(&["route", "add", "default", "via", &host.to_string()]);
        for address in [world.internet(), world.internet_too(), world.private(), world.link_local()] {
            world.within_ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]);
            ip(&["route", "add", &format!("{address}/32"), "via", &gate.to_string()]);
        }
        answer(world.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("a port")));
        world
    }

    /// The address of the engine's host on the way there.
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 + 1)
    }

    fn gate(&self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 4 + 2)
    }

    /// A host on the internet.
    pub fn internet(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number)
    }

    /// Another one.
    pub fn internet_too(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 100 + self.number)
    }

    /// A host on a private network.
    pub fn private(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 254, self.number, 1)
    }

    /// A host with a link-local address, as metadata services have.
    pub fn link_local(&self) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 77, self.number)
    }

    fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("the namespace");
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect(NEEDS);
                run()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn within_ip(&self, arguments: &[&str]) {
        self.within(|| ip(arguments));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The link goes with the namespace, and the routes with the link.
        let _ = Command::new("ip").args(["link", "del", &link(self.number)]).stderr(Stdio::null()).status();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A service of this host, on all of its addresses. It ends with the test's process.
pub fn host_service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    answer(listener);
    port
}

/// Whether this process reaches a host or a published port that answers as they do.
pub fn reaches(address: SocketAddrV4) -> bool {
    let mut word = String::new();
    let connected = std::net::TcpStream::connect_timeout(&address.into(), std::time::Duration::from_secs(10));
    connected.and_then(|mut stream| stream.read_to_string(&mut word)).is_ok() && word.trim() == WORD
}

fn link(number: u8) -> String {
    format!("sgtest{number}")
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect(NEEDS);
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn answer(listener: TcpListener) {
    thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.map(|mut connection| connection.write_all(WORD.as_bytes()));
        }
    });
}
