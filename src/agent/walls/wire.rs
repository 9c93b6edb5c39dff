//! Netlink's messages: a header, and attributes that may hold attributes. Writing, and reading what anybody may have written.

use rustix::io::Errno;

use super::numbers::message;

/// The bytes of a message's header, and of the second one that netfilter's messages have.
const HEADER: usize = 16;
const SECOND_HEADER: usize = 4;
/// Everything begins at a multiple of this.
const STEP: usize = 4;
const NESTED: u16 = 0x8000;
/// The bits of an attribute's kind that are not flags.
const KIND: u16 = 0x3fff;

/// Messages for the kernel, one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes one message. `fill` writes its attributes.
    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let subsystem = if kind < message::NF_TABLES << 8 { message::NF_TABLES } else { 0 };
        let start = self.bytes.len();
        self.bytes.extend([0; STEP]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | message::REQUEST).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; STEP]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(subsystem.to_be_bytes());
        fill(&mut Attributes { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + STEP].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The attributes of a message that is being written. None of ours comes near the 65,535 bytes that one may have.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Attributes that are written already.
    pub(super) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend(attributes);
    }

    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |bytes| bytes.extend(value));
    }

    /// A text; the kernel wants a zero behind it.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, |bytes| {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        });
    }

    pub(super) fn number(&mut self, kind: u16, number: u32) {
        self.put(kind, &number.to_be_bytes());
    }

    pub(super) fn long(&mut self, kind: u16, number: u64) {
        self.put(kind, &number.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.attribute(kind | NESTED, |bytes| fill(&mut Attributes { bytes }));
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self.bytes);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(STEP), 0);
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// How what was asked for has ended, if this message ends it.
    pub(super) fn end(&self) -> Option<Result<(), Errno>> {
        if !matches!(self.kind, message::ERROR | message::DONE) {
            return None;
        }
        // The number is negative. The end of a dump may come without one.
        let number = self.payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        Some(match number {
            Some(0) => Ok(()),
            None if self.kind == message::DONE => Ok(()),
            Some(number @ -4095..0) => Err(Errno::from_raw_os_error(-number)),
            _ => Err(Errno::IO),
        })
    }

    pub(super) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    pub(super) fn body(&self) -> Body<'a> {
        Body(self.payload.get(SECOND_HEADER..).unwrap_or_default())
    }
}

/// The messages in what one receive has brought; ends at the first that is not whole.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(STEP)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    })
}

/// Attributes that were received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    /// Kinds and values; ends at the first attribute that is not whole.
    pub(super) fn attributes(self) -> impl Iterator<Item = (u16, Body<'a>)> {
        let mut bytes = self.0;
        std::iter::from_fn(move || {
            let &[l0, l1, k0, k1] = bytes.first_chunk()?;
            let length = usize::from(u16::from_ne_bytes([l0, l1]));
            let value = bytes.get(STEP..length)?;
            bytes = bytes.get(length.next_multiple_of(STEP)..).unwrap_or_default();
            Some((u16::from_ne_bytes([k0, k1]) & KIND, Body(value)))
        })
    }

    pub(super) fn get(self, kind: u16) -> Option<Body<'a>> {
        self.attributes().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    pub(super) fn number(self, kind: u16) -> Option<u32> {
        self.get(kind)?.0.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn long(self, kind: u16) -> Option<u64> {
        self.get(kind)?.0.try_into().ok().map(u64::from_be_bytes)
    }

    /// A text, up to its zero.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?.0;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }
}
