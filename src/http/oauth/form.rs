//! Parameters: `application/x-www-form-urlencoded` in the body alone, each once (RFC 6749, section 3.2).

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use super::error::OAuthError;
use crate::http::problem::Problem;

/// Parameters of a request.
const PARAMETERS_MAX: usize = 64;
/// Characters of a parameter's name that are repeated to its client.
const NAME_SHOWN_MAX: usize = 40;

/// Unknown parameters are ignored; one without a value counts as left out.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// 400, 415.
    pub(super) fn parse(headers: &HeaderMap, query: &str, body: &[u8]) -> Result<Self, OAuthError> {
        if !query.is_empty() {
            return Err(OAuthError::invalid_request("send parameters in the body, not in the URL"));
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let detail = "send parameters with the header `Content-Type: application/x-www-form-urlencoded`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if pairs.len() == PARAMETERS_MAX {
                let detail = format!("there are more than {PARAMETERS_MAX} parameters; send fewer");
                return Err(OAuthError::invalid_request(detail));
            }
            if pairs.iter().any(|(before, _)| *before == name) {
                let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
                return Err(OAuthError::invalid_request(format!("parameter `{name}` is given twice; give it once")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// # Errors
    /// `invalid_request`.
    pub(super) fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.text(name).ok_or_else(|| OAuthError::invalid_request(format!("parameter `{name}` is missing")))
    }
}

/// The public client that asks: named, and without a secret.
///
/// # Errors
/// `invalid_client`; `invalid_request` where it is not named.
pub(super) fn client<'a>(form: &'a Form, headers: &HeaderMap, known: &[String]) -> Result<&'a str, OAuthError> {
    let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if authorization.is_some_and(|value| value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))) {
        return Err(OAuthError::client_without_secret());
    }
    if ["client_secret", "client_assertion"].iter().any(|name| form.text(name).is_some()) {
        return Err(OAuthError::invalid_client("clients have no secret here; send client_id alone"));
    }
    let client = form.required("client_id")?;
    if known.iter().any(|id| id == client) {
        return Ok(client);
    }
    Err(OAuthError::invalid_client("the client is not known; an administrator lists it in auth.oauth_clients"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    fn parse(body: &str) -> Result<Form, String> {
        let headers = headers(&[(CONTENT_TYPE, "Application/x-www-form-urlencoded; charset=utf-8")]);
        Form::parse(&headers, "", body.as_bytes()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_left_out() {
        let form = parse("grant_type=urn%3Aietf+x&scope=&else=1").unwrap();
        assert_eq!(form.text("grant_type"), Some("urn:ietf x"));
        assert_eq!(form.text("scope"), None);
        assert!(format!("{:?}", form.required("scope").unwrap_err()).contains("`scope` is missing"));
    }

    #[test]
    fn a_parameter_stands_once_and_in_the_body() {
        assert!(parse("token=a&token=a").err().unwrap().contains("`token` is given twice"));
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|number| format!("p{number}=1")).collect();
        assert!(parse(&many[1..].join("&")).is_ok());
        assert!(parse(&many.join("&")).err().unwrap().contains("more than 64"));
        let form = headers(&[(CONTENT_TYPE, "application/x-www-form-urlencoded")]);
        assert!(Form::parse(&form, "token=a", b"").is_err());
        assert!(Form::parse(&headers(&[(CONTENT_TYPE, "application/json")]), "", b"{}").is_err());
    }

    #[test]
    fn only_a_listed_client_without_a_secret_is_let_in() {
        let known = ["orinoco-cli".to_owned()];
        let try_in = |body: &str, pairs: &[(http::HeaderName, &'static str)]| {
            let form = parse(body).unwrap();
            client(&form, &headers(pairs), &known).map(str::to_owned).map_err(|error| format!("{error:?}"))
        };
        assert_eq!(try_in("client_id=orinoco-cli&client_secret=", &[]), Ok("orinoco-cli".to_owned()));
        assert!(try_in("client_id=Orinoco-cli", &[]).unwrap_err().contains("401"));
        assert!(try_in("client_id=", &[]).unwrap_err().contains("`client_id` is missing"));
        assert!(try_in("client_id=orinoco-cli&client_secret=x", &[]).unwrap_err().contains("invalid_client"));
        let basic = [(AUTHORIZATION, "bAsic b3Jpbm9jby1jbGk6")];
        assert!(try_in("client_id=orinoco-cli", &basic).unwrap_err().contains("www-authenticate"));
    }
}
