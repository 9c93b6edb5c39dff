//! The firewall around sandboxes, in network namespaces of the tests' own: what gets through, and what nftables' own program
//! says of it.

mod changed;
mod lab;
mod operations;
mod packets;
mod program;
mod sizes;
