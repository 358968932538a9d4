//! Passwords and device secrets: hashed by scrypt (RFC 7914), written as PHC strings.
//!
//! Invariants: at most `hashes_max` are computed at a time, each of which holds 128·N·r bytes, and at most `waiting_max` more wait, no
//! longer than [`WAIT_MAX`]: whoever comes beyond that is turned away at once. A permit is held by the computation itself, so that a
//! client that goes away frees no memory that is still in use. Comparing with no hash costs what comparing with one does.

use std::{fmt, sync::Arc, time::Duration};

use orinoco_domain::account::PasswordHash;
use scrypt::{
    Params, Scrypt,
    password_hash::{CustomizedPasswordHasher as _, PasswordVerifier as _, phc},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::random::{NoRandom, random};

/// How long one waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a salt (PHC string format: 16 are recommended).
const SALT_BYTES: usize = 16;
/// No stored hash may ask for more: 1 GiB at r = 8.
const LOG2_N_MAX: u8 = 20;
/// 1 MiB and a few milliseconds.
const SECRET_LOG2_N: u8 = 10;

/// A password as typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use {} to {} characters", Password::CHARACTERS_MIN, Password::CHARACTERS_MAX)]
pub struct InvalidPassword;

impl Password {
    /// NIST SP 800-63B, section 3.1.1.2, asks for 8 at least.
    pub const CHARACTERS_MIN: usize = 8;
    /// The same section asks that 64 at least be allowed.
    pub const CHARACTERS_MAX: usize = 256;

    /// One to be set.
    ///
    /// # Errors
    /// [`InvalidPassword`]: too short or too long.
    pub fn new(text: &str) -> Result<Self, InvalidPassword> {
        let fits = (Self::CHARACTERS_MIN..=Self::CHARACTERS_MAX).contains(&text.chars().count());
        if fits { Ok(Self(text.into())) } else { Err(InvalidPassword) }
    }

    /// One to be compared: whatever it is, it is only right or wrong.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(redacted)")
    }
}

/// What hashing costs, and how much of it there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordOptions {
    /// log2 of scrypt's N.
    pub log2_n: u8,
    pub r: u32,
    pub p: u32,
    /// Computed at a time.
    pub hashes_max: usize,
    /// Waiting for their turn.
    pub waiting_max: usize,
}

