//! DUP and packet identifier of a message: paho's Rust `Message` has them, but shows them only in its `Debug` text.

use std::fmt::{self, Write};

use paho_mqtt::Message;

/// The header's end stands within this much of the text; the payload is not part of it.
const TEXT_BYTES_MAX: usize = 384;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) is_duplicate: bool,
    /// `None` at QoS 0.
    pub(super) packet_id: Option<u16>,
}

impl Metadata {
    /// `None` where the text is not as it was in paho-mqtt 0.14: a test notices, the caller is careful.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let mut head = Head { text: [0; TEXT_BYTES_MAX], length: 0 };
        // Ends with an error as soon as there is enough.
        let _ = write!(head, "{message:?}");
        let text = std::str::from_utf8(&head.text[..head.length]).ok()?;
        let duplicate = field(text, "dup: ")?;
        let packet_id = field(text, "msgid: ")?;
        Some(Self { is_duplicate: duplicate != 0, packet_id: Some(packet_id).filter(|id| *id != 0) })
    }
}

fn field(text: &str, name: &str) -> Option<u16> {
    let (_, rest) = text.split_once(name)?;
    let (number, _) = rest.split_once(',')?;
    number.parse().ok()
}

/// The beginning of a text, up to the field behind those that are wanted.
struct Head {
    text: [u8; TEXT_BYTES_MAX],
    length: usize,
}

impl Write for Head {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.text.get_mut(self.length..self.length + piece.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(piece.as_bytes());
        self.length += piece.len();
        if piece.contains("properties") { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a real delivery: tests/services/mqtt.rs.
    #[test]
    fn the_text_of_this_version_of_paho_is_understood() {
        let message = Message::new("a/dup: 1,/msgid: 9,", b"dup: 1, msgid: 9, properties".to_vec(), 1);
        assert_eq!(Metadata::of(&message), Some(Metadata { is_duplicate: false, packet_id: None }));
    }
}
