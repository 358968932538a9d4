//! WebSocket messages as bytes, server to client: unmasked, unfragmented (RFC 6455, section 5.2).

use bytes::{BufMut, Bytes, BytesMut};

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// Why a socket is closed (RFC 6455, section 7.4; 3000 to 4999 are ours to define).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// The client went, or asked to.
    pub const NORMAL: Self = Self { code: 1000, reason: "" };
    /// The daemon stops, or the session failed: connect again, resume.
    pub const RESTART: Self = Self { code: 1012, reason: "service restart" };
    /// The client reads more slowly than its device moves.
    pub const SLOW: Self = Self { code: 3008, reason: "slow" };
    /// Nothing was heard of the client.
    pub const IDLE: Self = Self { code: 3009, reason: "no pong" };
}

/// A text message, header and payload.
#[must_use]
pub fn text_message(text: &str) -> Bytes {
    message(TEXT, text.as_bytes())
}

/// The payload of a text message of ours.
pub(crate) fn text_of(message: &[u8]) -> &[u8] {
    let header = match message.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    message.get(header..).unwrap_or_default()
}

/// A ping without payload.
#[must_use]
pub fn ping_message() -> Bytes {
    message(PING, &[])
}

#[must_use]
pub fn close_message(close: Close) -> Bytes {
    debug_assert!(close.reason.len() <= 123, "a control frame holds 125 bytes");
    let mut payload = close.code.to_be_bytes().to_vec();
    payload.extend_from_slice(close.reason.as_bytes());
    message(CLOSE, &payload)
}

/// Length of the header before a payload of `length` bytes.
pub(crate) fn header_length(length: usize) -> usize {
    match length {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

fn message(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(header_length(payload.len()) + payload.len());
    bytes.put_u8(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => bytes.put_u8(length as u8),
        length @ 126..=65_535 => {
            bytes.put_u8(126);
            bytes.put_u16(length as u16);
        }
        length => {
            bytes.put_u8(127);
            bytes.put_u64(length as u64);
        }
    }
    bytes.put_slice(payload);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_three_lengths_of_the_standard() {
        assert_eq!(&text_message("ab")[..], b"\x81\x02ab");
        assert_eq!(&text_message(&"x".repeat(126))[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(&text_message(&"x".repeat(65_536))[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
        for length in [0, 125, 126, 65_535, 65_536] {
            assert_eq!(text_of(&text_message(&"x".repeat(length))).len(), length);
        }
        assert_eq!(&ping_message()[..], b"\x89\0");
        assert_eq!(&close_message(Close::SLOW)[..], b"\x88\x06\x0b\xc0slow");
    }
}
