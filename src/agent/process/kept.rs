//! The newest bytes of one stream of output.

use std::collections::VecDeque;

/// The newest bytes of a stream, and where they stand in it.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: VecDeque<u8>,
    /// The position of the first byte that is still there.
    start: u64,
    /// How many bytes are there at most.
    bound: usize,
}

impl Kept {
    pub(super) fn new(bound: usize) -> Self {
        Self { bytes: VecDeque::new(), start: 0, bound }
    }

    /// The position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The position from which a new reader gets the newest `keep` bytes.
    pub(super) fn newest(&self, keep: usize) -> u64 {
        self.start.max(self.end().saturating_sub(keep as u64))
    }

    /// The first position that stays when `more` bytes are added.
    pub(super) fn start_after(&self, more: usize) -> u64 {
        self.start.max((self.end() + more as u64).saturating_sub(self.bound as u64))
    }

    /// Adds bytes, and drops the oldest beyond the bound.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.drop_beyond(self.bound);
    }

    /// Drops all but the newest `keep` bytes, and gives back the memory.
    pub(super) fn finish(&mut self, keep: usize) {
        self.drop_beyond(keep);
        self.bytes.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// At most `most` bytes from position `at` on, or from the first one that is still there, with their position.
    pub(super) fn read(&self, at: u64, most: usize) -> Option<(u64, Vec<u8>)> {
        let at = at.max(self.start);
        let skipped = usize::try_from(at - self.start).ok().filter(|skipped| *skipped < self.bytes.len())?;
        let end = self.bytes.len().min(skipped + most);
        let (front, back) = self.bytes.as_slices();
        let mut read = Vec::with_capacity(end - skipped);
        if skipped < front.len() {
            read.extend_from_slice(&front[skipped..end.min(front.len())]);
        }
        if end > front.len() {
            read.extend_from_slice(&back[skipped.saturating_sub(front.len())..end - front.len()]);
        }
        Some((at, read))
    }

    fn drop_beyond(&mut self, bound: usize) {
        let excess = self.bytes.len().saturating_sub(bound);
        self.bytes.drain(..excess);
        self.start += excess as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept_at_their_positions() {
        let mut kept = Kept::new(10);
        let mut all = Vec::new();
        for round in 0..50_u8 {
            let more: Vec<u8> = (0..round % 7).map(|byte| round.wrapping_mul(31).wrapping_add(byte)).collect();
            let start = kept.start_after(more.len());
            kept.push(&more);
            all.extend(more);
            assert_eq!(kept.end(), all.len() as u64);
            assert_eq!(start, kept.newest(usize::MAX));
            assert_eq!(kept.len(), all.len().min(10));
            for at in 0..=all.len() {
                for most in [1, 3, 100] {
                    let from = at.max(usize::try_from(start).unwrap());
                    let expected = &all[from..all.len().min(from + most)];
                    let expected = (!expected.is_empty()).then(|| (from as u64, expected.to_vec()));
                    assert_eq!(kept.read(at as u64, most), expected, "{at} {most}");
                }
            }
        }
        assert_eq!(kept.read(u64::MAX, 1), None);
        kept.finish(4);
        assert_eq!(kept.read(0, 100).unwrap(), (all.len() as u64 - 4, all[all.len() - 4..].to_vec()));
    }
}
