//! A letter as text for a terminal: nothing in it can move the cursor or change colours.

use std::fmt::Write as _;

use orinoco_ports::StoredDeadLetter;

const BYTES_A_LINE: usize = 16;

/// Control characters as escapes.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { character.escape_default().to_string() } else { character.into() })
        .collect()
}

/// All of it.
pub(super) fn render(letter: &StoredDeadLetter) -> String {
    let StoredDeadLetter { cursor, id, letter } = letter;
    let mut text = format!(
        "cursor   {cursor}\nid       {}\ntime     {}\ntopic    {}\nreason   {}\n",
        printable(id.as_deref().unwrap_or("none")),
        printable(&letter.time),
        printable(&letter.topic),
        printable(&letter.reason),
    );
    match letter.payload() {
        Ok(payload) => {
            let _ = writeln!(text, "payload  {} bytes", payload.len());
            text.push_str(&body(&payload));
        }
        Err(error) => {
            let _ = writeln!(text, "payload  is no base64 ({error}): {}", printable(&letter.payload_base64));
        }
    }
    text
}

/// Text as it is, anything else as a hexdump.
fn body(payload: &[u8]) -> String {
    let is_plain = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    match std::str::from_utf8(payload) {
        Ok("") => String::new(),
        Ok(text) if text.chars().all(is_plain) => format!("{}\n", text.trim_end_matches('\n')),
        _ => hexdump(payload),
    }
}

fn hexdump(payload: &[u8]) -> String {
    let mut text = String::new();
    for (index, bytes) in payload.chunks(BYTES_A_LINE).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        let ascii: String = bytes
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        let _ = writeln!(text, "{:08x}  {hex:<width$} |{ascii}|", index * BYTES_A_LINE, width = BYTES_A_LINE * 3);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::fixtures::letter;

    #[test]
    fn text_is_shown_as_it_is() {
        let text = render(&letter(7, "devices/a/coordX", "{\"message\":\"é\"}\n".as_bytes()));
        assert!(text.ends_with("payload  17 bytes\n{\"message\":\"é\"}\n"), "{text}");
    }

    #[test]
    fn anything_else_is_a_hexdump() {
        let payload: Vec<u8> = (0..18).map(|byte| byte + 0x30).chain([0xff]).collect();
        assert_eq!(
            body(&payload),
            "00000000  30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  |0123456789:;<=>?|\n\
             00000010  40 41 ff                                         |@A.|\n"
        );
    }

    #[test]
    fn nothing_in_a_letter_reaches_the_terminal_as_a_control() {
        let text = render(&letter(7, "a\u{1b}[2Jb\n", b"\x1b[2J"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("topic    a\\u{1b}[2Jb\\n\n"), "{text}");
    }
}
