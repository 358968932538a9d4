//! The opening handshake (RFC 6455, section 4.2): what a client asks for, and whether it gets it.

use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use orinoco_actors::{Resume, View};
use orinoco_domain::DeviceId;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use crate::http::{
    Viewer,
    problem::Problem,
    query::{Query, wrong},
};

const VERSION: &str = "13";
/// A key is 16 bytes in base64.
const KEY_LENGTH: usize = 24;
/// An epoch of ours is shorter; any other is a position that can't be recovered.
const EPOCH_LENGTH_MAX: usize = 64;

/// What a client wants to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// All that it may see, where none.
    pub(super) device: Option<DeviceId>,
    pub(super) resume: Option<Resume>,
}

impl Wish {
    /// `[?device=D][&offset=N&epoch=E]`
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let query = Query::parse(query, &["device", "offset", "epoch"])?;
        let device = query.device("device")?;
        let resume = match (query.number("offset", 0..=u64::MAX)?, query.text("epoch")) {
            (None, None) => None,
            (Some(_), _) | (_, Some(_)) if device.is_none() => {
                return Err(wrong("device", "is missing; a position to resume at belongs to one device"));
            }
            (Some(_), None) => return Err(wrong("epoch", "is missing; `offset` and `epoch` go together")),
            (None, Some(_)) => return Err(wrong("offset", "is missing; `offset` and `epoch` go together")),
            (Some(_), Some(epoch)) if epoch.is_empty() || epoch.len() > EPOCH_LENGTH_MAX => {
                return Err(wrong("epoch", "is none; give that of the last coordinates received"));
            }
            (Some(offset), Some(epoch)) => Some(Resume { offset, epoch: epoch.to_owned() }),
        };
        Ok(Self { device, resume })
    }

    /// What the viewer gets to see; `None` where that is another's device.
    pub(super) fn view(&self, viewer: &Viewer) -> Option<View> {
        match &self.device {
            None => Some(viewer.view.clone()),
            Some(device) => viewer.may_see(device).then(|| View::Device(device.clone())),
        }
    }
}

/// The value of `Sec-WebSocket-Accept`.
///
/// # Errors
/// 400 or 426: this is no opening handshake of version 13.
pub(super) fn accept_key(version: Version, headers: &HeaderMap) -> Result<String, Problem> {
    if version < Version::HTTP_11
        || !has_token(headers, UPGRADE, "websocket")
        || !has_token(headers, CONNECTION, "upgrade")
    {
        return Err(upgrade_required("this is a WebSocket: connect with `ws://` or `wss://`"));
    }
    if single(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(upgrade_required("use version 13 of the WebSocket protocol (RFC 6455)"));
    }
    if single(headers, HOST).is_none() {
        return Err(Problem::bad_request("send one header `Host`"));
    }
    let key = single(headers, SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or_else(|| Problem::bad_request("header `Sec-WebSocket-Key` must be 16 bytes in base64"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

/// 101. Neither a subprotocol nor an extension is used.
pub(super) fn switching_protocols(accept_key: &str) -> Option<Response> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept_key).ok()?);
    Some(response)
}

fn upgrade_required(detail: &str) -> Problem {
    Problem::new(StatusCode::UPGRADE_REQUIRED, detail)
        .header(UPGRADE, HeaderValue::from_static("websocket"))
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION))
}

fn has_token(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn single(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

/// 22 characters of base64 and two of padding.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == KEY_LENGTH && key.ends_with(b"==") && key[..KEY_LENGTH - 2].iter().all(is_base64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(changes: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usual = [
            ("host", "localhost"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in usual.iter().chain(changes) {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_key_of_the_standard_gives_its_answer() {
        let accepted = accept_key(Version::HTTP_11, &headers(&[])).unwrap();
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let upper = headers(&[("upgrade", "WebSocket"), ("connection", "UPGRADE")]);
        assert!(accept_key(Version::HTTP_11, &upper).is_ok());
    }

    #[test]
    fn what_is_no_handshake_is_told_the_version_to_use() {
        let cases = [
            headers(&[("upgrade", "h2c")]),
            headers(&[("connection", "close")]),
            headers(&[("sec-websocket-version", "8")]),
        ];
        for headers in cases {
            let refused = accept_key(Version::HTTP_11, &headers).unwrap_err().into_response();
            assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED);
            assert_eq!(refused.headers()[SEC_WEBSOCKET_VERSION], "13");
            assert_eq!(refused.headers()[UPGRADE], "websocket");
        }
        assert!(accept_key(Version::HTTP_10, &headers(&[])).is_err());
    }

    #[test]
    fn a_key_must_be_sixteen_bytes_in_base64() {
        for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ=x", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZQ==AAAA"]
        {
            let refused = accept_key(Version::HTTP_11, &headers(&[("sec-websocket-key", key)])).unwrap_err();
            assert_eq!(refused.into_response().status(), StatusCode::BAD_REQUEST, "{key}");
        }
        let mut twice = headers(&[]);
        twice.append(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert!(accept_key(Version::HTTP_11, &twice).is_err());
        let mut without_host = headers(&[]);
        without_host.remove(HOST);
        assert!(accept_key(Version::HTTP_11, &without_host).is_err());
    }

    #[test]
    fn a_wish_is_all_or_one_device_or_a_position_of_one() {
        let device = DeviceId::parse("D").unwrap();
        assert_eq!(Wish::parse("").unwrap(), Wish { device: None, resume: None });
        assert_eq!(Wish::parse("device=D").unwrap(), Wish { device: Some(device.clone()), resume: None });
        let resume = Some(Resume { offset: 41, epoch: "e1".to_owned() });
        assert_eq!(Wish::parse("device=D&offset=41&epoch=e1").unwrap(), Wish { device: Some(device), resume });
    }

    #[test]
    fn an_incomplete_or_wrong_wish_names_its_parameter() {
        let cases = [
            ("device=a%20b", "device"),
            ("device=", "device"),
            ("offset=1&epoch=e", "device"),
            ("epoch=e", "device"),
            ("device=D&offset=1", "epoch"),
            ("device=D&epoch=e", "offset"),
            ("device=D&offset=-1&epoch=e", "offset"),
            ("device=D&offset=1&epoch=", "epoch"),
            ("devices=D", "devices"),
            ("device=D&device=E", "device"),
        ];
        for (query, parameter) in cases {
            let refused = format!("{:?}", Wish::parse(query).unwrap_err());
            assert!(refused.contains(&format!("parameter `{parameter}`")), "{query}: {refused}");
        }
    }

    #[test]
    fn nobody_watches_another_s_device() {
        let device = |name: &str| DeviceId::parse(name).unwrap();
        let own = Viewer::of(View::Device(device("a")));
        assert_eq!(Wish::parse("").unwrap().view(&own), Some(View::Device(device("a"))));
        assert_eq!(Wish::parse("device=a").unwrap().view(&own), Some(View::Device(device("a"))));
        assert_eq!(Wish::parse("device=b").unwrap().view(&own), None);
        let all = Viewer::of(View::All);
        assert_eq!(Wish::parse("device=b").unwrap().view(&all), Some(View::Device(device("b"))));
    }
}
