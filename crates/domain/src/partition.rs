//! Partitions: which one a device belongs to, and how far one has been read.

use serde::{Deserialize, Serialize};

use crate::Axis;

/// The next offset to read of `coordX-p` and `coordY-p`: a partition of both topics is read and committed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    pub x: i64,
    pub y: i64,
}

impl Position {
    #[must_use]
    pub fn of(&self, axis: Axis) -> i64 {
        match axis {
            Axis::X => self.x,
            Axis::Y => self.y,
        }
    }

    pub fn set(&mut self, axis: Axis, next_offset: i64) {
        match axis {
            Axis::X => self.x = next_offset,
            Axis::Y => self.y = next_offset,
        }
    }

    /// Records between `self` and the end of the log.
    #[must_use]
    pub fn lag_behind(&self, end: &Self) -> u64 {
        let behind = (end.x - self.x).max(0) + (end.y - self.y).max(0);
        behind.unsigned_abs()
    }
}

/// Kafka's default partitioner for keyed records: murmur2 of the key, positive, modulo the count
/// (`org.apache.kafka.common.utils.Utils.murmur2`), so that any Java producer agrees with us.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    debug_assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// How many of `partitions` the owner at `rank` (from 0) of `owners` should have, so that all are had and none has two more than another.
/// It falls for nobody when another owner leaves, and rises for nobody when one joins: what moves is what the newcomer takes.
#[must_use]
pub fn fair_share(partitions: u32, owners: u32, rank: u32) -> u32 {
    debug_assert!(rank < owners, "an owner is one of them");
    partitions / owners + u32::from(rank < partitions % owners)
}

fn murmur2(data: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    // The reference takes a 32-bit length; a key is at most 64 bytes.
    let mut hash = 0x9747_b28c_u32 ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(MIX);
        word = (word ^ (word >> 24)).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ word;
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_kafka() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn shares_are_even_and_move_to_a_newcomer_only() {
        for partitions in 0..=40 {
            for owners in 1..=12 {
                let shares: Vec<u32> = (0..owners).map(|rank| fair_share(partitions, owners, rank)).collect();
                assert_eq!(shares.iter().sum::<u32>(), partitions);
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
                // Wherever the newcomer's name puts it, those behind it move back by one.
                for newcomer in 0..=owners {
                    let with_newcomer = |rank| fair_share(partitions, owners + 1, rank + u32::from(rank >= newcomer));
                    assert!((0..owners).all(|rank| with_newcomer(rank) <= fair_share(partitions, owners, rank)));
                }
            }
        }
    }

    #[test]
    fn lag_counts_both_axes_and_is_never_negative() {
        let position = Position { x: 5, y: 9 };
        assert_eq!(position.lag_behind(&Position { x: 7, y: 9 }), 2);
        assert_eq!(position.lag_behind(&Position { x: 0, y: 10 }), 1);
    }
}
