//! The last records, in memory: what a redelivery is compared with.

use std::collections::VecDeque;

use orinoco_ports::JournalEntry;

use super::record;

/// A ring of encoded records. At either bound the oldest goes, and its memory holds the new one.
#[derive(Debug)]
pub(super) struct Tail {
    records: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    records_max: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, records_max, bytes_max }
    }

    pub(super) fn push(&mut self, sequence: u64, payload: &[u8]) {
        let mut memory = Vec::new();
        while self.records.len() >= self.records_max || self.bytes + payload.len() > self.bytes_max {
            let Some((_, oldest)) = self.records.pop_front() else { return };
            self.bytes -= oldest.len();
            memory = oldest;
        }
        memory.clear();
        // A large record's memory is not kept for small ones.
        memory.shrink_to(payload.len().saturating_mul(4));
        memory.extend_from_slice(payload);
        self.bytes += payload.len();
        self.records.push_back((sequence, memory));
    }

    /// The last `records_max`, oldest first.
    pub(super) fn last(&self, records_max: usize) -> Vec<JournalEntry> {
        let skipped = self.records.len().saturating_sub(records_max);
        let decode = |(sequence, payload): &(u64, Vec<u8>)| {
            let record = record::decode(payload);
            debug_assert!(record.is_ok(), "it was encoded, or read with its checksum");
            record.ok().map(|record| JournalEntry { sequence: *sequence, record })
        };
        self.records.iter().skip(skipped).filter_map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_by_records_and_by_bytes() {
        let mut tail = Tail::new(3, 10);
        for sequence in 1..=5 {
            tail.push(sequence, &[0; 2]);
        }
        assert_eq!((tail.records.len(), tail.bytes), (3, 6));
        tail.push(6, &[0; 7]);
        assert_eq!((tail.records.len(), tail.bytes), (2, 9));
        tail.push(7, &[0; 11]);
        assert_eq!((tail.records.len(), tail.bytes), (0, 0), "what is larger than all is left out");
    }
}
