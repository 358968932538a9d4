//! Which Kafka a broker is. The protocol does not say, but it says which `metadata.version` the broker supports, and each release has its own.
//!
//! One `ApiVersions` request of version 3 (KIP-511, KIP-584) on a connection of its own, as rskafka keeps the answers to itself.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::connection::Security;

/// The request whole: length, key 18, version 3, correlation id 1, client id `orinoco`, no tags; then software name and version, no tags.
const REQUEST: &[u8] = b"\0\0\0\x1d\0\x12\0\x03\0\0\0\x01\0\x07orinoco\0\x08orinoco\x021\0";
/// An answer is a few hundred bytes.
const ANSWER_BYTES_MAX: u32 = 64 * 1024;
const SUPPORTED_FEATURES_TAG: u64 = 0;

/// `Kafka 3.9 (metadata.version 21)`, as the first of the brokers has it that says so; `None` where none does, as those that keep their
/// metadata in ZooKeeper.
pub(super) async fn of_cluster(brokers: &[String], security: &Security, call_timeout: Duration) -> Option<String> {
    for broker in brokers {
        if let Ok(Some(level)) = timeout(call_timeout, metadata_version(broker, security)).await {
            return Some(format!("Kafka {} (metadata.version {level})", release(level)));
        }
    }
    None
}

/// The release that introduced a level, by Kafka's `MetadataVersion`.
fn release(level: i16) -> &'static str {
    match level {
        ..=7 => "3.3 or older",
        8 => "3.4",
        9..=11 => "3.5",
        12..=14 => "3.6",
        15..=19 => "3.7",
        20 => "3.8",
        21 => "3.9",
        22..=25 => "4.0",
        26..=27 => "4.1",
        28.. => "4.2 or newer",
    }
}

async fn metadata_version(address: &str, security: &Security) -> Option<i16> {
    let mut stream = security.connect(address).await.ok()?;
    stream.write_all(REQUEST).await.ok()?;
    stream.flush().await.ok()?;
    let length = stream.read_u32().await.ok().filter(|length| *length <= ANSWER_BYTES_MAX)?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.ok()?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Option<i16> {
    let mut reader = Reader(answer);
    let _correlation_id = reader.take(4)?;
    if reader.i16()? != 0 {
        return None;
    }
    for _ in 1..reader.varint()? {
        // Key, lowest and highest version.
        reader.take(6)?;
        reader.skip_tags()?;
    }
    let _throttle_time_ms = reader.take(4)?;
    for _ in 0..reader.varint()? {
        let (tag, length) = (reader.varint()?, reader.varint()?);
        let mut content = Reader(reader.take(length)?);
        if tag != SUPPORTED_FEATURES_TAG {
            continue;
        }
        for _ in 1..content.varint()? {
            let name_length = content.varint()?.checked_sub(1)?;
            let name = content.take(name_length)?;
            let (_lowest, highest) = (content.i16()?, content.i16()?);
            content.skip_tags()?;
            if name == b"metadata.version" {
                return Some(highest);
            }
        }
    }
    None
}

/// Kafka's flexible encoding: lengths are unsigned varints, of arrays and strings one more than there are.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            let (_tag, length) = (self.varint()?, self.varint()?);
            self.take(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_length_that_it_says() {
        assert_eq!(usize::from(REQUEST[3]), REQUEST.len() - 4);
    }

    #[test]
    fn the_highest_level_is_found_and_a_broken_answer_is_none() {
        // Correlation id, no error, one key, throttle time, and two tags, of which the second is the features.
        let mut answer = b"\0\0\0\x01\0\0\x02\0\x12\0\0\0\x04\0\0\0\0\0\x02\x01\x01\x07".to_vec();
        answer.extend(b"\0\x17\x02\x11metadata.version\0\x01\0\x15\0");
        assert_eq!(parse(&answer), Some(21));
        assert_eq!(release(21), "3.9");
        for end in 0..answer.len() {
            assert_eq!(parse(&answer[..end]), None, "{end}");
        }
    }
}
