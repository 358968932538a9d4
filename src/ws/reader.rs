//! What a client sends, as WebSocket messages (RFC 6455, sections 5 to 7). Pure: bytes in, messages and pongs out.
//!
//! The protocol's state is tungstenite's; here it reads from memory, so that a socket which says nothing holds no buffer.

use std::io::{self, Read, Write};

use orinoco_actors::Close;
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

/// Bytes of a client's message; a longer one closes the socket with 1009.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that tungstenite copies at a time, and keeps a socket: a pong, or a frame's header.
const COPY_BYTES: usize = 64;
/// Bytes of pongs that wait for the client to read. At the bound the newest stays, which the standard allows (section 5.5.3).
const PONGS_BYTES_MAX: usize = 2048;

const PROTOCOL_ERROR: Close = Close { code: 1002, reason: "protocol error" };
const INVALID_TEXT: Close = Close { code: 1007, reason: "text is not UTF-8" };
const TOO_LONG: Close = Close { code: 1009, reason: "message too long" };

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Text(Utf8Bytes),
    /// It sent data that nobody reads, or answered a ping.
    Something,
    /// It wants to close; the code is the one to answer with. Nothing comes after it.
    Close(u16),
}

/// A client's side of the conversation.
pub(super) struct Reader {
    context: WebSocketContext,
    pongs: Vec<u8>,
    /// The client has closed, or broke the protocol: what else it sends is not looked at.
    is_over: bool,
}

impl Reader {
    pub(super) fn new() -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(COPY_BYTES)
            // Control messages are handed over one by one.
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        Self { context: WebSocketContext::new(Role::Server, Some(config)), pongs: Vec::new(), is_over: false }
    }

    /// Takes in all of `bytes`, and tells what they complete.
    ///
    /// # Errors
    /// How to close the socket: the client broke the protocol.
    pub(super) fn feed(&mut self, bytes: &[u8], mut said: impl FnMut(Said)) -> Result<(), Close> {
        let mut pipe = Pipe { unread: bytes, pongs: &mut self.pongs };
        while !self.is_over {
            match self.context.read(&mut pipe) {
                Ok(Message::Text(text)) => said(Said::Text(text)),
                Ok(Message::Close(frame)) => {
                    self.is_over = true;
                    said(Said::Close(frame.map_or(Close::NORMAL.code, |frame| frame.code.into())));
                }
                Ok(_) => said(Said::Something),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.is_over = true;
                    return Err(close_for(&error));
                }
            }
        }
        Ok(())
    }

    /// Whether what else comes is not looked at.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Answers to pings that are not sent yet.
    pub(super) fn has_pongs(&self) -> bool {
        !self.pongs.is_empty()
    }

    pub(super) fn take_pongs(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pongs)
    }

    /// Those that could not be sent, unless there are newer ones.
    pub(super) fn put_back_pongs(&mut self, pongs: Vec<u8>) {
        if self.pongs.is_empty() {
            self.pongs = pongs;
        }
    }
}

fn close_for(error: &Error) -> Close {
    match error {
        Error::Capacity(_) => TOO_LONG,
        Error::Utf8(_) => INVALID_TEXT,
        _ => PROTOCOL_ERROR,
    }
}

/// What tungstenite takes for the connection.
struct Pipe<'a> {
    unread: &'a [u8],
    pongs: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.unread.read(into)
    }
}

