//! Who may connect, and where a client may publish. Fails closed.

use std::sync::Arc;
use std::time::Duration;

use rmqtt::acl::{Action, AuthInfo, Permission, Rule, Topic};
use rmqtt::session::Session;
use rmqtt::types::{AuthResult, ConnectInfo, LastWill};

use super::options::{Authenticator, BrokerOptions, Decision};
use super::panic::caught;

pub(super) struct Authentication {
    anonymous: bool,
    authenticator: Option<Arc<dyn Authenticator>>,
    timeout: Duration,
}

impl Authentication {
    pub(super) fn new(options: &BrokerOptions) -> Self {
        Self {
            anonymous: options.anonymous,
            authenticator: options.authenticator.clone(),
            timeout: options.authentication_timeout,
        }
    }

    /// Decides about a CONNECT. rmqtt asks only for clients with a user name while anonymous ones are allowed.
    ///
    /// Never superuser, whose messages rmqtt passes by the hooks, and so by the intake.
    pub(super) async fn check(&self, connect: &ConnectInfo) -> AuthResult {
        let Some(authenticator) = &self.authenticator else {
            return if self.anonymous { AuthResult::Allow(false, None) } else { AuthResult::NotAuthorized };
        };
        let check = authenticator.check(
            connect.username().map(|username| &**username),
            connect.password().map(|password| &**password),
            connect.client_id(),
        );
        match tokio::time::timeout(self.timeout, caught(check)).await {
            Ok(Ok(Decision::Allow { publish_prefix: None })) => AuthResult::Allow(false, None),
            Ok(Ok(Decision::Allow { publish_prefix: Some(prefix) })) => {
                if will_topic(connect).is_some_and(|topic| !topic.starts_with(&prefix)) {
                    return AuthResult::NotAuthorized;
                }
                AuthResult::Allow(false, Some(auth_info(prefix)))
            }
            Ok(Ok(Decision::Deny)) => AuthResult::NotAuthorized,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(client_id = %connect.client_id(), "the check of an MQTT client failed or took too long; refused");
                AuthResult::NotAuthorized
            }
        }
    }
}

fn will_topic(connect: &ConnectInfo) -> Option<&str> {
    connect.last_will().map(|will| match will {
        LastWill::V3(will) => &*will.topic,
        LastWill::V5(will) => &*will.topic,
    })
}

/// The prefix travels with rmqtt's session in the place of a rule; [`prefix`] reads it there.
fn auth_info(prefix: String) -> AuthInfo {
    let rule = Rule {
        permission: Permission::Allow,
        action: Action::All,
        qos: None,
        retain: None,
        topic: Topic { eq_topic_filter: Some(prefix), topic_filter: None },
    };
    AuthInfo { superuser: false, expire_at: None, rules: vec![rule] }
}

/// Below which the client publishes and subscribes; `None`: anywhere.
pub(super) fn prefix(session: &Session) -> Option<&str> {
    session.auth_info.as_ref()?.rules.first()?.topic.eq_topic_filter.as_deref()
}
