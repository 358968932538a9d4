//! Kafka's primitive types: big endian, strings with 2 bytes of length, arrays and bytes with 4; in records, zigzag varints.

/// A request's body.
#[derive(Debug, Default)]
pub(in crate::kafka_log) struct Writer(pub(in crate::kafka_log) Vec<u8>);

impl Writer {
    pub(in crate::kafka_log) fn int8(&mut self, value: i8) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(in crate::kafka_log) fn int16(&mut self, value: i16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(in crate::kafka_log) fn int32(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(in crate::kafka_log) fn int64(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(in crate::kafka_log) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.int32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(value);
        self
    }

    /// Topic names and client ids are short.
    pub(in crate::kafka_log) fn string(&mut self, value: &str) -> &mut Self {
        let bytes = &value.as_bytes()[..value.len().min(i16::MAX.unsigned_abs().into())];
        self.int16(i16::try_from(bytes.len()).unwrap_or(i16::MAX));
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Reads from the front; `None` where there is not enough, or a length makes no sense.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka_log) struct Reader<'a>(pub(in crate::kafka_log) &'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::kafka_log) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn fixed<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.bytes(LENGTH)?.try_into().ok()
    }

    pub(in crate::kafka_log) fn int8(&mut self) -> Option<i8> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub(in crate::kafka_log) fn int16(&mut self) -> Option<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(in crate::kafka_log) fn int32(&mut self) -> Option<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(in crate::kafka_log) fn int64(&mut self) -> Option<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub(in crate::kafka_log) fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.int16()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// Number of elements; null is none.
    pub(in crate::kafka_log) fn array(&mut self) -> Option<usize> {
        Some(usize::try_from(self.int32()?).unwrap_or(0))
    }

    /// Null is empty.
    pub(in crate::kafka_log) fn nullable_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int32()?).unwrap_or(0);
        self.bytes(length)
    }

    /// Protocol Buffers' zigzag encoding.
    pub(in crate::kafka_log) fn varlong(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.fixed::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }

    pub(in crate::kafka_log) fn varint(&mut self) -> Option<i32> {
        self.varlong()?.try_into().ok()
    }

    /// `Some(None)` for null.
    pub(in crate::kafka_log) fn varint_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.varint()?;
        if length < 0 {
            return Some(None);
        }
        self.bytes(usize::try_from(length).ok()?).map(Some)
    }
}
