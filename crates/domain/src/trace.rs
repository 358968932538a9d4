//! W3C Trace Context: which trace a message belongs to, and whether it is recorded.

use std::fmt;

/// The header `traceparent` (W3C Trace Context, section 3.2). Neither id is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// `sampled`: the caller may have recorded the trace.
const SAMPLED: u8 = 0x01;
/// Those of version 00 (section 3.2.2.5) and `random-trace-id` of level 2; what is not known is not handed on.
const FLAGS_KNOWN: u8 = 0x03;
/// Of version 00: `00-` and 32, 16 and 2 digits.
const LENGTH: usize = 55;

impl TraceContext {
    /// `None` where an id is zero.
    #[must_use]
    pub fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        let flags = if is_sampled { SAMPLED } else { 0 };
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags })
    }

    /// `None` where the text must be ignored as the section says: the version is `ff`, an id is zero, a digit is none or in upper case, or
    /// the length is not that of the version. Of a version to come the part is read that version 00 has (section 3.2.4).
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let bytes = traceparent.as_bytes();
        let version = digits(bytes.get(..2)?)?;
        let is_whole = match (version, bytes.get(LENGTH)) {
            (0xff, _) => false,
            (_, None) => bytes.len() == LENGTH,
            (0, Some(_)) => false,
            (_, Some(next)) => *next == b'-',
        };
        if !is_whole || [2, 35, 52].into_iter().any(|at| bytes[at] != b'-') {
            return None;
        }
        let trace_id = digits(&bytes[3..35])?;
        let span_id = digits(&bytes[36..52])? as u64;
        let flags = digits(&bytes[53..LENGTH])? as u8 & FLAGS_KNOWN;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags })
    }

    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// `parent-id`: the span that is the parent of what follows.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, of a span in it. Zero is no span, and gives that of one.
    #[must_use]
    pub fn with_span(self, span_id: u64) -> Self {
        Self { span_id: span_id.max(1), ..self }
    }

    /// A span below this one. The same `seed` gives the same span: what is tried again is not another span. `seed` tells apart those that
    /// have one parent.
    #[must_use]
    pub fn child(self, seed: u64) -> Self {
        self.with_span(mix(self.span_id ^ mix(seed)))
    }
}

/// SplitMix64's last step (Steele, Lea, Flood 2014): every bit of the answer hangs on every bit of `value`.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// As version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Hexadecimal, in lower case, 32 of them at most.
fn digits(bytes: &[u8]) -> Option<u128> {
    bytes.iter().try_fold(0_u128, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The example of section 3.2.3.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standard_s_example_is_read_and_written_back() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.span_id(), context.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.to_string(), EXAMPLE);
        assert!(!TraceContext::parse(&EXAMPLE.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_section_3_2_forbids_is_ignored() {
        let zero_trace = EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16));
        let wrong = [
            String::new(),
            "00".to_owned(),
            zero_trace,
            zero_span,
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replace("4bf9", "4BF9"),
            EXAMPLE.replace("4bf9", "4bg9"),
            EXAMPLE.replace("4bf9", "4é9"),
            EXAMPLE.replace("-01", "-0"),
            EXAMPLE.replace("-01", "_01"),
            format!("{EXAMPLE}-"),
            format!("{EXAMPLE}0"),
            format!(" {EXAMPLE}"),
            format!("01{}0", &EXAMPLE[2..]),
        ];
        for text in wrong {
            assert_eq!(TraceContext::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_this_one_goes() {
        let whole = TraceContext::parse(EXAMPLE);
        for text in [EXAMPLE.replacen("00", "01", 1), format!("cc{}-what-the-future-will-be-like", &EXAMPLE[2..])] {
            assert_eq!(TraceContext::parse(&text), whole, "{text}");
        }
        assert_eq!(TraceContext::parse(&EXAMPLE.replace("-01", "-ff")).unwrap().flags(), FLAGS_KNOWN);
    }

    #[test]
    fn a_child_is_another_span_of_the_trace_and_always_the_same_one() {
        let parent = TraceContext::parse(EXAMPLE).unwrap();
        let child = parent.child(1);
        assert_eq!((child.trace_id(), child.is_sampled()), (parent.trace_id(), true));
        assert_eq!(child, parent.child(1));
        assert!(child != parent && child != parent.child(2));
        assert_eq!(parent.with_span(0).span_id(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1_u128.., span_id in 1_u64.., is_sampled: bool) {
            let context = TraceContext::new(trace_id, span_id, is_sampled).unwrap();
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }

        #[test]
        fn any_text_is_read_or_ignored(text in "\\PC{0,64}") {
            let _ = TraceContext::parse(&text);
        }
    }
}
