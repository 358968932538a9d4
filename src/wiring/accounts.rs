//! From the configuration to what decides about accounts and tokens.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use orinoco_actors::Health;
use orinoco_embedded::{
    accounts::SqliteAccounts,
    data_dir,
    login::{EmbeddedLoginOptions, EmbeddedLoginStore},
};
use orinoco_ports::{Accounts, LoginStore};
use orinoco_services::{PostgresAccounts, PostgresAccountsOptions, RedisLoginStore, RedisLoginStoreOptions};

use super::tls;
use crate::{
    auth::{
        AccessTokens, Auth, AuthOptions, AuthPolicy, KeyRing, LiveLogins, PasswordOptions, Passwords, RateLimits,
        Rotation, now_ms,
    },
    config::{Backend, Config, LimitsMode, Signup},
    control::LoginEnder,
    live::Live,
};

/// `/readyz` calls the accounts by this name.
pub(super) const ACCOUNTS_COMPONENT: &str = "accounts";
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// While they are away.
const PROBE_AGAIN_AFTER: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The accounts, for the daemon and for commands beside it.
///
/// # Errors
/// The file can't be opened, or the URL is none.
pub fn accounts(config: &Config) -> anyhow::Result<Arc<dyn Accounts>> {
    Ok(match config.postgres.backend {
        Backend::Embedded => Arc::new(SqliteAccounts::open(&data_dir::accounts_of(config.data_dir()))?),
        Backend::Service => Arc::new(PostgresAccounts::new(&postgres_options(config))?),
    })
}

pub(super) fn postgres_options(config: &Config) -> PostgresAccountsOptions {
    let mut options = PostgresAccountsOptions::new(tls::postgres_access(config));
    options.call_timeout = config.postgres.call_timeout;
    options
}

/// The embedded store is the daemon's alone.
pub(super) fn logins(config: &Config, data_dir: &data_dir::DataDir) -> anyhow::Result<Arc<dyn LoginStore>> {
    Ok(match config.redis_qr.backend {
        Backend::Embedded => Arc::new(EmbeddedLoginStore::open(&data_dir.logins(), EmbeddedLoginOptions::default())?),
        Backend::Service => Arc::new(RedisLoginStore::new(&redis_options(config))?),
    })
}

/// How a command beside the daemon ends logins.
///
/// # Errors
/// The URL is none.
pub fn shared_logins(config: &Config) -> anyhow::Result<LoginEnder> {
    Ok(match config.redis_qr.backend {
        Backend::Embedded => LoginEnder::Daemon(config.control_socket()),
        Backend::Service => LoginEnder::Store(Arc::new(RedisLoginStore::new(&redis_options(config))?)),
    })
}

pub(super) fn redis_options(config: &Config) -> RedisLoginStoreOptions {
    let mut options = RedisLoginStoreOptions::new(config.redis_qr.url.expose());
    options.tls = tls::options(config, "redis_qr");
    options.call_timeout = config.redis_qr.call_timeout;
    options.connections_max = config.redis_qr.pool_max;
    options
}

/// Reads the keys, and makes them where they are missing.
///
/// # Errors
/// The key file can't be read or written.
pub fn auth(config: &Config, accounts: Arc<dyn Accounts>, logins: Arc<dyn LoginStore>) -> anyhow::Result<Auth> {
    let token_ttl_ms = ms(config.auth.access_token_ttl);
    let rotation = Rotation { period_ms: ms(config.auth.key_rotation), token_ttl_ms };
    let keys = Arc::new(KeyRing::open(config.key_file(), rotation, now_ms()).context("auth.key_file")?);
    Ok(Auth {
        policy: Live::new(auth_policy(config)),
        options: AuthOptions { public_url: config.public_url(), oauth_clients: config.auth.oauth_clients.clone() },
        tokens: AccessTokens::new(Arc::clone(&keys), config.public_url(), token_ttl_ms),
        passwords: passwords(config)?,
        limits: RateLimits::new(config.limits.mode == LimitsMode::On),
        live: LiveLogins::new(token_ttl_ms),
        accounts,
        logins,
        keys,
    })
}

/// What may change while the daemon runs.
pub(super) fn auth_policy(config: &Config) -> AuthPolicy {
    AuthPolicy {
        signup_is_open: config.auth.signup == Signup::Open,
        refresh_token_ttl_ms: ms(config.auth.refresh_token_ttl),
        challenge_ttl_ms: ms(config.auth.challenge_ttl),
        audit_entries_max: config.auth.audit_entries_max,
    }
}

/// # Errors
/// Parameters that scrypt does not take together.
pub fn passwords(config: &Config) -> anyhow::Result<Passwords> {
    let auth = &config.auth;
    let options = PasswordOptions {
        log2_n: auth.password_log2_n,
        r: auth.password_r,
        p: auth.password_p,
        hashes_max: auth.password_hashes_max,
        waiting_max: auth.password_waiting_max,
    };
    Passwords::new(options).context("auth.password_log2_n, auth.password_r, auth.password_p")
}

/// Keeps `/readyz` informed about the accounts, for ever.
pub async fn watch_accounts(accounts: Arc<dyn Accounts>, health: Health) {
    loop {
        let probed = tokio::time::timeout(PROBE_TIMEOUT, accounts.probe()).await;
        let pause = if matches!(probed, Ok(Ok(_))) { PROBE_EVERY } else { PROBE_AGAIN_AFTER };
        match probed {
            Ok(Ok(_)) => health.up(ACCOUNTS_COMPONENT),
            Ok(Err(error)) => health.down(ACCOUNTS_COMPONENT, error),
            Err(_) => health.down(ACCOUNTS_COMPONENT, "no answer in time"),
        }
        tokio::time::sleep(pause).await;
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
