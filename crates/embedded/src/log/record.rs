//! A log record as bytes.

use orinoco_domain::{Axis, RawRecord};

use crate::codec::{Fields, Malformed, PutFields as _};

/// `timestamp_ms i64 | key length + 1 (0: no key) u32 | key | headers u32 | (name | value)* | value`.
pub(super) fn encode(record: &RawRecord, bytes: &mut Vec<u8>) {
    bytes.put_i64(record.timestamp_ms);
    bytes.put_u8(u8::from(record.key.is_some()));
    if let Some(key) = &record.key {
        bytes.put_bytes(key);
    }
    bytes.put_u32(u32::try_from(record.headers.len()).unwrap_or(u32::MAX));
    for (name, value) in &record.headers {
        bytes.put_bytes(name.as_bytes());
        bytes.put_bytes(value);
    }
    bytes.extend_from_slice(&record.value);
}

pub(super) fn decode(bytes: &[u8]) -> Result<RawRecord, Malformed> {
    let mut fields = Fields(bytes);
    let timestamp_ms = fields.i64()?;
    let key = if fields.u8()? == 0 { None } else { Some(fields.bytes()?.to_vec()) };
    let mut headers = Vec::new();
    for _ in 0..fields.u32()? {
        headers.push((fields.text()?.to_owned(), fields.bytes()?.to_vec()));
    }
    Ok(RawRecord { key, value: fields.0.to_vec(), headers, timestamp_ms })
}

/// Where a record of a partition stands: `axis u8 | offset i64`, in front of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) axis: Axis,
    pub(super) offset: i64,
}

impl Stand {
    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        bytes.put_u8(match self.axis {
            Axis::X => 0,
            Axis::Y => 1,
        });
        bytes.put_i64(self.offset);
    }

    /// The stand, and the record's own bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut fields = Fields(bytes);
        let axis = match fields.u8()? {
            0 => Axis::X,
            1 => Axis::Y,
            _ => return Err(Malformed),
        };
        let offset = fields.i64()?;
        Ok((Self { axis, offset }, fields.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_survives_a_round_trip(
            (key, value, headers, timestamp_ms) in any::<(Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>, i64)>(),
            (is_x, offset) in any::<(bool, i64)>(),
        ) {
            let record = RawRecord { key, value, headers, timestamp_ms };
            let stand = Stand { axis: if is_x { Axis::X } else { Axis::Y }, offset };
            let mut bytes = Vec::new();
            stand.encode(&mut bytes);
            encode(&record, &mut bytes);
            let (decoded, rest) = Stand::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(decoded, stand);
            prop_assert_eq!(decode(rest), Ok(record));
        }
    }
}
