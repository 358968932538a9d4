//! Record batches (magic 2, <https://kafka.apache.org/documentation/#recordbatch>), read with more patience than rskafka has: null header
//! values, header names that are no UTF-8, control batches, times beyond the calendar.

use std::{collections::HashSet, io::Read};

use orinoco_domain::RawRecord;

use super::wire::Reader;

/// What a batch may grow to when decompressed.
const DECOMPRESSED_BYTES_MAX: u64 = 128 << 20;
/// Of what can't be read at all, so much is kept for the dead letter.
const UNREADABLE_BYTES_MAX: usize = 64 << 10;

const COMPRESSION_MASK: i16 = 0x07;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Key of a control record: version, then this for an abort.
const ABORT: i16 = 0;

/// A transaction that came to nothing: its batches from that offset on are skipped, up to its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
}

/// What a fetch brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) records: Vec<(i64, RawRecord)>,
    /// Where to go on; `None` where not even one batch was whole.
    pub(super) next: Option<i64>,
}

/// Reads all whole batches; the last one may be cut off. Records below `from` are left out.
pub(super) fn decode(bytes: &[u8], from: i64, mut aborted: Vec<Aborted>) -> Decoded {
    let mut decoded = Decoded::default();
    let mut aborting: HashSet<i64> = HashSet::new();
    let mut reader = Reader(bytes);
    while let Some(batch) = Batch::read(&mut reader) {
        aborted.retain(|transaction| {
            let begun = transaction.first_offset <= batch.base_offset + i64::from(batch.last_offset_delta);
            if begun {
                aborting.insert(transaction.producer_id);
            }
            !begun
        });
        if batch.attributes & CONTROL != 0 {
            if batch.is_abort() {
                aborting.remove(&batch.producer_id);
            }
        } else if batch.attributes & TRANSACTIONAL == 0 || !aborting.contains(&batch.producer_id) {
            decoded.records.extend(batch.records().into_iter().filter(|(offset, _)| *offset >= from));
        }
        decoded.next = Some(batch.base_offset + i64::from(batch.last_offset_delta) + 1);
    }
    decoded
}

struct Batch<'a> {
    base_offset: i64,
    attributes: i16,
    last_offset_delta: i32,
    first_timestamp: i64,
    producer_id: i64,
    count: usize,
    /// Maybe compressed.
    payload: &'a [u8],
    /// An older format: only its place is known.
    is_foreign: bool,
}

