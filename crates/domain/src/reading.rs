//! What a device publishes: one number, with or without a time.

use serde_json::{Number, Value};

use crate::{InvalidTimestamp, Timestamp};

/// One axis value of one MQTT message.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The number as the device wrote it.
    pub message: String,
    /// The same, finite.
    pub value: f64,
    /// `None`: the device said none, the time of arrival stands in.
    pub timestamp: Option<Timestamp>,
}

/// Why a payload is a dead letter. The texts are the `reason` in `coord.dlq`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("payload is empty")]
    Empty,
    #[error("payload is not UTF-8")]
    NotUtf8,
    #[error("payload is neither a decimal number nor a JSON object")]
    NotANumber,
    #[error("number is not finite")]
    NotFinite,
    #[error("JSON object has no \"message\" that is a string or a number")]
    NoMessage,
    #[error("{0}")]
    Timestamp(#[from] InvalidTimestamp),
}

impl Reading {
    /// A bare decimal number, or `{"message": string or number, "timestamp"?: RFC 3339 string or epoch milliseconds}`.
    /// White space around either is ignored, further keys of the object as well.
    ///
    /// # Errors
    /// [`PayloadError`] for anything else, and for numbers that are not finite as f64.
    pub fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        let text = std::str::from_utf8(payload).map_err(|_| PayloadError::NotUtf8)?.trim();
        if text.is_empty() {
            return Err(PayloadError::Empty);
        }
        if text.starts_with('{') {
            return Self::parse_object(text);
        }
        let value = parse_decimal(text)?;
        Ok(Self { message: text.to_owned(), value, timestamp: None })
    }

    fn parse_object(text: &str) -> Result<Self, PayloadError> {
        let object: Value = serde_json::from_str(text).map_err(|_| PayloadError::NotANumber)?;
        let message = match object.get("message") {
            Some(Value::String(message)) => message.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(PayloadError::NoMessage),
        };
        let timestamp = match object.get("timestamp") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(Timestamp::parse(text)?),
            Some(Value::Number(number)) => Some(Timestamp::from_epoch_ms(epoch_ms(number)?)?),
            Some(_) => return Err(InvalidTimestamp.into()),
        };
        let value = parse_decimal(&message)?;
        Ok(Self { message, value, timestamp })
    }
}

/// Milliseconds with a fraction, as Python's `time.time() * 1000` gives them, count as the whole ones that have passed.
fn epoch_ms(number: &Number) -> Result<i64, InvalidTimestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "beyond i64 it saturates, which is no timestamp's year")]
    let whole = |ms: f64| ms.floor() as i64;
    number.as_i64().or_else(|| number.as_f64().map(whole)).ok_or(InvalidTimestamp)
}

/// A decimal number, with a sign and an exponent if there is one; `inf`, `nan` and hexadecimal are no numbers here.
pub(crate) fn parse_decimal(text: &str) -> Result<f64, PayloadError> {
    let decimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    match text.parse::<f64>() {
        Ok(value) if !value.is_finite() => Err(PayloadError::NotFinite),
        Ok(value) if text.bytes().all(decimal) => Ok(value),
        _ => Err(PayloadError::NotANumber),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bare_number_has_no_timestamp() {
        let reading = Reading::parse(b" 12.50\n").unwrap();
        assert_eq!((reading.message.as_str(), reading.value, reading.timestamp), ("12.50", 12.5, None));
        assert_eq!(Reading::parse(b"-1e-3").unwrap().value, -0.001);
    }

    #[test]
    fn an_object_carries_message_and_timestamp() {
        let reading = Reading::parse(br#"{"message":"12.5","timestamp":"2026-01-02T03:04:05.678Z"}"#).unwrap();
        assert_eq!(reading.message, "12.5");
        assert_eq!(reading.timestamp.unwrap().as_str(), "2026-01-02T03:04:05.678Z");
        let reading = Reading::parse(br#"{"message":12.5,"timestamp":1767323045678,"more":[]}"#).unwrap();
        assert_eq!(reading.timestamp.unwrap().as_str(), "2026-01-02T03:04:05.678Z");
        for fraction in ["1767323045678.9", "1.767323045678e12"] {
            let payload = format!(r#"{{"message":1,"timestamp":{fraction}}}"#);
            assert_eq!(
                Reading::parse(payload.as_bytes()).unwrap().timestamp.unwrap().as_str(),
                "2026-01-02T03:04:05.678Z"
            );
        }
        assert_eq!(Reading::parse(br#"{"message":1}"#).unwrap().timestamp, None);
    }

    #[test]
    fn anything_else_names_its_reason() {
        let cases: [(&[u8], PayloadError); 13] = [
            (b"", PayloadError::Empty),
            (b"  ", PayloadError::Empty),
            (b"\xff", PayloadError::NotUtf8),
            (b"abc", PayloadError::NotANumber),
            (b"0x10", PayloadError::NotANumber),
            (b"[1]", PayloadError::NotANumber),
            (b"{", PayloadError::NotANumber),
            (b"NaN", PayloadError::NotFinite),
            (b"1e999", PayloadError::NotFinite),
            (br#"{"message":"inf"}"#, PayloadError::NotFinite),
            (br#"{"message":null}"#, PayloadError::NoMessage),
            (br#"{"message":"1","timestamp":"soon"}"#, PayloadError::Timestamp(InvalidTimestamp)),
            (br#"{"message":"1","timestamp":1e300}"#, PayloadError::Timestamp(InvalidTimestamp)),
        ];
        for (payload, reason) in cases {
            assert_eq!(Reading::parse(payload), Err(reason), "{:?}", String::from_utf8_lossy(payload));
        }
    }
}
