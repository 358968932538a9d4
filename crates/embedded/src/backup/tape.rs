//! The archive's outer form: ustar (POSIX.1-2017, pax, "ustar Interchange Format"), of regular files alone, so that `tar tf` shows it.
//!
//! It is canonical: name, length and time decide every byte of a header, padding is zero, two zero blocks end it. Reading makes the header
//! anew and compares, so that no byte can differ unnoticed; and none of what makes unpacking others' archives dangerous (links, devices,
//! directories, extensions that override a header) can occur. That is the reason for not taking a library that supports them.

pub(super) const BLOCK_BYTES: usize = 512;
/// What ends an archive.
pub(super) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];
pub(super) const NAME_BYTES_MAX: usize = 100;

const SIZE_AT: usize = 124;
const CHECKSUM_AT: usize = 148;
/// The largest size in octal digits; above, GNU's base-256 takes their place.
const OCTAL_SIZE_MAX: u64 = (1 << 33) - 1;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) length: u64,
    /// s since 1970.
    pub(super) time_s: u64,
}

impl Header {
    /// The name has at most [`NAME_BYTES_MAX`] bytes.
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        debug_assert!(self.name.len() <= NAME_BYTES_MAX);
        let mut block = [0; BLOCK_BYTES];
        block[..self.name.len()].copy_from_slice(self.name.as_bytes());
        put_octal(&mut block[100..108], 0o600);
        put_octal(&mut block[108..116], 0);
        put_octal(&mut block[116..124], 0);
        if self.length <= OCTAL_SIZE_MAX {
            put_octal(&mut block[SIZE_AT..SIZE_AT + 12], self.length);
        } else {
            block[SIZE_AT] = 0x80;
            block[SIZE_AT + 4..SIZE_AT + 12].copy_from_slice(&self.length.to_be_bytes());
        }
        put_octal(&mut block[136..148], self.time_s);
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&block);
        block[CHECKSUM_AT..CHECKSUM_AT + 6].copy_from_slice(format!("{sum:06o}").as_bytes());
        block[CHECKSUM_AT + 6..CHECKSUM_AT + 8].copy_from_slice(b"\0 ");
        block
    }

    /// `None` where the block is not what [`Self::encode`] makes.
    pub(super) fn decode(block: &[u8; BLOCK_BYTES]) -> Option<Self> {
        let name_bytes = block[..NAME_BYTES_MAX].iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES_MAX);
        let size = &block[SIZE_AT..SIZE_AT + 12];
        let length = match size.split_first_chunk::<4>() {
            Some(([0x80, 0, 0, 0], rest)) => u64::from_be_bytes(rest.try_into().ok()?),
            _ => octal(size)?,
        };
        let name = std::str::from_utf8(&block[..name_bytes]).ok()?.to_owned();
        let header = Self { name, length, time_s: octal(&block[136..148])? };
        (header.encode() == *block).then_some(header)
    }
}

/// Zero bytes that fill the last block of a file.
pub(super) fn padding_bytes(length: u64) -> usize {
    // Below a block.
    (length.next_multiple_of(BLOCK_BYTES as u64) - length) as usize
}

/// Digits and a NUL, as many as fit. What does not fit is cut off; reading notices it.
fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[text.len() - digits..]);
}

fn octal(field: &[u8]) -> Option<u64> {
    let (end, digits) = field.split_last()?;
    let text = std::str::from_utf8(digits).ok()?;
    if *end == 0 { u64::from_str_radix(text, 8).ok() } else { None }
}

/// The sum of all bytes, those of the checksum taken for spaces.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let counts = |at: usize| !(CHECKSUM_AT..CHECKSUM_AT + 8).contains(&at);
    let sum: u32 = block.iter().enumerate().filter(|(at, _)| counts(*at)).map(|(_, byte)| u32::from(*byte)).sum();
    sum + 8 * u32::from(b' ')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_written_and_any_changed_bit_is_noticed(
            name in "[a-z0-9/.-]{1,100}",
            length in prop_oneof![any::<u64>(), 0..10_000_u64],
            time_s in 0..1_u64 << 33,
            (at, bit) in (0..BLOCK_BYTES, 0..8_u8),
        ) {
            let header = Header { name, length, time_s };
            let mut block = header.encode();
            prop_assert_eq!(Header::decode(&block), Some(header.clone()));
            block[at] ^= 1 << bit;
            prop_assert_ne!(Header::decode(&block), Some(header));
        }
    }

    #[test]
    fn a_file_fills_whole_blocks() {
        let fills = [0, 1, 511, 512, 513].map(padding_bytes);
        assert_eq!(fills, [0, 511, 1, 0, 511]);
    }
}