impl Default for PasswordOptions {
    /// OWASP Password Storage Cheat Sheet: N = 2^17, r = 8, p = 1.
    fn default() -> Self {
        Self { log2_n: 17, r: 8, p: 1, hashes_max: 2, waiting_max: 64 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    /// The right one. `outdated`: its hash was made with other parameters than are in use now.
    Right {
        outdated: bool,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait: try again later.
    #[error("too many passwords are being hashed")]
    Busy,
    #[error("scrypt takes no such parameters: {0}")]
    Parameters(String),
    /// A stored hash can't be understood, or asks for more than is allowed.
    #[error("a stored password hash can't be used: {0}")]
    Stored(String),
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Hashes and compares.
#[derive(Debug)]
pub struct Passwords {
    params: Params,
    /// Computing and waiting.
    queue: Arc<Semaphore>,
    /// Computing.
    slots: Arc<Semaphore>,
    /// Of no password: compared with where there is no account.
    nobody: PasswordHash,
}

impl Passwords {
    /// # Errors
    /// Parameters that scrypt does not take.
    pub fn new(options: PasswordOptions) -> Result<Self, PasswordError> {
        if options.log2_n > LOG2_N_MAX {
            return Err(PasswordError::Parameters(format!("N is 2^{LOG2_N_MAX} at most")));
        }
        let params = Params::new(options.log2_n, options.r, options.p)
            .map_err(|error| PasswordError::Parameters(error.to_string()))?;
        Ok(Self {
            params,
            queue: Arc::new(Semaphore::new(options.hashes_max + options.waiting_max)),
            slots: Arc::new(Semaphore::new(options.hashes_max)),
            nobody: hash_of_nobody(params)?,
        })
    }

    /// # Errors
    /// [`PasswordError::Busy`], and what is this machine's mistake.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        let params = self.params;
        self.compute(move || hash(&password, params)).await
    }

    /// Of a secret with 256 random bits: nobody guesses it, so it is not stretched, and comparing it is cheap.
    ///
    /// # Errors
    /// As [`Self::hash`].
    pub async fn hash_secret(&self, secret: Password) -> Result<PasswordHash, PasswordError> {
        let params = Params::new(SECRET_LOG2_N, 8, 1).map_err(|error| PasswordError::Parameters(error.to_string()))?;
        self.compute(move || hash(&secret, params)).await
    }

    /// Compares with a stored hash; with none it takes as long, and is [`Verdict::Wrong`].
    ///
    /// # Errors
    /// [`PasswordError::Busy`], and a stored hash that can't be understood.
    pub async fn verify(&self, password: Password, hash: Option<&PasswordHash>) -> Result<Verdict, PasswordError> {
        let hash = hash.unwrap_or(&self.nobody).clone();
        let params = self.params;
        self.compute(move || verify(&password, &hash, params)).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let slot = timeout(WAIT_MAX, Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Busy)?;
        let computed = spawn_blocking(move || {
            let _held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, slot);
            work()
        });
        // The runtime is shutting down, or the computation panicked.
        computed.await.map_err(|_| PasswordError::Busy)?
    }
}

fn hash(password: &Password, params: Params) -> Result<PasswordHash, PasswordError> {
    let salt = random::<SALT_BYTES>()?;
    let hash = Scrypt::default().hash_password_customized(password.0.as_bytes(), &salt, None, None, params);
    let hash: phc::PasswordHash = hash.map_err(|error| PasswordError::Parameters(error.to_string()))?;
    Ok(PasswordHash::from_phc(&hash.to_string()))
}

fn verify(password: &Password, stored: &PasswordHash, params: Params) -> Result<Verdict, PasswordError> {
    let unusable = |error: &dyn fmt::Display| PasswordError::Stored(error.to_string());
    let hash = phc::PasswordHash::new(stored.expose()).map_err(|error| unusable(&error))?;
    let used = Params::try_from(&hash).map_err(|error| unusable(&error))?;
    if used.log_n() > LOG2_N_MAX {
        return Err(unusable(&"its parameters are out of bounds"));
    }
    if Scrypt::default().verify_password(password.0.as_bytes(), &hash).is_err() {
        return Ok(Verdict::Wrong);
    }
    let outdated = (used.log_n(), used.r(), used.p()) != (params.log_n(), params.r(), params.p());
    Ok(Verdict::Right { outdated })
}

/// A hash that no password is known to have, as its output was not computed from one.
fn hash_of_nobody(params: Params) -> Result<PasswordHash, PasswordError> {
    let wrong = |error: &dyn fmt::Display| PasswordError::Parameters(error.to_string());
    let hash = phc::PasswordHash {
        algorithm: scrypt::phc::ALG_ID,
        version: None,
        params: params.try_into().map_err(|error: scrypt::password_hash::Error| wrong(&error))?,
        salt: Some(phc::Salt::new(&random::<SALT_BYTES>()?).map_err(|error| wrong(&error))?),
        hash: Some(phc::Output::new(&random::<32>()?).map_err(|error| wrong(&error))?),
    };
    Ok(PasswordHash::from_phc(&hash.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CHEAP: PasswordOptions = PasswordOptions { log2_n: 4, r: 8, p: 1, hashes_max: 1, waiting_max: 1 };

    #[tokio::test]
    async fn the_right_password_is_told_from_a_wrong_one_and_from_none() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let right = Password::new("correct horse").unwrap();
        let hash = passwords.hash(right.clone()).await.unwrap();
        assert!(hash.expose().starts_with("$scrypt$ln=4,r=8,p=1$"), "{}", hash.expose());
        assert_eq!(passwords.verify(right.clone(), Some(&hash)).await.unwrap(), Verdict::Right { outdated: false });
        assert_eq!(passwords.verify(Password::presented("x"), Some(&hash)).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify(right, None).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_is_outdated() {
        let password = Password::new("correct horse").unwrap();
        let hash = Passwords::new(CHEAP).unwrap().hash(password.clone()).await.unwrap();
        let stronger = Passwords::new(PasswordOptions { log2_n: 5, ..CHEAP }).unwrap();
        assert_eq!(stronger.verify(password, Some(&hash)).await.unwrap(), Verdict::Right { outdated: true });
    }

    #[tokio::test]
    async fn known_hashes_are_understood() {
        // Of passlib's documentation.
        let hash = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E";
        let verdict = verify(
            &Password::presented("password"),
            &PasswordHash::from_phc(hash),
            Passwords::new(CHEAP).unwrap().params,
        );
        assert_eq!(verdict.unwrap(), Verdict::Right { outdated: true });
    }

    #[tokio::test]
    async fn beyond_the_bound_nobody_waits() {
        let passwords = Arc::new(Passwords::new(CHEAP).unwrap());
        let computing = Arc::clone(&passwords.slots).acquire_owned().await.unwrap();
        let _place = Arc::clone(&passwords.queue).try_acquire_owned().unwrap();
        let waiting = {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move { passwords.hash(Password::presented("waits")).await })
        };
        while passwords.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash(Password::presented("too many")).await;
        assert!(matches!(refused, Err(PasswordError::Busy)));
        drop(computing);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_stored_hash_that_asks_for_too_much_is_not_computed() {
        let hash = "$scrypt$ln=40,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E";
        let verdict = Passwords::new(CHEAP)
            .unwrap()
            .verify(Password::presented("password"), Some(&PasswordHash::from_phc(hash)))
            .await;
        assert!(matches!(verdict, Err(PasswordError::Stored(_))));
    }

    #[test]
    fn a_password_is_long_enough_and_not_shown() {
        assert!(Password::new("1234567").is_err() && Password::new(&"x".repeat(257)).is_err());
        assert!(Password::new("pässwörd").is_ok());
        assert_eq!(format!("{:?}", Password::presented("secret")), "Password(redacted)");
    }
}
