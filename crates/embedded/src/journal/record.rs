//! A journal record as bytes.

use orinoco_ports::JournalRecord;

use crate::codec::{Fields, Malformed, PutFields as _};

const HAS_TRACEPARENT: u8 = 1;
const HAS_PACKET_ID: u8 = 1 << 1;
const REDELIVERED: u8 = 1 << 2;

/// `flags u8 | ingest_epoch u64 | received_ms i64 | [packet_id u16] | topic | [traceparent] | payload`.
pub(super) fn encode(record: &JournalRecord, bytes: &mut Vec<u8>) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    bytes.put_u8(
        flag(record.traceparent.is_some(), HAS_TRACEPARENT)
            | flag(record.packet_id.is_some(), HAS_PACKET_ID)
            | flag(record.redelivered, REDELIVERED),
    );
    bytes.put_u64(record.ingest_epoch);
    bytes.put_i64(record.received_ms);
    if let Some(packet_id) = record.packet_id {
        bytes.put_u16(packet_id);
    }
    bytes.put_bytes(record.topic.as_bytes());
    if let Some(traceparent) = &record.traceparent {
        bytes.put_bytes(traceparent.as_bytes());
    }
    bytes.extend_from_slice(&record.payload);
}

pub(super) fn decode(bytes: &[u8]) -> Result<JournalRecord, Malformed> {
    let mut fields = Fields(bytes);
    let flags = fields.u8()?;
    let has = |flag: u8| flags & flag != 0;
    Ok(JournalRecord {
        redelivered: has(REDELIVERED),
        ingest_epoch: fields.u64()?,
        received_ms: fields.i64()?,
        packet_id: if has(HAS_PACKET_ID) { Some(fields.u16()?) } else { None },
        topic: fields.text()?.to_owned(),
        traceparent: if has(HAS_TRACEPARENT) { Some(fields.text()?.to_owned()) } else { None },
        payload: fields.0.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_survives_a_round_trip(
            (topic, payload, traceparent) in (".*", any::<Vec<u8>>(), any::<Option<String>>()),
            (packet_id, redelivered, ingest_epoch, received_ms) in any::<(Option<u16>, bool, u64, i64)>(),
        ) {
            let record = JournalRecord { topic, payload, traceparent, packet_id, redelivered, ingest_epoch, received_ms };
            let mut bytes = Vec::new();
            encode(&record, &mut bytes);
            prop_assert_eq!(decode(&bytes), Ok(record));
        }
    }
}
