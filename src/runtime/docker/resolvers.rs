//! The DNS servers that sandboxes on networks of ours ask: the engine's own resolver passes their questions on from within a
//! sandbox, so a server in a private range has to stay reachable for them.

use std::net::Ipv4Addr;

/// What an engine reads: where a stub on loopback is all that the first names, the second names the servers behind it.
pub(super) const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The servers that these files name, without those on loopback, which the engine asks from outside.
pub(super) fn named<'a>(files: impl IntoIterator<Item = &'a str>) -> Vec<Ipv4Addr> {
    let mut servers: Vec<Ipv4Addr> = files
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
        })
        .filter(|server: &Ipv4Addr| !server.is_loopback() && !server.is_unspecified())
        .collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_without_stubs_comments_and_other_families() {
        let stub = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\noptions edns0\nsearch example.com\n";
        let behind =
            "nameserver 192.168.1.1\nnameserver\tfd00::1\n nameserver 10.0.0.2 # the other\nnameserver 192.168.1.1";
        let expected: [Ipv4Addr; 2] = ["10.0.0.2", "192.168.1.1"].map(|server| server.parse().unwrap());
        assert_eq!(named([stub, behind]), expected);
        assert!(named([stub, "nameserver\nnameserver x"]).is_empty());
    }
}
