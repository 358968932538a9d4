//! Bodies of requests: bounded, in time, and read strictly: what is unknown, missing or of the wrong type is refused by its name.

use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// For all of a body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// 413, 408, and 400 where the client broke off.
pub(super) async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    bytes_max: usize,
) -> Result<Vec<u8>, Problem> {
    let reading = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk.map_err(|_| Problem::bad_request("the body broke off"))?;
            if bytes.len() + chunk.remaining() > bytes_max {
                let detail = format!("the body is longer than {bytes_max} bytes; send less");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            while chunk.has_remaining() {
                let piece = chunk.chunk();
                let length = piece.len();
                bytes.extend_from_slice(piece);
                chunk.advance(length);
            }
        }
        Ok(bytes)
    };
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    timeout(READ_TIMEOUT, reading).await.map_err(|_| late())?
}

/// A JSON object.
///
/// # Errors
/// 415 for another type, 400 naming what is wrong.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Also keeps HTML forms of other origins out: they can't send this type.
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let detail = "send a JSON object with the header `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    // serde would take the members of a structure from an array as well, by their order; of other values it tells this program's types.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::bad_request("the body is not a JSON object; send one"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {}", safe(&error))))
}

/// [`json`], where no body at all is a default one.
///
/// # Errors
/// As [`json`].
pub(super) fn json_or_default<T: DeserializeOwned + Default>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { json(headers, body) }
}

/// serde's sentence, unless it repeats a value: that may be a password in the wrong place.
fn safe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("invalid type") || text.starts_with("invalid value") {
        let expected = text.rsplit_once("expected ").map_or("another value", |(_, expected)| expected);
        return format!("a value has the wrong type, expected {expected}");
    }
    text
}

/// 400 about one field, which is also the problem's member `field`.
pub(super) fn wrong(field: &str, what: &impl std::fmt::Display) -> Problem {
    Problem::bad_request(format!("`{field}`: {what}")).member("field", field.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Default)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Body {
        #[serde(rename = "orinId")]
        _orin_id: Option<String>,
    }

    fn parse(content_type: &str, body: &str) -> Result<Body, String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
        json(&headers, body.as_bytes()).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn what_is_wrong_is_named_and_values_are_not_repeated() {
        assert!(parse("application/json; charset=utf-8", r#"{"orinId":"d"}"#).is_ok());
        assert!(parse("application/json", r#"{"orinID":"d"}"#).unwrap_err().contains("unknown field `orinID`"));
        assert!(parse("text/plain", "{}").unwrap_err().contains("415"));
        let error = parse("application/json", r#"{"orinId":4711}"#).unwrap_err();
        assert!(error.contains("expected a string") && !error.contains("4711"), "{error}");
        assert!(parse("application/json", "").is_err());
        for other in [" [\"d\"]", "null", "\"d\"", "1"] {
            assert!(parse("application/json", other).unwrap_err().contains("not a JSON object"), "{other}");
        }
        assert!(json_or_default::<Body>(&HeaderMap::new(), b"").is_ok());
    }

    #[tokio::test]
    async fn a_body_is_bounded_however_it_comes() {
        let chunks = |count: usize| futures_util::stream::iter((0..count).map(|_| Ok(&b"12345"[..])));
        assert_eq!(read(chunks(2), 10).await.unwrap(), b"1234512345");
        assert!(format!("{:?}", read(chunks(3), 10).await.unwrap_err()).contains("413"));
    }
}
