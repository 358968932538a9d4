//! Redis "QR": challenges and logins. All keys share one hash slot, because an exchange ends a challenge, begins a login and may end
//! another one of the same user in one step: of a cluster, the whole store lives on one node.
//!
//! | key | holds |
//! |---|---|
//! | `PREFIX:{login}:challenge:KEY` | string: a challenge's record; gone at its `purge_at_ms` |
//! | `PREFIX:{login}:family:ID` | string: a login's record; gone at its `expires_at_ms` |
//! | `PREFIX:{login}:user:USER` | sorted set: the ids of a user's logins by their expiry; gone with the last one |
//! | `PREFIX:{login}:events` | channel, one message a change |
//!
//! Invariants: whatever changes a record is one Lua script that checks before it writes and publishes what it did; the clock is Redis'
//! own, read inside the script; the index of a user never holds more than it may, and a login that ended is in it no more.

mod probe;
mod record;
mod scripts;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use orinoco_domain::{
    account::UserId,
    challenge::{Challenge, ChallengeKey, NewChallenge, READABLE_AFTER_END_MS, Status},
    refresh::{Family, FamilyId},
};
use orinoco_ports::{
    BackendInfo, EndReason, FAMILIES_PER_USER_MAX, FamilyPage, Loaded, LoginEvent, LoginStore, LoginStoreError,
    LoginSubscription, Swap,
};
use redis::{Cmd, FromRedisValue, Value};
use serde::de::DeserializeOwned;

use self::{
    probe::AppendFsync,
    record::{Answer, Outcome, Unreadable},
};
use crate::{
    redis_server::{Failure, Publications, Script, Server, ServerOptions},
    tls::{TlsKeys, TlsOptions},
};

/// Logins of one page: what is asked beyond comes with the next one.
const PAGE_MAX: usize = 1_000;
/// Arguments and bytes of a usual call.
const SIZE_HINT: (usize, usize) = (20, 2_048);

/// How to reach Redis "QR".
#[derive(Clone)]
pub struct RedisLoginStoreOptions {
    /// `redis://[user:password@]host:port[/database]`, or `rediss://` for TLS.
    pub url: String,
    /// For `rediss://`.
    pub tls: TlsOptions,
    /// First part of all keys and of the channel. Channels are shared by all databases of a server.
    pub prefix: String,
    /// What any call may take, connecting included.
    pub call_timeout: Duration,
    pub connections_max: u32,
    /// 1 at least.
    pub families_per_user_max: usize,
}

impl RedisLoginStoreOptions {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsOptions::default(),
            prefix: "orinoco".to_owned(),
            call_timeout: Duration::from_millis(2_000),
            connections_max: 8,
            families_per_user_max: FAMILIES_PER_USER_MAX,
        }
    }
}

impl fmt::Debug for RedisLoginStoreOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("RedisLoginStoreOptions");
        text.field("prefix", &self.prefix).field("call_timeout", &self.call_timeout);
        text.field("connections_max", &self.connections_max);
        text.field("families_per_user_max", &self.families_per_user_max).finish_non_exhaustive()
    }
}

/// [`LoginStore`] in Redis, 6.2 or newer. Cheap to share; must be made and used inside a tokio runtime.
#[derive(Debug)]
pub struct RedisLoginStore {
    server: Server,
    families_per_user_max: usize,
    challenge_prefix: String,
    family_prefix: String,
    user_prefix: String,
    channel: String,
}

impl RedisLoginStore {
    /// Connects when first used.
    ///
    /// # Errors
    /// [`LoginStoreError::Unavailable`] for a URL that can't be understood.
    pub fn new(options: &RedisLoginStoreOptions) -> Result<Self, LoginStoreError> {
        let server = Server::new(&ServerOptions {
            url: &options.url,
            tls: &options.tls,
            tls_keys: &TlsKeys::REDIS_QR,
            connections_max: options.connections_max,
            call_timeout: options.call_timeout,
            url_setting: "redis_qr.url",
            room_remedy: "shorten auth.challenge_ttl_s and auth.refresh_token_ttl_s",
        });
        let key = |name: &str| format!("{}:{{login}}:{name}", options.prefix);
        Ok(Self {
            server: server.map_err(failed)?,
            families_per_user_max: options.families_per_user_max.max(1),
            challenge_prefix: key("challenge:"),
            family_prefix: key("family:"),
            user_prefix: key("user:"),
            channel: key("events"),
        })
    }

    fn challenge_key(&self, key: &ChallengeKey) -> String {
        format!("{}{key}", self.challenge_prefix)
    }

    fn family_key(&self, id: &FamilyId) -> String {
        format!("{}{id}", self.family_prefix)
    }

