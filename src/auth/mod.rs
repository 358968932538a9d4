//! Accounts, logins and tokens, behind the HTTP port and the commands.
//!
//! | file | holds |
//! |---|---|
//! | `passwords` | scrypt, bounded |
//! | `key_file`, `key_ring` | the keys that sign and derive, and their rotation |
//! | `tokens` | access tokens |
//! | `limits` | rate limits |
//! | `live` | logins that ended before their tokens |
//! | `hearing` | what is heard of logins, and what may have been missed |
//! | `notices` | what a user is told of at its other logins |
//! | `audit` | the audit log |
//! | `accounts` | making, changing and looking at accounts |
//! | `devices` | credentials of devices |
//! | `device_access` | who may publish to the embedded broker for which device |
//! | `sessions` | login, refresh, logout |
//! | `viewers` | who may watch what |
//!
//! Invariants: it fails closed (a store that is away lets nobody in); every call to a store has a timeout; nothing secret is logged. What is
//! decided about challenges and refresh tokens is decided in orinoco-domain, and written by compare-and-set.

mod accounts;
mod audit;
mod device_access;
mod devices;
mod error;
mod hearing;
mod key_file;
mod key_ring;
mod limits;
mod live;
mod notices;
mod passwords;
mod random;
mod sessions;
mod tokens;
mod viewers;

use std::{sync::Arc, time::Duration};

use orinoco_domain::secret::DerivationKeys;
use orinoco_ports::{Accounts, Clock as _, LoginStore, SystemClock};
use tokio::time::timeout;

use crate::live::Live;

pub use accounts::{AccountChange, Signup};
pub use audit::Audit;
pub use device_access::DeviceAccess;
pub use devices::device_secret;
pub use error::AuthError;
pub use key_file::{KeyFileError, renew_signing_keys};
pub use key_ring::{KeyRing, Rotation};
pub use limits::{Limited, RateLimits, TooMany};
pub use live::{LiveLogins, Login, Watch};
pub use notices::ReuseNotice;
pub use passwords::{InvalidPassword, Password, PasswordError, PasswordOptions, Passwords};
pub use random::{NoRandom, random};
pub use sessions::{Caller, SignedIn, TokenPair};
pub use tokens::{AUDIENCE, AccessTokens, Claims, InvalidToken};
pub use viewers::TokenAccess;

/// For a call to a store, above its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What an installation chooses, and may choose anew while the daemon runs: it is read at each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthPolicy {
    /// Whether anyone may make an account.
    pub signup_is_open: bool,
    pub refresh_token_ttl_ms: i64,
    pub challenge_ttl_ms: i64,
    /// Lines of the audit log that are kept.
    pub audit_entries_max: u32,
}

/// What an installation chooses.
#[derive(Debug, Clone)]
pub struct AuthOptions {
    /// How browsers and phones reach the HTTP port, without a slash at the end. `iss` of tokens.
    pub public_url: String,
    /// OAuth's public clients.
    pub oauth_clients: Vec<String>,
}

/// The login half of the daemon.
pub struct Auth {
    pub options: AuthOptions,
    pub policy: Live<AuthPolicy>,
    pub accounts: Arc<dyn Accounts>,
    pub logins: Arc<dyn LoginStore>,
    pub keys: Arc<KeyRing>,
    pub tokens: AccessTokens,
    pub passwords: Passwords,
    pub limits: RateLimits,
    pub live: Arc<LiveLogins>,
}

impl Auth {
    #[must_use]
    pub fn derivation(&self) -> &Arc<DerivationKeys> {
        self.keys.derivation()
    }

    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit::new(&*self.accounts, self.policy.get().audit_entries_max)
    }
}

/// A call to a store, in time or not at all.
pub(crate) async fn call<T, E: Into<AuthError>>(call: impl Future<Output = Result<T, E>>) -> Result<T, AuthError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(AuthError::Unavailable),
    }
}

/// This daemon's clock, ms since 1970: for access tokens. Challenges and logins go by their store's.
#[must_use]
pub fn now_ms() -> i64 {
    SystemClock.now_ms()
}
