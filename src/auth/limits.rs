//! Rate limits (GCRA, by the crate governor): for an account and an address together, for an address, and for all.
//!
//! Invariants: those of one account and one address can be lifted (`limits.mode = "off"`), those of all not; each table has at most
//! [`KEYS_MAX`] keys, and where it is full of keys that are still counted, new ones share one budget, so that filling it gives nobody
//! a free way. An account is limited whether it exists or not.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use orinoco_domain::account::Email;

/// Keys of one table, some 100 bytes each.
const KEYS_MAX: usize = 100_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    Login,
    Signup,
    Refresh,
    /// Making a challenge.
    Challenge,
    /// Opening a stream of a challenge.
    Stream,
    /// A phone's or creator's act on a challenge.
    Act,
    /// Typing in a device grant's code: 20^8 of them, of which some are alive.
    UserCode,
}

/// Try again then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; try again in {retry_after_s} s")]
pub struct TooMany {
    /// Seconds, 1 at least.
    pub retry_after_s: u64,
}

/// So many at once, and then so many a second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u32,
    every: Duration,
}

const fn rate(burst: u32, every_ms: u64) -> Rate {
    Rate { burst, every: Duration::from_millis(every_ms) }
}

impl Rate {
    fn quota(self) -> Quota {
        let burst = NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN);
        // A period of no length is not in the tables below.
        Quota::with_period(self.every).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst)
    }
}

/// Guesses at one account from one address: 20, then one in 3 s.
const ACCOUNT: Rate = rate(20, 3_000);

impl Limited {
    const ALL: [Self; 7] =
        [Self::Login, Self::Signup, Self::Refresh, Self::Challenge, Self::Stream, Self::Act, Self::UserCode];

    /// For one address, and for all.
    fn rates(self) -> (Rate, Rate) {
        match self {
            Self::Login => (rate(100, 200), rate(2_000, 10)),
            Self::Signup => (rate(20, 3_000), rate(200, 50)),
            Self::Refresh => (rate(1_000, 20), rate(20_000, 1)),
            Self::Challenge => (rate(300, 100), rate(20_000, 1)),
            Self::Stream => (rate(300, 100), rate(20_000, 1)),
            Self::Act => (rate(1_000, 20), rate(50_000, 1)),
            Self::UserCode => (rate(20, 3_000), rate(2_000, 10)),
        }
    }
}

struct Table<K: Hash + Eq + Clone> {
    keyed: DefaultKeyedRateLimiter<K>,
    /// Of the keys for which there is no room.
    shared: DefaultDirectRateLimiter,
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new(rate: Rate) -> Self {
        Self { keyed: RateLimiter::keyed(rate.quota()), shared: RateLimiter::direct(rate.quota()) }
    }

    fn check(&self, key: &K) -> Result<(), TooMany> {
        if self.keyed.len() >= KEYS_MAX {
            self.keyed.retain_recent();
            if self.keyed.len() >= KEYS_MAX {
                return self.shared.check().map_err(|refused| too_many(&refused));
            }
        }
        self.keyed.check_key(key).map_err(|refused| too_many(&refused))
    }
}

fn too_many(refused: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>) -> TooMany {
    let wait = refused.wait_time_from(DefaultClock::default().now());
    TooMany { retry_after_s: wait.as_secs() + 1 }
}

/// All tables.
pub struct RateLimits {
    /// Whether those of one address and one account hold.
    per_client: AtomicBool,
    accounts: Table<u64>,
    hasher: RandomState,
    addresses: [Table<IpAddr>; Limited::ALL.len()],
    all: [DefaultDirectRateLimiter; Limited::ALL.len()],
}

impl RateLimits {
    #[must_use]
    pub fn new(per_client: bool) -> Self {
        Self {
            per_client: AtomicBool::new(per_client),
            accounts: Table::new(ACCOUNT),
            hasher: RandomState::new(),
            addresses: Limited::ALL.map(|limited| Table::new(limited.rates().0)),
            all: Limited::ALL.map(|limited| RateLimiter::direct(limited.rates().1.quota())),
        }
    }

    /// Whether limits of one address hold.
    #[must_use]
    pub fn per_client(&self) -> bool {
        self.per_client.load(Ordering::Relaxed)
    }

    /// Whether they hold from now on.
    pub fn set_per_client(&self, per_client: bool) {
        self.per_client.store(per_client, Ordering::Relaxed);
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn check(&self, limited: Limited, address: IpAddr) -> Result<(), TooMany> {
        let index = limited as usize;
        if self.per_client() {
            self.addresses[index].check(&network(address))?;
        }
        self.all[index].check().map_err(|refused| too_many(&refused))
    }

    /// Counts a guess at an account.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn check_account(&self, account: &Email, address: IpAddr) -> Result<(), TooMany> {
        if self.per_client() { self.accounts.check(&self.hasher.hash_one((account, network(address)))) } else { Ok(()) }
    }
}

/// One customer of a provider: an IPv4 address, or the first 64 bits of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(bits.into())
        }
        canonical @ IpAddr::V4(_) => canonical,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn email(text: &str) -> Email {
        Email::parse(text).unwrap()
    }

    #[test]
    fn guesses_at_an_account_are_limited_and_another_address_is_not_locked_out() {
        let limits = RateLimits::new(true);
        let victim = email("victim@example.org");
        let tries = (0..100).take_while(|_| limits.check_account(&victim, address(1)).is_ok()).count();
        assert!((20..25).contains(&tries), "{tries}");
        assert!(limits.check_account(&victim, address(1)).unwrap_err().retry_after_s >= 1);
        assert!(limits.check_account(&victim, address(2)).is_ok());
        assert!(limits.check_account(&email("other@example.org"), address(1)).is_ok());
    }

    #[test]
    fn an_address_is_limited_unless_limits_are_off() {
        let limited = RateLimits::new(true);
        let tries = (0..1_000).take_while(|_| limited.check(Limited::Signup, address(1)).is_ok()).count();
        assert!((20..30).contains(&tries), "{tries}");
        assert!(limited.check(Limited::Signup, address(2)).is_ok());
        assert!(limited.check(Limited::Login, address(1)).is_ok());

        let off = RateLimits::new(false);
        let tries = (0..1_000).take_while(|_| off.check(Limited::Signup, address(1)).is_ok()).count();
        assert!((200..260).contains(&tries), "all together: {tries}");
    }

    #[test]
    fn a_network_of_one_customer_is_one_address() {
        let one = "2001:db8:1:2::1".parse().unwrap();
        assert_eq!(network(one), network("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(network(one), network("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }

    #[test]
    fn a_table_that_is_full_lets_new_keys_share_one_budget() {
        let table = Table::new(rate(2, 3_600_000));
        for key in 0..KEYS_MAX {
            assert!(table.check(&key).is_ok());
        }
        let tries = (KEYS_MAX..KEYS_MAX + 100).take_while(|key| table.check(key).is_ok()).count();
        assert_eq!((tries, table.keyed.len()), (2, KEYS_MAX));
    }
}
