//! Who may publish to the embedded broker for which device.
//!
//! A device with credentials connects with its name and its secret, and publishes for itself only; nobody else publishes for it, nor for
//! one whose secret was revoked. A device without credentials is anyone's who may connect.
//!
//! The store is asked at each CONNECT with a user name. What others may publish comes from a copy of all credentials that is read
//! every second; a client that connected after the last reading has the store asked, once for each of its devices, so that what
//! `orinoco device` did holds for every client that connects after it. So a message costs a look at a table, never a hash or a query.
//!
//! It fails closed: a CONNECT that can't be checked is refused as "server unavailable", and a message of which it is not known whether
//! its device has credentials is not acknowledged. Clients that are connected stay, by the copy of before.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orinoco_domain::{DeviceId, TopicFilters, account::PasswordHash, secret::Digest256};
use orinoco_embedded::broker::{Authenticator, Decision, Permission, Rights};
use orinoco_ports::{Accounts, AccountsError, DeviceCredential};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Password, PasswordError, PasswordOptions, Passwords, passwords::Verdict};

/// Between two readings of all credentials, at least.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Where a reading takes long, readings are rarer: they take a tenth of the time.
const READ_SHARE: u32 = 10;
/// But no rarer than this: a revocation ends sessions in seconds.
const READ_EVERY_MAX: Duration = Duration::from_secs(3);
/// Readings that find every device that connected before them among the sessions: the second surely.
const SETTLING: u8 = 2;
const PAGE_MAX: usize = 1_000;
/// Credentials in the copy. Devices behind the last of them are closed to everyone without their secret, and learn of a
/// revocation when they connect.
const CREDENTIALS_MAX: usize = 100_000;
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// For a message that waits for the answer; then the copy has to do.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(800);
/// For a CONNECT.
const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// Devices of one client that the store was asked for since the last reading; for more the copy has to do, a second old.
const GRANTED_MAX: usize = 1_024;
/// Secrets that were found right; at the bound they are forgotten, and hashed again.
const VERIFIED_MAX: usize = 20_000;
/// Secrets that wait to be hashed, a few milliseconds each: a thousand devices may come back at a time.
const WAITING_MAX: usize = 1_024;

/// The embedded broker's [`Authenticator`].
#[derive(Clone)]
pub struct DeviceAccess(Arc<Inner>);

struct Inner {
    accounts: Arc<dyn Accounts>,
    passwords: Passwords,
    filters: TopicFilters,
    copy: RwLock<Arc<Snapshot>>,
    verified: Mutex<HashMap<DeviceId, Verified>>,
    /// How many readings more are compared with the sessions though they are like the last: one connected lately.
    settling: AtomicU8,
    changes: watch::Sender<()>,
}

/// All credentials, as they were at a time.
#[derive(Default)]
struct Snapshot {
    /// When the reading began; `None`: it was never read.
    read_at: Option<Instant>,
    /// By device; `None`: revoked.
    secrets: HashMap<DeviceId, Option<PasswordHash>>,
    /// The last one by name, where there are more in the store.
    last: Option<DeviceId>,
}

/// A secret that was found right, so that a device that comes back costs no hash. It counts as long as the store has that hash.
struct Verified {
    hash: PasswordHash,
    digest: Digest256,
}

impl DeviceAccess {
    /// `filters`: which topics are whose.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn new(accounts: Arc<dyn Accounts>, filters: TopicFilters) -> Result<Self, PasswordError> {
        // Its own queue: devices that come back all at once do not keep people from logging in.
        let passwords = Passwords::new(PasswordOptions { waiting_max: WAITING_MAX, ..PasswordOptions::default() })?;
        Ok(Self(Arc::new(Inner {
            accounts,
            passwords,
            filters,
            copy: RwLock::default(),
            verified: Mutex::default(),
            settling: AtomicU8::new(0),
            changes: watch::Sender::new(()),
        })))
    }

    /// Keeps the copy, for ever.
    pub async fn keep(self) {
        let mut is_read = true;
        loop {
            let began = Instant::now();
            // Before the reading: who connects during it is looked at after the next one.
            let settling =
                self.0.settling.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            match timeout(READ_TIMEOUT, self.0.read(began)).await.unwrap_or(Err(None)) {
                Ok(copy) => {
                    is_read = true;
                    self.0.replace(copy, settling.is_ok());
                }
                Err(error) => {
                    if std::mem::take(&mut is_read) {
                        let error = error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
                        tracing::warn!(%error, "devices' credentials can't be read; revocations wait");
                    }
                }
            }
            sleep((began.elapsed() * READ_SHARE).clamp(READ_EVERY, READ_EVERY_MAX)).await;
        }
    }
}

impl Inner {
    async fn read(&self, read_at: Instant) -> Result<Snapshot, Option<AccountsError>> {
        let mut copy = Snapshot { read_at: Some(read_at), ..Snapshot::default() };
        let mut after: Option<DeviceId> = None;
        loop {
            let page = self.accounts.device_credentials(after.as_ref(), PAGE_MAX).await.map_err(Some)?;
            copy.secrets.extend(page.credentials.into_iter().map(|one| (one.device, one.secret_hash)));
            after = page.next;
            if after.is_none() || copy.secrets.len() >= CREDENTIALS_MAX {
                copy.last = after;
                return Ok(copy);
            }
        }
    }

