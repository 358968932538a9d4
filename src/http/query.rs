//! Query parameters and path segments, read strictly: what is unknown, repeated or of the wrong type is refused by its name.

use std::ops::RangeInclusive;

use orinoco_domain::DeviceId;
use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// 400: a parameter that is none of `known`, or that stands there twice.
    pub(crate) fn parse(raw: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            if !known.contains(&&*name) {
                let all = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let allowed = if known.is_empty() { "none".to_owned() } else { all };
                return Err(wrong(&name, &format!("is not known here; there is {allowed}")));
            }
            if pairs.iter().any(|(before, _)| *before == name) {
                return Err(wrong(&name, "is given twice; give it once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `limit`, the entries of one answer. More than `most` is taken for `most`: `next` leads to the rest.
    ///
    /// # Errors
    /// 400: no whole number, or none at all.
    pub(crate) fn limit(&self, usually: u64, most: u64) -> Result<usize, Problem> {
        let limit = self.number("limit", 1..=u64::MAX)?.unwrap_or(usually).min(most);
        // Far below what a machine can address.
        Ok(limit as usize)
    }

    /// # Errors
    /// 400: no whole number in the range.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(Some(number)),
            _ => {
                let allowed = match range.end() {
                    &u64::MAX => format!("use a whole number, {} or more", range.start()),
                    end => format!("use a whole number from {} to {end}", range.start()),
                };
                Err(wrong(name, &format!("is {text:?}; {allowed}")))
            }
        }
    }

    /// # Errors
    /// 400: no device's name.
    pub(crate) fn device(&self, name: &str) -> Result<Option<DeviceId>, Problem> {
        let device = self.text(name).map(DeviceId::parse).transpose();
        device.map_err(|invalid| wrong(name, &format!("is no device; {invalid}")))
    }
}

/// The device in a path, percent-decoded (RFC 3986, section 2.1).
///
/// # Errors
/// 400: no device's name.
pub(crate) fn device_segment(segment: &str) -> Result<DeviceId, Problem> {
    let name = percent_decode_str(segment).decode_utf8_lossy();
    DeviceId::parse(&name).map_err(|invalid| Problem::bad_request(format!("the device in the path is none; {invalid}")))
}

/// 400 about one parameter, which is also the problem's member `parameter`.
pub(crate) fn wrong(name: &str, what: &str) -> Problem {
    Problem::bad_request(format!("parameter `{name}` {what}")).member("parameter", name.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_parameters_are_decoded() {
        let query = Query::parse("device=a%2Db&limit=10", &["device", "limit"]).unwrap();
        assert_eq!(query.device("device").unwrap(), Some(DeviceId::parse("a-b").unwrap()));
        assert_eq!(query.number("limit", 1..=10).unwrap(), Some(10));
        assert_eq!(query.number("after", 0..=u64::MAX).unwrap(), None);
    }

    #[test]
    fn a_limit_beyond_the_most_is_the_most() {
        let limit = |raw: &str| Query::parse(raw, &["limit"]).unwrap().limit(100, 1000).map_err(|_| ());
        assert_eq!([limit(""), limit("limit=7"), limit("limit=1001")], [Ok(100), Ok(7), Ok(1000)]);
        assert_eq!([limit("limit=0"), limit("limit=-1"), limit("limit=all")], [Err(()); 3]);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let refused = |raw: &str| format!("{:?}", Query::parse(raw, &["limit", "after"]).unwrap_err());
        assert!(refused("limt=1").contains("`limt` is not known here; there is `limit`, `after`"));
        assert!(refused("limit=1&limit=2").contains("`limit` is given twice"));
        assert!(format!("{:?}", Query::parse("x", &[]).unwrap_err()).contains("there is none"));
    }

    #[test]
    fn only_plain_whole_numbers_in_range_are_numbers() {
        for text in ["", "-1", "+1", "1.0", "0", "1001", "99999999999999999999", "1e2", "١"] {
            let query = Query::parse(&format!("limit={}", text.replace('+', "%2B")), &["limit"]).unwrap();
            let refused = query.number("limit", 1..=1000).unwrap_err();
            assert!(format!("{refused:?}").contains("use a whole number from 1 to 1000"), "{text:?}");
        }
    }

    #[test]
    fn a_device_in_a_path_is_decoded_and_checked() {
        assert_eq!(device_segment("a%2Db").unwrap().as_str(), "a-b");
        for segment in ["a%20b", "%ff", "%2e%2f", "a+b"] {
            assert!(device_segment(segment).is_err(), "{segment}");
        }
    }
}
