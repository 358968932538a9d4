//! Which topics may be passed on to subscribers.

/// A topic name as MQTT 5.0 has it (sections 4.7.1 and 4.7.3: not empty, no wildcard, no NUL) and at most `levels_max` deep.
/// rmqtt checks none of this, and walks its trees recursively.
pub(super) fn can_be_forwarded(topic: &str, levels_max: usize) -> bool {
    let mut levels = 1;
    for byte in topic.bytes() {
        match byte {
            b'+' | b'#' | 0 => return false,
            b'/' => levels += 1,
            _ => {}
        }
    }
    !topic.is_empty() && levels <= levels_max
}

#[cfg(test)]
mod tests {
    use super::can_be_forwarded;

    #[test]
    fn a_topic_filter_is_no_topic_name() {
        assert!(can_be_forwarded("devices/D/coordX", 3));
        assert!(can_be_forwarded("$SYS/odd\nbut legal", 3));
        for odd in ["", "a/+", "#", "a\0b", "a/b/c/d"] {
            assert!(!can_be_forwarded(odd, 3), "{odd:?}");
        }
    }
}