    fn replace(&self, copy: Snapshot, is_settling: bool) {
        if copy.last.is_some() {
            tracing::warn!(credentials_max = CREDENTIALS_MAX, "more devices have credentials than are watched");
        }
        let copy = Arc::new(copy);
        let before =
            std::mem::replace(&mut *self.copy.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&copy));
        if is_settling || before.secrets != copy.secrets {
            self.changes.send_replace(());
        }
    }

    fn copy(&self) -> Arc<Snapshot> {
        Arc::clone(&self.copy.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn credential(&self, device: &DeviceId, wait_max: Duration) -> Option<Option<DeviceCredential>> {
        match timeout(wait_max, self.accounts.device_credential(device)).await {
            Ok(Ok(credential)) => Some(credential),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a device's credential can't be looked up");
                None
            }
            Err(_) => None,
        }
    }

    /// Whether that is the secret.
    async fn is_right(&self, device: &DeviceId, secret: &str, hash: &PasswordHash) -> Result<bool, PasswordError> {
        let digest = Digest256::of(secret.as_bytes());
        {
            let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = verified.get(device)
                && known.hash == *hash
            {
                return Ok(known.digest == digest);
            }
        }
        if self.passwords.verify(Password::presented(secret), Some(hash)).await? == Verdict::Wrong {
            return Ok(false);
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(device.clone(), Verified { hash: hash.clone(), digest });
        Ok(true)
    }

    async fn check_device(self: &Arc<Self>, name: &str, secret: Option<&[u8]>) -> Decision {
        let Ok(device) = DeviceId::parse(name) else { return Decision::Deny };
        let since = Instant::now();
        let Some(credential) = self.credential(&device, CREDENTIAL_TIMEOUT).await else { return Decision::Unavailable };
        // Which names have a secret is none.
        let Some(hash) = credential.and_then(|credential| credential.secret_hash) else { return Decision::Deny };
        let Some(Ok(secret)) = secret.map(std::str::from_utf8) else { return Decision::Deny };
        match self.is_right(&device, secret, &hash).await {
            Ok(true) => {}
            Ok(false) => return Decision::Deny,
            Err(error) => {
                tracing::debug!(%error, "a device's secret can't be checked");
                return Decision::Unavailable;
            }
        }
        let below = format!("devices/{device}/");
        self.settling.store(SETTLING, Ordering::Release);
        Decision::Allow(Arc::new(Owner { access: Arc::clone(self), device, below, hash, since }))
    }
}

impl Snapshot {
    fn is_newer_than(&self, time: Instant) -> bool {
        self.read_at.is_some_and(|read_at| read_at > time)
    }

    fn covers(&self, device: &DeviceId) -> bool {
        self.last.as_ref().is_none_or(|last| device <= last)
    }

    /// Whether a client without the device's secret may publish for it.
    fn others_may(&self, device: &DeviceId) -> Permission {
        match self.read_at {
            None => Permission::Unknown,
            Some(_) if self.covers(device) && !self.secrets.contains_key(device) => Permission::Granted,
            Some(_) => Permission::Denied,
        }
    }
}

#[async_trait]
impl Authenticator for DeviceAccess {
    async fn check(&self, username: Option<&str>, password: Option<&[u8]>, _client_id: &str) -> Decision {
        match (username, password) {
            (Some(name), secret) => self.0.check_device(name, secret).await,
            (None, Some(_)) => Decision::Deny,
            (None, None) => Decision::Allow(Arc::new(Guest {
                access: Arc::clone(&self.0),
                since: Instant::now(),
                granted: Mutex::default(),
            })),
        }
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }
}

/// A device that showed its secret.
struct Owner {
    access: Arc<Inner>,
    device: DeviceId,
    /// `devices/D/`
    below: String,
    hash: PasswordHash,
    since: Instant,
}

impl Owner {
    fn owns(&self, topic: &str) -> bool {
        // Other filters may be configured, and the device `default` has two topics more.
        topic.starts_with(&self.below)
            || self.access.filters.resolve(topic).is_ok_and(|(device, _)| device == self.device)
    }
}

#[async_trait]
impl Rights for Owner {
    async fn may_publish(&self, topic: &str) -> Permission {
        if self.owns(topic) { Permission::Granted } else { Permission::Denied }
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        self.owns(filter)
    }

    fn hold(&self) -> bool {
        let copy = self.access.copy();
        !copy.is_newer_than(self.since)
            || !copy.covers(&self.device)
            || copy.secrets.get(&self.device).is_some_and(|hash| hash.as_ref() == Some(&self.hash))
    }
}

/// A client without credentials.
struct Guest {
    access: Arc<Inner>,
    since: Instant,
    /// Devices that had no credentials when the store was asked, or by the copy where it did not answer.
    granted: Mutex<HashSet<DeviceId>>,
}

impl Guest {
    async fn ask(&self, device: DeviceId) -> Permission {
        let permission = match self.access.credential(&device, LOOKUP_TIMEOUT).await {
            Some(Some(_)) => Permission::Denied,
            Some(None) => Permission::Granted,
            None => self.access.copy().others_may(&device),
        };
        if permission == Permission::Granted {
            self.granted.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
        }
        permission
    }
}

#[async_trait]
impl Rights for Guest {
    async fn may_publish(&self, topic: &str) -> Permission {
        // What names no device becomes a dead letter.
        let Ok((device, _)) = self.access.filters.resolve(topic) else { return Permission::Granted };
        let copy = self.access.copy();
        if copy.is_newer_than(self.since) {
            return copy.others_may(&device);
        }
        let (is_known, is_full) = {
            let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
            (granted.contains(&device), granted.len() >= GRANTED_MAX)
        };
        match (is_known, is_full) {
            (true, _) => Permission::Granted,
            (false, true) => copy.others_may(&device),
            (false, false) => self.ask(device).await,
        }
    }

    fn may_subscribe(&self, _filter: &str) -> bool {
        true
    }

    fn hold(&self) -> bool {
        true
    }
}
