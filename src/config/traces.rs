//! What the section `telemetry` says of traces.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::kind::{Kind, Secrets};
use super::reader::Reader;
use super::source::Raw;
use super::{Config, HostPort, Secret, Telemetry};

const MILLION: f64 = 1_000_000.0;

/// A part of the whole, kept in millionths.
pub(super) struct Ratio;

impl Kind for Ratio {
    type Value = u32;

    fn parse(&self, raw: &Raw) -> Result<u32, String> {
        let wrong = |text: &str| format!("{text} is no part of the whole; use a number from 0 to 1, such as 0.01");
        let text = match raw {
            Raw::Integer(number) => number.to_string(),
            Raw::Fraction(text) | Raw::Untyped(text) => text.clone(),
            other => return Err(format!("is {}; use a number from 0 to 1, without quotes", other.what())),
        };
        let ratio: f64 = text.parse().map_err(|_| wrong(&text))?;
        if (0.0..=1.0).contains(&ratio) { Ok((ratio * MILLION).round() as u32) } else { Err(wrong(&text)) }
    }

    fn show(&self, value: &u32, _: Secrets) -> Value {
        match value {
            0 => Value::from(0),
            1_000_000 => Value::from(1),
            _ => Value::from(f64::from(*value) / MILLION),
        }
    }

    fn allowed(&self) -> String {
        "0 to 1, in millionths".to_owned()
    }
}

/// `telemetry.otlp_headers`, name by name.
///
/// # Errors
/// What is wrong; follows the name of the key, and repeats nothing of the value.
pub fn otlp_headers(headers: &Secret) -> Result<Vec<(http::HeaderName, http::HeaderValue)>, &'static str> {
    let parse = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or("must be name=value pairs, separated by commas")?;
        let name = name.trim().parse().map_err(|_| "holds what is no name of a header (RFC 9110, section 5.1)")?;
        let value: Vec<u8> = percent_decode_str(value.trim()).collect();
        let value = http::HeaderValue::from_bytes(&value);
        let mut value = value.map_err(|_| "holds what is no value of a header (RFC 9110, section 5.5)")?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    headers.expose().split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(parse).collect()
}

impl Telemetry {
    /// Whether spans go to a collector by https.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.otlp_endpoint.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    /// What is allowed, and yet shows the headers to whoever listens.
    pub(super) fn headers_advice(&self) -> Option<String> {
        let url = self.otlp_endpoint.as_ref()?;
        let in_the_clear = !self.is_encrypted() && !url.hosts().iter().all(HostPort::is_loopback);
        (in_the_clear && self.otlp_headers.is_some())
            .then(|| format!("telemetry.otlp_headers go to {url} in the clear; use https"))
    }
}

pub(super) fn check(config: &Config, reader: &mut Reader) {
    let telemetry = &config.telemetry;
    if let Some(Err(problem)) = telemetry.otlp_headers.as_ref().map(otlp_headers) {
        reader.reject(&["telemetry.otlp_headers"], problem);
    }
    if telemetry.otlp_tls_ca.is_some() && !telemetry.is_encrypted() {
        let problem = "has no effect without TLS: set telemetry.otlp_endpoint = \"https://...\"";
        reader.reject(&["telemetry.otlp_tls_ca"], problem);
    }
    let Some(url) = &telemetry.otlp_endpoint else { return };
    if url.has_credentials() || url.expose().contains(['?', '#']) || url.hosts().len() != 1 {
        let problem =
            "must be one host, with a port and a path at most; what proves who we are stands in telemetry.otlp_headers";
        reader.reject(&["telemetry.otlp_endpoint"], problem);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Flags, Loaded, tests::load_text};

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        let parse = |text: &str| Ratio.parse(&Raw::Untyped(text.to_owned()));
        for (text, expected) in [("0", 0), ("1", 1_000_000), ("0.01", 10_000), ("1e-6", 1), ("1.0", 1_000_000)] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "-0.1", "1.1", "NaN", "inf", "half", "1%"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(Ratio.parse(&Raw::Fraction("0.5".to_owned())), Ok(500_000));
        assert!(Ratio.parse(&Raw::Text("0.5".to_owned())).is_err());
        assert_eq!(Ratio.show(&10_000, Secrets::Hidden), Value::from(0.01));
    }

    #[test]
    fn headers_are_read_as_the_standard_variable_has_them() {
        let headers = otlp_headers(&Secret::new("Authorization=Bearer%20a=b, x-tenant=7,")).unwrap();
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("authorization", &b"Bearer a=b"[..]), ("x-tenant", b"7")]);
        for text in ["token", "a b=c", "a=%0a"] {
            let problem = otlp_headers(&Secret::new(text)).unwrap_err();
            assert!(!problem.contains(text), "{problem}");
        }
    }

    /// What follows the section's name, in a file.
    fn load(lines: &str) -> Result<Loaded, String> {
        let (loaded, _folder) = load_text(&format!("[telemetry]\n{lines}"), &[], Flags::default());
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn headers_are_not_sent_in_the_clear_without_a_word() {
        let advice = |endpoint: &str| {
            let lines = format!("otlp_endpoint = \"{endpoint}\"\notlp_headers = \"Authorization=s3cret\"\n");
            load(&lines).unwrap().advice()
        };
        let in_the_clear = advice("http://collector.example:4318");
        assert!(
            in_the_clear.len() == 1 && in_the_clear[0].starts_with("telemetry.otlp_headers go to http://collector")
        );
        assert!(!in_the_clear[0].contains("s3cret"), "{in_the_clear:?}");
        for endpoint in ["https://collector.example:4318", "http://127.0.0.1:4318"] {
            assert_eq!(advice(endpoint), Vec::<String>::new(), "{endpoint}");
        }
    }

    #[test]
    fn an_authority_without_tls_is_refused() {
        for endpoint in ["", "otlp_endpoint = \"http://127.0.0.1:4318\"\n"] {
            let problem = load(&format!("{endpoint}otlp_tls_ca = \"ca.pem\"\n")).unwrap_err();
            assert!(
                problem.contains("telemetry.otlp_tls_ca") && problem.contains("no effect without TLS"),
                "{problem}"
            );
        }
    }
}
