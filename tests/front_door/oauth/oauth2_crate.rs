//! A device that logs in with the crate `oauth2`: device grant with `slow_down`, refresh, introspection, revocation.

use std::{cell::RefCell, convert::Infallible, time::Duration};

use oauth2::{
    AccessToken, AuthType, ClientId, DeviceAuthorizationUrl, HttpRequest, HttpResponse, IntrospectionUrl, RefreshToken,
    RequestTokenError, RevocationUrl, StandardDeviceAuthorizationResponse, TokenIntrospectionResponse, TokenResponse,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponseType},
};
use serde_json::json;

use super::{CLI, approve, metadata};
use crate::support::{Mode, World, exchange_http_with};

/// It refuses to revoke over http: the test is the proxy where TLS ends, and shows the token that introspection asks for.
async fn forward(address: &str, bearer: &str, request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let authorization = format!("Bearer {bearer}");
    let mut headers: Vec<(&str, &str)> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    if !bearer.is_empty() {
        headers.push(("authorization", &authorization));
    }
    let body = String::from_utf8(request.body().clone()).unwrap();
    let answer =
        exchange_http_with(address, request.method().as_str(), request.uri().path(), &headers, Some(&body)).await;
    let mut response = http::Response::builder().status(answer.status);
    if let Some(content_type) = answer.header("content-type") {
        response = response.header("content-type", content_type);
    }
    Ok(response.body(answer.body.into_bytes()).unwrap())
}

pub(super) async fn the_crate_oauth2_slows_down_logs_in_refreshes_introspects_and_revokes(mode: Mode) {
    let world = World::shared(mode).await;
    let address = world.daemon.http_address();
    let person = world.person().await;
    let metadata = metadata(world).await;
    let url = |name: &str| metadata[name].as_str().unwrap().replacen("http://", "https://", 1);
    let client = BasicClient::new(ClientId::new(CLI.to_owned()))
        .set_auth_type(AuthType::RequestBody)
        .set_device_authorization_url(DeviceAuthorizationUrl::new(url("device_authorization_endpoint")).unwrap())
        .set_token_uri(TokenUrl::new(url("token_endpoint")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(url("introspection_endpoint")).unwrap())
        .set_revocation_url(RevocationUrl::new(url("revocation_endpoint")).unwrap());
    let anybody = |request| forward(address, "", request);

    let asked: StandardDeviceAuthorizationResponse =
        client.exchange_device_code().request_async(&anybody).await.unwrap();
    assert!(asked.verification_uri_complete().is_some());
    // What it would wait for. It asks too early until it is told so, waits as long as that says, and is then answered as at first.
    let pauses = RefCell::new(Vec::new());
    let sleep = async |pause: Duration| {
        let seconds = pause.as_secs();
        let is_again = pauses.borrow().last() == Some(&seconds);
        pauses.borrow_mut().push(seconds);
        match (seconds, is_again) {
            (5, _) => {}
            (_, false) => tokio::time::sleep(pause).await,
            (_, true) => approve(address, &person.tokens, asked.user_code().secret()).await,
        }
    };
    let polling = client.exchange_device_access_token(&asked);
    let first = polling.request_async(&anybody, sleep, None).await.unwrap();
    // Pending (once, on a machine that is not too slow for it), slow_down, pending.
    let mut seen = pauses.into_inner();
    seen.dedup_by(|next, last| *next == 5 && *last == 5);
    assert_eq!(seen, [5, 10, 10]);

    let me = world.call("GET", "me", first.access_token().secret(), None).await.json();
    assert_eq!(me["email"], json!(person.email));
    let token = first.refresh_token().unwrap().clone();
    let second = client.exchange_refresh_token(&token).request_async(&anybody).await.unwrap();
    let refresh = second.refresh_token().unwrap().clone();
    assert_ne!(refresh.secret(), token.secret(), "it rotates");

    let holder = |request| forward(address, &person.tokens.access, request);
    for token in [second.access_token().secret(), refresh.secret()] {
        let token = AccessToken::new(token.clone());
        let shown = client.introspect(&token).request_async(&holder).await.unwrap();
        assert!(shown.active());
        assert_eq!(shown.client_id().map(|id| id.as_str()), Some(CLI));
    }
    client
        .revoke_token(RefreshToken::new(refresh.secret().clone()).into())
        .unwrap()
        .request_async(&anybody)
        .await
        .unwrap();
    let token = second.access_token().clone();
    assert!(!client.introspect(&token).request_async(&holder).await.unwrap().active());
    let refused = client.exchange_refresh_token(&refresh).request_async(&anybody).await;
    let Err(RequestTokenError::ServerResponse(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(*refused.error(), BasicErrorResponseType::InvalidGrant);
}
