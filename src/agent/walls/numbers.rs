//! Numbers of the kernel's interface: `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

/// Families of tables.
pub(super) const INET: u8 = 1;
pub(super) const IPV4: u8 = 2;
pub(super) const BRIDGE: u8 = 7;
pub(super) const IPV6: u8 = 10;

/// Flags and kinds of netlink messages.
pub(super) mod message {
    pub(in super::super) const REQUEST: u16 = 0x1;
    pub(in super::super) const ACK: u16 = 0x4;
    pub(in super::super) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(in super::super) const DUMP: u16 = 0x300;
    pub(in super::super) const CREATE: u16 = 0x400;
    pub(in super::super) const APPEND: u16 = 0x800;

    pub(in super::super) const ERROR: u16 = 2;
    pub(in super::super) const DONE: u16 = 3;
    pub(in super::super) const BATCH_BEGIN: u16 = 16;
    pub(in super::super) const BATCH_END: u16 = 17;

    /// The subsystem that messages of `nf_tables` name in the upper byte of their kind, and batches in their header.
    pub(in super::super) const NF_TABLES: u16 = 10;
    const fn kind(number: u16) -> u16 {
        NF_TABLES << 8 | number
    }
    pub(in super::super) const NEW_TABLE: u16 = kind(0);
    pub(in super::super) const GET_TABLE: u16 = kind(1);
    pub(in super::super) const DELETE_TABLE: u16 = kind(2);
    pub(in super::super) const NEW_CHAIN: u16 = kind(3);
    pub(in super::super) const GET_CHAIN: u16 = kind(4);
    pub(in super::super) const DELETE_CHAIN: u16 = kind(5);
    pub(in super::super) const NEW_RULE: u16 = kind(6);
    pub(in super::super) const GET_RULE: u16 = kind(7);
    pub(in super::super) const DELETE_RULE: u16 = kind(8);
    pub(in super::super) const NEW_SET: u16 = kind(9);
    pub(in super::super) const GET_SET: u16 = kind(10);
    pub(in super::super) const DELETE_SET: u16 = kind(11);
    pub(in super::super) const NEW_ELEMENTS: u16 = kind(12);
    pub(in super::super) const GET_ELEMENTS: u16 = kind(13);
    pub(in super::super) const DELETE_ELEMENTS: u16 = kind(14);
    pub(in super::super) const GET_GENERATION: u16 = kind(16);
}

/// Hooks of the families `inet` and `bridge`, which number these alike.
pub(super) mod hook {
    pub(in super::super) const INPUT: u32 = 1;
    pub(in super::super) const FORWARD: u32 = 2;
    /// The verdict of a chain's policy.
    pub(in super::super) const ACCEPT: u32 = 1;
}

/// Registers: the first one, and its second word under the name that the kernel has for it.
pub(super) mod register {
    pub(in super::super) const VERDICT: u32 = 0;
    pub(in super::super) const FIRST: u32 = 1;
    pub(in super::super) const SECOND_WORD: u32 = 9;
}

/// What the expression `meta` loads.
pub(super) mod meta {
    pub(in super::super) const INPUT_NAME: u32 = 6;
    pub(in super::super) const OUTPUT_NAME: u32 = 7;
    pub(in super::super) const FAMILY: u32 = 15;
    pub(in super::super) const PROTOCOL: u32 = 16;
    pub(in super::super) const BRIDGE_NAME: u32 = 17;
}

/// Flags and types of sets.
pub(super) mod set {
    pub(in super::super) const INTERVAL: u32 = 0x4;
    pub(in super::super) const MAP: u32 = 0x8;
    pub(in super::super) const TIMEOUT: u32 = 0x10;
    pub(in super::super) const DYNAMIC: u32 = 0x20;
    /// The flag of an element that is the first address after a range.
    pub(in super::super) const RANGE_END: u32 = 1;

    /// The number by which `nft` knows the type of keys, and of two in a row.
    pub(in super::super) const ADDRESS: u32 = 7;
    pub(in super::super) const TWO_ADDRESSES: u32 = ADDRESS << 6 | ADDRESS;
    pub(in super::super) const VERDICT: u32 = 0xffff_ff00;
}

/// Verdicts, as the kernel's signed numbers.
pub(super) mod verdict {
    pub(in super::super) const DROP: i32 = 0;
    pub(in super::super) const ACCEPT: i32 = 1;
    pub(in super::super) const JUMP: i32 = -3;
    pub(in super::super) const GOTO: i32 = -4;
    pub(in super::super) const RETURN: i32 = -5;
}

/// Kinds of attributes, in modules by what they describe.
pub(super) mod attribute {
    /// An element of a list.
    pub(in super::super) const ELEMENT: u16 = 1;

    pub(in super::super) mod table {
        pub(in super::super::super) const NAME: u16 = 1;
        pub(in super::super::super) const FLAGS: u16 = 2;
    }
    pub(in super::super) mod chain {
        pub(in super::super::super) const TABLE: u16 = 1;
        pub(in super::super::super) const NAME: u16 = 3;
        pub(in super::super::super) const HOOK: u16 = 4;
        pub(in super::super::super) const POLICY: u16 = 5;
        pub(in super::super::super) const TYPE: u16 = 7;
        pub(in super::super::super) const HOOK_NUMBER: u16 = 1;
        pub(in super::super::super) const HOOK_PRIORITY: u16 = 2;
    }
    pub(in super::super) mod rule {
        pub(in super::super::super) const TABLE: u16 = 1;
        pub(in super::super::super) const CHAIN: u16 = 2;
        pub(in super::super::super) const EXPRESSIONS: u16 = 4;
    }
    pub(in super::super) mod set {
        pub(in super::super::super) const TABLE: u16 = 1;
        pub(in super::super::super) const NAME: u16 = 2;
        pub(in super::super::super) const FLAGS: u16 = 3;
        pub(in super::super::super) const KEY_TYPE: u16 = 4;
        pub(in super::super::super) const KEY_LENGTH: u16 = 5;
        pub(in super::super::super) const DATA_TYPE: u16 = 6;
        pub(in super::super::super) const DATA_LENGTH: u16 = 7;
        pub(in super::super::super) const DESCRIPTION: u16 = 9;
        pub(in super::super::super) const SIZE: u16 = 1;
        pub(in super::super::super) const ID: u16 = 10;
        pub(in super::super::super) const TIMEOUT: u16 = 11;
    }
    pub(in super::super) mod elements {
        pub(in super::super::super) const TABLE: u16 = 1;
        pub(in super::super::super) const SET: u16 = 2;
        pub(in super::super::super) const LIST: u16 = 3;
        pub(in super::super::super) const KEY: u16 = 1;
        pub(in super::super::super) const DATA: u16 = 2;
        pub(in super::super::super) const FLAGS: u16 = 3;
        pub(in super::super::super) const EXPIRES: u16 = 5;
        pub(in super::super::super) const EXPRESSION: u16 = 7;
        pub(in super::super::super) const EXPRESSIONS: u16 = 11;
    }
    pub(in super::super) mod data {
        pub(in super::super::super) const VALUE: u16 = 1;
        pub(in super::super::super) const VERDICT: u16 = 2;
        pub(in super::super::super) const VERDICT_CODE: u16 = 1;
        pub(in super::super::super) const VERDICT_CHAIN: u16 = 2;
    }
    pub(in super::super) mod expression {
        pub(in super::super::super) const NAME: u16 = 1;
        pub(in super::super::super) const DATA: u16 = 2;
    }
}
