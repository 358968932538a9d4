//! The text of events (WHATWG HTML, section 9.2.6). Pure.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;

/// How long the client shall wait before it connects again.
pub(super) fn retry(after: Duration) -> Bytes {
    format!("retry: {}\n\n", after.as_millis()).into()
}

/// What clients ignore.
pub(super) fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// `event: status`, with the record's version as id.
pub(super) fn status(version: u64, json: &str) -> Bytes {
    let mut text = format!("event: status\nid: {version}\n");
    for line in json.lines() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_eventsource_reads_them() {
        assert_eq!(retry(Duration::from_secs(2)), "retry: 2000\n\n");
        assert_eq!(comment(), ":\n\n");
        assert_eq!(status(3, r#"{"status":"PENDING"}"#), "event: status\nid: 3\ndata: {\"status\":\"PENDING\"}\n\n");
        assert_eq!(status(4, "{\n}"), "event: status\nid: 4\ndata: {\ndata: }\n\n");
    }
}