impl<'a> Batch<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let base_offset = reader.int64()?;
        let length = usize::try_from(reader.int32()?).ok()?;
        let whole = reader.bytes(length)?;
        let mut body = Reader(whole);
        let _leader_epoch = body.int32()?;
        if body.int8()? != 2 {
            let (attributes, first_timestamp) = (0, -1);
            return Some(Self {
                base_offset,
                attributes,
                last_offset_delta: 0,
                first_timestamp,
                producer_id: -1,
                count: 1,
                payload: whole,
                is_foreign: true,
            });
        }
        let _checksum = body.int32()?;
        let attributes = body.int16()?;
        let last_offset_delta = body.int32()?;
        let first_timestamp = body.int64()?;
        let _max_timestamp = body.int64()?;
        let producer_id = body.int64()?;
        let (_producer_epoch, _base_sequence) = (body.int16()?, body.int32()?);
        let count = body.array()?;
        Some(Self {
            base_offset,
            attributes,
            last_offset_delta,
            first_timestamp,
            producer_id,
            count,
            payload: body.0,
            is_foreign: false,
        })
    }

    fn is_abort(&self) -> bool {
        let kind = || {
            let (_, record) = self.read_record(&mut Reader(self.payload))?;
            let mut key = Reader(record.key.as_deref()?);
            let _version = key.int16()?;
            key.int16()
        };
        kind() == Some(ABORT)
    }

    /// What can be read, and behind it one record with the raw bytes of what can't.
    fn records(&self) -> Vec<(i64, RawRecord)> {
        let last_offset = self.base_offset + i64::from(self.last_offset_delta);
        let unreadable = |bytes: &[u8]| {
            let value = bytes[..bytes.len().min(UNREADABLE_BYTES_MAX)].to_vec();
            let record = RawRecord { value, timestamp_ms: self.first_timestamp, ..RawRecord::default() };
            vec![(last_offset, record)]
        };
        if self.is_foreign {
            return unreadable(self.payload);
        }
        let Some(payload) = decompress(self.attributes & COMPRESSION_MASK, self.payload) else {
            return unreadable(self.payload);
        };
        let mut reader = Reader(&payload);
        let mut records = Vec::with_capacity(self.count.min(payload.len()));
        for _ in 0..self.count {
            let at = reader;
            let Some(record) = self.read_record(&mut reader) else {
                records.extend(unreadable(at.0));
                break;
            };
            records.push(record);
        }
        records
    }

    /// `None` where it ends early or a length makes no sense.
    fn read_record(&self, reader: &mut Reader<'_>) -> Option<(i64, RawRecord)> {
        let length = usize::try_from(reader.varint()?).ok()?;
        let mut body = Reader(reader.bytes(length)?);
        let _attributes = body.int8()?;
        let timestamp_ms = self.first_timestamp.saturating_add(body.varlong()?);
        let offset = self.base_offset + i64::from(body.varint()?);
        let key = body.varint_bytes()?.map(<[u8]>::to_vec);
        let value = body.varint_bytes()?.unwrap_or_default().to_vec();
        let mut headers = Vec::new();
        for _ in 0..body.varint()? {
            let name = String::from_utf8_lossy(body.varint_bytes()??).into_owned();
            headers.push((name, body.varint_bytes()?.unwrap_or_default().to_vec()));
        }
        Some((offset, RawRecord { key, value, headers, timestamp_ms }))
    }
}

/// `None` where it can't be done, or would grow beyond all bounds.
fn decompress(compression: i16, bytes: &[u8]) -> Option<Vec<u8>> {
    let all = |reader: &mut dyn Read| {
        let mut output = Vec::new();
        let size = reader.take(DECOMPRESSED_BYTES_MAX).read_to_end(&mut output).ok()?;
        (u64::try_from(size).ok()? < DECOMPRESSED_BYTES_MAX).then_some(output)
    };
    match compression {
        0 => Some(bytes.to_vec()),
        1 => all(&mut flate2::read::GzDecoder::new(bytes)),
        2 => decompress_snappy(bytes),
        3 => all(&mut lz4::Decoder::new(bytes).ok()?),
        4 => all(&mut zstd::Decoder::new(bytes).ok()?),
        _ => None,
    }
}

