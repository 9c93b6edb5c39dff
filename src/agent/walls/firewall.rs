//! The firewall's operations.

use std::{fs, net::Ipv4Addr};

use super::{
    error::{Kind, WallsError},
    expression,
    kernel::{Batch, Kernel},
    layout::{self, BLOCKED_AT, BLOCKED_BY, Layout},
    numbers::{BRIDGE, INET},
    read,
    table::{self, Blocked, Rules, Table},
    write,
};

/// What [`Firewall::check`] says if packets between two sandboxes of one bridge do not come to the firewall. Writing the table
/// again does not help.
pub const PEERS_OPEN: &str = "Sandboxes of one bridge can reach each other: set net.bridge.bridge-nf-call-iptables to 1, \
                              or use a kernel with the module nft_meta_bridge.";

/// Where the kernel says whether packets that stay on a bridge come to the firewall.
const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// Addresses that [`Firewall::blocked`] tells.
const RECENT: usize = 16;
/// Sentences that [`Firewall::check`] says.
const SAID: usize = 20;

/// The firewall of the network namespace that the thread was in when it was opened: a connection with the kernel, and what it
/// was last told. It is made for one thread at a time. Calls take milliseconds and never wait for anything but the kernel.
#[derive(Debug)]
pub struct Firewall {
    kernel: Kernel,
    written: Option<Written>,
    /// Whether the kernel may know a port's bridge; it has not said no yet.
    knows_bridges: bool,
}

#[derive(Debug)]
struct Written {
    table: Table,
    /// Whether the kernel took the table of the family `bridge`, too.
    bridge: bool,
}

impl Firewall {
    /// Opens it. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Kind::Denied`] without the capability `NET_ADMIN`, [`Kind::Unsupported`] without `nf_tables` in the kernel.
    pub fn open() -> Result<Self, WallsError> {
        Ok(Self { kernel: Kernel::open()?, written: None, knows_bridges: true })
    }

    /// Writes the whole table. One of that name becomes this one at one instant, and keeps what it has counted; if others have
    /// changed it in ways that cannot be taken back, it is made anew.
    ///
    /// # Errors
    ///
    /// What the kernel refuses, with the part that it refused; then the table is as it was.
    pub fn replace(&mut self, table: Table) -> Result<(), WallsError> {
        table.check()?;
        let mut bridge = false;
        if self.knows_bridges && table.has_bridges() {
            match self.write(&Layout::of_bridge(&table)) {
                Ok(()) => bridge = true,
                // This kernel lacks the family, or the name of a port's bridge.
                Err(error) if matches!(error.kind, Kind::Unsupported | Kind::Missing) => self.knows_bridges = false,
                Err(error) => return Err(error),
            }
        }
        self.write(&Layout::of(&table))?;
        self.written = Some(Written { table, bridge });
        Ok(())
    }

    /// Makes the kernel's table the one that is wanted.
    fn write(&mut self, wanted: &Layout) -> Result<(), WallsError> {
        if let Some(found) = read::table(&mut self.kernel, wanted.family, &wanted.name)? {
            if found == *wanted {
                return Ok(());
            }
            let mut batch = Batch::default();
            write::create_table(&mut batch, wanted.family, &wanted.name);
            write::mend(&mut batch, &found, wanted, false);
            if self.kernel.commit(&batch).is_ok() {
                return Ok(());
            }
            // Others have changed it meanwhile, or in a way that the kernel does not let us change back.
        }
        let mut batch = Batch::default();
        write::recreate(&mut batch, wanted);
        self.kernel.commit(&batch)
    }

    /// Writes the rules of a sandbox, a new one or not, at one instant. What was counted of a new one's address is forgotten.
    ///
    /// # Errors
    ///
    /// [`Kind::Missing`] or [`Kind::Changed`] if the table is not as it was written: it has to be replaced. Then everything is
    /// as it was.
    pub fn put(&mut self, address: Ipv4Addr, rules: Rules) -> Result<(), WallsError> {
        let written = written(&mut self.written)?;
        let name = &written.table.name;
        let old = written.table.sandboxes.get(&address);
        if old.is_none() {
            forget(&mut self.kernel, name, address)?;
        }
        let mut batch = Batch::default();
        let (old, new) = (layout::part(name, address, old), layout::part(name, address, Some(&rules)));
        write::mend(&mut batch, &old, &new, true);
        self.kernel.commit(&batch)?;
        written.table.sandboxes.insert(address, rules);
        Ok(())
    }