impl Write for Pipe<'_> {
    /// A whole control message, as nothing else is ever sent this way.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        if self.pongs.len() + message.len() > PONGS_BYTES_MAX {
            self.pongs.clear();
        }
        self.pongs.extend_from_slice(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const FIN: u8 = 0x80;
    const TEXT: u8 = 0x1;
    const CONTINUATION: u8 = 0x0;
    const CLOSE: u8 = 0x8;
    const PING: u8 = 0x9;
    const PONG: u8 = 0xA;

    /// A frame as clients send it: masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length @ 126..=65_535 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        bytes
    }

    fn read_in_pieces(bytes: &[u8], piece: usize) -> (Vec<Said>, Vec<u8>, Result<(), Close>) {
        let mut reader = Reader::new();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            if let Err(close) = reader.feed(piece, |said| all.push(said)) {
                return (all, reader.take_pongs(), Err(close));
            }
        }
        (all, reader.take_pongs(), Ok(()))
    }

    fn read(bytes: &[u8]) -> (Vec<Said>, Vec<u8>, Result<(), Close>) {
        read_in_pieces(bytes, usize::MAX)
    }

    fn text(text: &str) -> Said {
        Said::Text(text.to_owned().into())
    }

    #[test]
    fn a_fragmented_text_with_a_ping_in_the_middle_is_one_text_and_a_pong() {
        let bytes = [frame(TEXT, b"Hel"), frame(FIN | PING, b"?"), frame(FIN | CONTINUATION, b"lo")].concat();
        for piece in [1, 2, 3, 7, 100] {
            let (said, pongs, result) = read_in_pieces(&bytes, piece);
            assert_eq!(said, [Said::Something, text("Hello")]);
            assert_eq!(pongs, [FIN | PONG, 1, b'?']);
            assert_eq!(result, Ok(()));
        }
    }

    #[test]
    fn a_close_is_answered_with_its_code_and_ends_the_conversation() {
        let bytes = [frame(FIN | CLOSE, b"\x0b\xb8bye"), frame(FIN | TEXT, b"late")].concat();
        assert_eq!(read(&bytes), (vec![Said::Close(3000)], Vec::new(), Ok(())));
        assert_eq!(read(&frame(FIN | CLOSE, b"")).0, [Said::Close(1000)]);
        // 1005 is never sent (RFC 6455, section 7.4.1).
        assert_eq!(read(&frame(FIN | CLOSE, b"\x03\xed")).0, [Said::Close(1002)]);
    }

    #[test]
    fn what_breaks_the_protocol_is_told_by_its_close_code() {
        let unmasked = vec![FIN | TEXT, 1, b'x'];
        let too_long = frame(FIN | TEXT, &vec![b'x'; MESSAGE_BYTES_MAX + 1]);
        let too_long_in_parts = [frame(TEXT, &vec![b'x'; MESSAGE_BYTES_MAX]), frame(FIN | CONTINUATION, b"x")].concat();
        let cases: [(&str, Vec<u8>, Close); 12] = [
            ("unmasked", unmasked, PROTOCOL_ERROR),
            ("reserved bit", frame(FIN | 0x40 | TEXT, b"x"), PROTOCOL_ERROR),
            ("reserved opcode", frame(FIN | 0x3, b""), PROTOCOL_ERROR),
            ("reserved control opcode", frame(FIN | 0xB, b""), PROTOCOL_ERROR),
            ("fragmented ping", frame(PING, b""), PROTOCOL_ERROR),
            ("long ping", frame(FIN | PING, &[0; 126]), PROTOCOL_ERROR),
            ("continuation of nothing", frame(FIN | CONTINUATION, b"x"), PROTOCOL_ERROR),
            ("new text within a text", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), PROTOCOL_ERROR),
            ("close of one byte", frame(FIN | CLOSE, b"x"), PROTOCOL_ERROR),
            ("invalid UTF-8", frame(FIN | TEXT, b"\xff"), INVALID_TEXT),
            ("too long", too_long, TOO_LONG),
            ("too long in parts", too_long_in_parts, TOO_LONG),
        ];
        for (name, bytes, close) in cases {
            assert_eq!(read(&bytes).2, Err(close), "{name}");
        }
    }

    #[test]
    fn a_message_of_the_greatest_length_is_read() {
        let longest = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(read_in_pieces(&frame(FIN | TEXT, longest.as_bytes()), 4096).0, [text(&longest)]);
    }

    #[test]
    fn pongs_that_nobody_takes_stay_within_their_bound() {
        let mut reader = Reader::new();
        for round in 0..1000_u32 {
            reader.feed(&frame(FIN | PING, &[(round % 251) as u8; 125]), drop).unwrap();
        }
        let pongs = reader.take_pongs();
        assert!(!pongs.is_empty() && pongs.len() <= PONGS_BYTES_MAX);
        assert!(pongs.ends_with(&[(999 % 251) as u8; 125]), "the newest ping is answered");
        assert!(!reader.has_pongs());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_read_alike(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
            prop_assert_eq!(read_in_pieces(&bytes, piece), read(&bytes));
        }

        #[test]
        fn any_texts_in_any_pieces_arrive(texts in proptest::collection::vec(".{0,200}", 0..8), piece in 1..400_usize) {
            let bytes = texts.iter().flat_map(|text| frame(FIN | TEXT, text.as_bytes())).collect::<Vec<_>>();
            let expected: Vec<Said> = texts.iter().map(|one| text(one)).collect();
            prop_assert_eq!(read_in_pieces(&bytes, piece).0, expected);
        }
    }
}