/// Java's producers frame their blocks; others send one raw block.
fn decompress_snappy(bytes: &[u8]) -> Option<Vec<u8>> {
    const JAVA_HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    let block = |bytes: &[u8]| {
        let size = snap::raw::decompress_len(bytes).ok()?;
        let allowed = u64::try_from(size).ok()? < DECOMPRESSED_BYTES_MAX;
        allowed.then(|| snap::raw::Decoder::new().decompress_vec(bytes).ok()).flatten()
    };
    let Some(framed) = bytes.strip_prefix(JAVA_HEADER) else { return block(bytes) };
    let mut reader = Reader(framed);
    let mut output = Vec::new();
    while !reader.0.is_empty() {
        let length = usize::try_from(reader.int32()?).ok()?;
        output.extend(block(reader.bytes(length)?)?);
        if u64::try_from(output.len()).ok()? >= DECOMPRESSED_BYTES_MAX {
            return None;
        }
    }
    Some(output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::wire::Writer, *};

    fn varint(value: i64) -> Vec<u8> {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
            bytes.push(if rest > 0 { low | 0x80 } else { low });
            if rest == 0 {
                return bytes;
            }
        }
    }

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [varint(i64::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
    }

    /// A record with a key, and a header without a value.
    fn record(offset_delta: i64, key: &[u8], value: &[u8]) -> Vec<u8> {
        let parts = [
            &[0][..],
            &varint(5),
            &varint(offset_delta),
            &sized(key),
            &sized(value),
            &varint(1),
            &sized(b"h\xff"),
            &varint(-1),
        ];
        sized(&parts.concat())
    }

    fn batch(base_offset: i64, attributes: i16, producer_id: i64, records: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Writer::default();
        body.int32(0).int8(2).int32(0).int16(attributes);
        body.int32(i32::try_from(records.len()).unwrap() - 1).int64(1_000).int64(1_000);
        body.int64(producer_id).int16(0).int32(-1).int32(i32::try_from(records.len()).unwrap());
        body.0.extend(records.concat());
        let mut whole = Writer::default();
        whole.int64(base_offset).int32(i32::try_from(body.0.len()).unwrap());
        whole.0.extend(body.0);
        whole.0
    }

    fn values(decoded: &Decoded) -> Vec<(i64, String)> {
        let text = |(offset, record): &(i64, RawRecord)| (*offset, String::from_utf8_lossy(&record.value).into_owned());
        decoded.records.iter().map(text).collect()
    }

    fn pair(offset: i64, value: &str) -> (i64, String) {
        (offset, value.to_owned())
    }

    #[test]
    fn null_headers_and_odd_names_are_read() {
        let bytes = batch(7, 0, -1, &[record(0, b"k", b"1"), record(1, b"k", b"2")]);
        let decoded = decode(&bytes, 8, Vec::new());
        assert_eq!((values(&decoded), decoded.next), (vec![pair(8, "2")], Some(9)));
        let record = &decoded.records[0].1;
        assert_eq!((record.key.as_deref(), record.timestamp_ms), (Some(&b"k"[..]), 1_005));
        assert_eq!(record.headers, [("h\u{fffd}".to_owned(), Vec::new())]);
    }

    #[test]
    fn control_batches_are_passed_and_aborted_transactions_left_out() {
        let marker = |kind: u8| record(0, &[0, 0, 0, kind], b"");
        let bytes = [
            batch(0, TRANSACTIONAL, 1, &[record(0, b"", b"aborted")]),
            batch(1, TRANSACTIONAL, 2, &[record(0, b"", b"committed")]),
            batch(2, TRANSACTIONAL | CONTROL, 1, &[marker(0)]),
            batch(3, TRANSACTIONAL | CONTROL, 2, &[marker(1)]),
            batch(4, TRANSACTIONAL, 1, &[record(0, b"", b"another")]),
            batch(5, TRANSACTIONAL | CONTROL, 1, &[marker(1)]),
        ];
        let aborted = vec![Aborted { producer_id: 1, first_offset: 0 }];
        let decoded = decode(&bytes.concat(), 0, aborted);
        assert_eq!(values(&decoded), [pair(1, "committed"), pair(4, "another")]);
        assert_eq!(decoded.next, Some(6));
    }

    #[test]
    fn what_can_t_be_read_is_one_record_and_stops_nothing() {
        let broken = b"\x7fbroken".to_vec();
        let bytes = [
            batch(0, 0, -1, &[record(0, b"", b"1"), broken.clone(), broken]),
            batch(3, 2, -1, &[b"no snappy".to_vec()]),
            batch(4, 0, -1, &[record(0, b"", b"2")]),
        ];
        let cut_off = &batch(5, 0, -1, &[record(0, b"", b"3")])[..40];
        let decoded = decode(&[&bytes.concat(), cut_off].concat(), 0, Vec::new());
        assert_eq!(decoded.next, Some(5));
        let offsets: Vec<i64> = decoded.records.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 2, 3, 4]);
        assert_eq!((&*decoded.records[2].1.value, &*decoded.records[3].1.value), (&b"no snappy"[..], &b"2"[..]));
        assert_eq!(decode(cut_off, 0, Vec::new()), Decoded::default());
    }

    #[test]
    fn any_bytes_end_without_a_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole =
            [batch(0, 0, -1, &[record(0, b"k", b"1"), record(1, b"k", b"2")]), batch(2, 1, -1, &[vec![1, 2, 3]])]
                .concat();
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..5) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            decode(&bytes, 0, Vec::new());
        }
    }
}