    fn index_key(&self, user_id: UserId) -> String {
        format!("{}{user_id}", self.user_prefix)
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        build: impl Fn(&mut Cmd) + Send,
    ) -> Result<T, LoginStoreError> {
        self.server.invoke(script, build, SIZE_HINT).await.map_err(failed)
    }

    async fn load<T: DeserializeOwned>(&self, key: &str) -> Result<Loaded<T>, LoginStoreError> {
        let build = |command: &mut Cmd| {
            command.arg(1).arg(key);
        };
        let (now_ms, text): (i64, Option<String>) = self.invoke(&scripts::LOAD, build).await?;
        let record = text.as_deref().map(record::read).transpose().map_err(|error| self.unreadable(error))?;
        Ok(Loaded { record, now_ms })
    }

    fn swap<T: DeserializeOwned>(&self, parts: Vec<Value>) -> Result<Swap<T>, LoginStoreError> {
        match record::outcome(parts).map_err(|error| self.unreadable(error))? {
            Outcome::Swap(swap) => Ok(swap),
            Outcome::Taken => Err(self.taken()),
        }
    }

    /// What the scripts' `begin_family` takes.
    fn write_family(&self, command: &mut Cmd, family: &Family, text: &str) {
        command.arg(family.id.to_string()).arg(text).arg(family.expires_at_ms).arg(family.user_id.0);
        command.arg(self.families_per_user_max).arg(&self.family_prefix);
    }

    fn taken(&self) -> LoginStoreError {
        LoginStoreError::Taken { place: self.server.place().text().to_owned() }
    }

    fn unreadable(&self, error: Unreadable) -> LoginStoreError {
        failed(self.server.place().corrupt(error))
    }
}

#[async_trait]
impl LoginStore for RedisLoginStore {
    async fn now_ms(&self) -> Result<i64, LoginStoreError> {
        let (seconds, microseconds): (i64, i64) = self.server.call(&redis::cmd("TIME")).await.map_err(failed)?;
        Ok(seconds * 1_000 + microseconds / 1_000)
    }

    async fn create_challenge(&self, new: &NewChallenge) -> Result<Challenge, LoginStoreError> {
        let (before, behind) = record::around_times(new).map_err(|error| self.unreadable(error))?;
        let (key, version) = (self.challenge_key(&new.key), new.at(0).version);
        let build = |command: &mut Cmd| {
            command.arg(1).arg(&key).arg(new.ttl_ms).arg(READABLE_AFTER_END_MS);
            command.arg(version).arg(&before).arg(&behind);
        };
        let mut answer = Answer::new(self.invoke(&scripts::CREATE_CHALLENGE, build).await?);
        let kind: String = answer.next("kind of answer").map_err(|error| self.unreadable(error))?;
        if kind == "taken" {
            return Err(self.taken());
        }
        answer.next("time").map(|now_ms| new.at(now_ms)).map_err(|error| self.unreadable(error))
    }

    async fn load_challenge(&self, key: &ChallengeKey) -> Result<Loaded<Challenge>, LoginStoreError> {
        self.load(&self.challenge_key(key)).await
    }

    async fn swap_challenge(
        &self,
        next: &Challenge,
        began: Option<&Family>,
    ) -> Result<Swap<Challenge>, LoginStoreError> {
        let text = record::of_challenge(next).map_err(|error| self.unreadable(error))?;
        let family = began.map(|family| record::of_family(family).map(|text| (family, text)));
        let family = family.transpose().map_err(|error| self.unreadable(error))?;
        let (key, event) = (self.challenge_key(&next.key), record::change_text(next));
        let build = |command: &mut Cmd| {
            command.arg(if family.is_some() { 3 } else { 1 }).arg(&key);
            if let Some((family, _)) = &family {
                command.arg(self.family_key(&family.id)).arg(self.index_key(family.user_id));
            }
            command.arg(version_before(next.version)).arg(i32::from(next.status == Status::Expired));
            command.arg(&text).arg(next.purge_at_ms()).arg(&event).arg(&self.channel);
            if let Some((family, text)) = &family {
                self.write_family(command, family, text);
            }
        };
        self.swap(self.invoke(&scripts::SWAP_CHALLENGE, build).await?)
    }

    async fn create_family(&self, family: &Family) -> Result<(), LoginStoreError> {
        let text = record::of_family(family).map_err(|error| self.unreadable(error))?;
        let build = |command: &mut Cmd| {
            command.arg(2).arg(self.family_key(&family.id)).arg(self.index_key(family.user_id)).arg(&self.channel);
            self.write_family(command, family, &text);
        };
        self.swap::<Family>(self.invoke(&scripts::CREATE_FAMILY, build).await?).map(drop)
    }