    /// Removes a sandbox's rules and what was counted of it; its address reaches nothing then. It is no error if they are gone.
    ///
    /// # Errors
    ///
    /// [`Kind::Missing`] if no table was written yet, [`Kind::Changed`] if rules of others refer to the sandbox's chains.
    pub fn remove(&mut self, address: Ipv4Addr) -> Result<(), WallsError> {
        let written = written(&mut self.written)?;
        let name = &written.table.name;
        let Some(rules) = written.table.sandboxes.get(&address) else { return Ok(()) };
        let removal = || {
            let (old, new) = (layout::part(name, address, Some(rules)), layout::part(name, address, None));
            let mut batch = Batch::default();
            write::mend(&mut batch, &old, &new, true);
            batch
        };
        match self.kernel.commit(&removal()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind, Kind::Missing | Kind::Changed) => {
                // Others may have removed some of it: each part for itself.
                for part in removal().split() {
                    gone(self.kernel.commit(&part))?;
                }
            }
            Err(error) => return Err(error),
        }
        written.table.sandboxes.remove(&address);
        forget(&mut self.kernel, &written.table.name, address)
    }

    /// Compares the kernel's table with what was written: sentences that say what differs, at most 21; none if it is intact.
    /// [`PEERS_OPEN`] is the last of them.
    ///
    /// # Errors
    ///
    /// [`Kind::Missing`] if no table was written yet.
    pub fn check(&mut self) -> Result<Vec<String>, WallsError> {
        let written = written(&mut self.written)?;
        let name = &written.table.name;
        let found = read::table(&mut self.kernel, INET, name)?;
        let mut differences = read::differences(&Layout::of(&written.table), found.as_ref());
        if written.bridge {
            let found = read::table(&mut self.kernel, BRIDGE, name)?;
            let more = read::differences(&Layout::of_bridge(&written.table), found.as_ref());
            differences.extend(more.into_iter().map(|difference| format!("In the family bridge: {difference}")));
        }
        if let Some(more) = differences.len().checked_sub(SAID).filter(|more| *more > 0) {
            differences.truncate(SAID - 1);
            differences.push(format!("{} more differ.", more + 1));
        }
        if !written.bridge && written.table.has_bridges() && !bridged_packets_come() {
            differences.push(PEERS_OPEN.to_owned());
        }
        Ok(differences)
    }

    /// What was dropped of what this address has sent.
    ///
    /// # Errors
    ///
    /// [`Kind::Missing`] if no table was written yet, or others have removed it.
    pub fn blocked(&mut self, address: Ipv4Addr) -> Result<Blocked, WallsError> {
        let name = &written(&mut self.written)?.table.name;
        let Some(all) = read::counted_one(&mut self.kernel, name, BLOCKED_BY, &address.octets())? else {
            return Ok(Blocked::default());
        };
        let mut recent = at(&mut self.kernel, name, address)?;
        // The one that will be forgotten last was renewed last.
        recent.sort_unstable_by_key(|(_, packets, expires)| std::cmp::Reverse((*expires, *packets)));
        recent.truncate(RECENT);
        let recent = recent.into_iter().map(|(at, packets, _)| (at, packets)).collect();
        Ok(Blocked { packets: all.packets, recent })
    }

    /// The names of all tables with our prefix, also those of other supervisors.
    ///
    /// # Errors
    ///
    /// If the kernel does not answer.
    pub fn tables(&mut self) -> Result<Vec<String>, WallsError> {
        let mut names: Vec<_> = read::tables(&mut self.kernel)?.into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Removes the tables of this name, which has to begin as ours do. It is no error if they are gone.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] for other names, and what the kernel refuses.
    pub fn delete(&mut self, name: &str) -> Result<(), WallsError> {
        table::check_name(name)?;
        for (family, found) in read::tables(&mut self.kernel)? {
            if found == name {
                let mut batch = Batch::default();
                write::delete_table(&mut batch, family, name);
                gone(self.kernel.commit(&batch))?;
            }
        }
        if self.written.as_ref().is_some_and(|written| written.table.name == name) {
            self.written = None;
        }
        Ok(())
    }
}

fn written(written: &mut Option<Written>) -> Result<&mut Written, WallsError> {
    written.as_mut().ok_or_else(|| WallsError::new(Kind::Missing, "no table was written yet"))
}

/// Success also for what is gone already.
fn gone(result: Result<(), WallsError>) -> Result<(), WallsError> {
    match result {
        Err(error) if error.kind == Kind::Missing => Ok(()),
        result => result,
    }
}

/// Forgets what was counted of an address.
fn forget(kernel: &mut Kernel, table: &str, address: Ipv4Addr) -> Result<(), WallsError> {
    if read::counted_one(kernel, table, BLOCKED_BY, &address.octets())?.is_none() {
        return Ok(());
    }
    let at: Vec<_> = match at(kernel, table, address) {
        Ok(at) => at.into_iter().map(|(at, ..)| at).collect(),
        Err(error) => return gone(Err(error)),
    };
    let mut batch = Batch::default();
    write::forget(&mut batch, table, address, &at);
    match kernel.commit(&batch) {
        // The time of some was over in between.
        Err(error) if error.kind == Kind::Missing => {
            for at in at {
                let mut batch = Batch::default();
                write::forget_one(&mut batch, table, address, at);
                gone(kernel.commit(&batch))?;
            }
            let mut batch = Batch::default();
            write::forget(&mut batch, table, address, &[]);
            gone(kernel.commit(&batch))
        }
        result => result,
    }
}

/// Where dropped packets of an address were going, how many, and when that will be forgotten.
fn at(kernel: &mut Kernel, table: &str, address: Ipv4Addr) -> Result<Vec<(Ipv4Addr, u64, u64)>, WallsError> {
    let all = read::counted(kernel, table, BLOCKED_AT)?;
    let own = all.into_iter().filter_map(|counted| {
        let (by, at) = counted.key.split_at_checked(4)?;
        (by == address.octets()).then_some((expression::to_address(at)?, counted.packets, counted.expires))
    });
    Ok(own.collect())
}

/// Whether packets from one port of a bridge to another come to the firewall. The file is there once the module is.
fn bridged_packets_come() -> bool {
    fs::read_to_string(BRIDGED).is_ok_and(|value| value.trim() == "1")
}
