//! Which kinds of file systems paths are on.

use std::path::Path;

/// File systems that show what the kernel knows, and hold no files, by the type that `statfs(2)` tells.
const VIRTUAL: [i64; 12] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0x6e73_6673, // nsfs
];

/// File systems that others can change without this kernel noticing.
const NETWORK: [i64; 5] = [
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0x517b,      // smb
    0xfe53_4d42, // smb2
    0x6573_5546, // fuse
];

/// Whether a path is on a file system without files of its own.
pub(super) fn is_virtual(path: &Path) -> bool {
    is_one_of(path, &VIRTUAL)
}

/// Whether a path is on a file system whose changes are not all noticed here.
pub(super) fn is_network(path: &Path) -> bool {
    is_one_of(path, &NETWORK)
}

fn is_one_of(path: &Path, kinds: &[i64]) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| kinds.contains(&(found.f_type & 0xffff_ffff)))
}