    async fn load_family(&self, id: &FamilyId) -> Result<Loaded<Family>, LoginStoreError> {
        self.load(&self.family_key(id)).await
    }

    async fn swap_family(&self, next: &Family) -> Result<Swap<Family>, LoginStoreError> {
        let text = record::of_family(next).map_err(|error| self.unreadable(error))?;
        let build = |command: &mut Cmd| {
            command.arg(1).arg(self.family_key(&next.id)).arg(version_before(next.version));
            command.arg(next.user_id.0).arg(next.expires_at_ms).arg(&text);
        };
        self.swap(self.invoke(&scripts::SWAP_FAMILY, build).await?)
    }

    async fn families_of(
        &self,
        user_id: UserId,
        cursor: Option<&str>,
        families_max: usize,
    ) -> Result<FamilyPage, LoginStoreError> {
        let (families_max, behind) = (families_max.clamp(1, PAGE_MAX), cursor.and_then(Cursor::parse));
        let build = |command: &mut Cmd| {
            command.arg(1).arg(self.index_key(user_id)).arg(&self.family_prefix).arg(families_max);
            if let Some(Cursor { expires_at_ms, id }) = &behind {
                command.arg(*expires_at_ms).arg(id.to_string());
            }
        };
        let parts: Vec<Value> = self.invoke(&scripts::FAMILIES, build).await?;
        record::family_page(parts).map_err(|error| self.unreadable(error))
    }

    async fn end_family(&self, id: &FamilyId, reason: EndReason) -> Result<Option<Family>, LoginStoreError> {
        let build = |command: &mut Cmd| {
            command.arg(1).arg(self.family_key(id)).arg(id.to_string()).arg(&self.user_prefix);
            command.arg(&self.channel).arg(reason.as_str());
        };
        let text: Option<String> = self.invoke(&scripts::END_FAMILY, build).await?;
        text.as_deref().map(record::read).transpose().map_err(|error| self.unreadable(error))
    }

    async fn end_families_of(&self, user_id: UserId, reason: EndReason) -> Result<u64, LoginStoreError> {
        let build = |command: &mut Cmd| {
            command.arg(1).arg(self.index_key(user_id)).arg(user_id.0).arg(&self.family_prefix);
            command.arg(&self.channel).arg(reason.as_str());
        };
        self.invoke(&scripts::END_FAMILIES, build).await
    }

    async fn subscribe(&self) -> Result<Box<dyn LoginSubscription>, LoginStoreError> {
        let publications = Publications::open(&self.server, &self.channel).await.map_err(failed)?;
        Ok(Box::new(RedisLoginSubscription(publications)))
    }

    async fn probe(&self) -> Result<BackendInfo, LoginStoreError> {
        let info: String = self.server.call(&redis::cmd("INFO")).await.map_err(failed)?;
        let asked: Result<Vec<String>, Failure> =
            self.server.call(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
        let append_fsync = match asked {
            Ok(pair) => AppendFsync::Is(pair.into_iter().nth(1).unwrap_or_default()),
            // A command that is unknown, or not this user's.
            Err(Failure::Denied { reason, .. } | Failure::Corrupt { reason, .. }) => AppendFsync::Refused(reason),
            Err(failure) => return Err(failed(failure)),
        };
        Ok(probe::backend_info(&info, &append_fsync))
    }
}

/// The version that a record must have for this one to follow; one that can't follow any matches none.
fn version_before(version: u64) -> String {
    version.checked_sub(1).map_or_else(|| "none".to_owned(), |version| version.to_string())
}

fn failed(failure: Failure) -> LoginStoreError {
    match failure {
        Failure::Unavailable { place, reason } | Failure::Denied { place, reason } => {
            LoginStoreError::Unavailable { place, reason }
        }
        Failure::Corrupt { place, reason } => LoginStoreError::Corrupt { place, reason },
    }
}

/// Where a list of logins goes on: behind this one. `EXPIRY:ID`.
struct Cursor {
    expires_at_ms: i64,
    id: FamilyId,
}

impl Cursor {
    /// `None` for what is no cursor of ours: the list begins anew.
    fn parse(text: &str) -> Option<Self> {
        let (expires_at_ms, id) = text.split_once(':')?;
        Some(Self { expires_at_ms: expires_at_ms.parse().ok()?, id: FamilyId::parse(id).ok()? })
    }
}

struct RedisLoginSubscription(Publications);

#[async_trait]
impl LoginSubscription for RedisLoginSubscription {
    async fn next(&mut self) -> Result<LoginEvent, LoginStoreError> {
        loop {
            let text = self.0.next().await.map_err(failed)?;
            match record::event(&text) {
                Some(event) => return Ok(event),
                None => tracing::warn!(place = self.0.place().text(), "passed over a change of unknown kind"),
            }
        }
    }
}
