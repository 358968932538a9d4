#![allow(clippy::unwrap_used)]
//! What the login store promises beyond the port's conformance suite: its file, its clock, its bounds, its errors.

use std::path::PathBuf;

use orinoco_domain::{
    ClientInfo,
    challenge::Status,
    refresh::NewFamily,
    secret::{Binding, ChallengeId, CookieSecret, DerivationKey, KeyId, Salt},
};
use orinoco_ports::conformance::clock::ManualClock;
use tempfile::TempDir;

use super::*;

const ADA: UserId = UserId(1);
const MINUTE_MS: i64 = 60_000;

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("logins.sqlite")
}

struct Setup {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Setup {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    fn open(&self) -> EmbeddedLoginStore {
        self.open_with(EmbeddedLoginOptions::default())
    }

    fn open_with(&self, options: EmbeddedLoginOptions) -> EmbeddedLoginStore {
        EmbeddedLoginStore::open_with_clock(&path(&self.directory), options, self.clock.clone()).unwrap()
    }

    /// Statements of somebody else's.
    fn meddle(&self, statements: &str) {
        Connection::open(path(&self.directory)).unwrap().execute_batch(statements).unwrap();
    }

    fn rows(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        Connection::open(path(&self.directory)).unwrap().query_row(&count, [], |row| row.get(0)).unwrap()
    }
}

fn new_challenge(number: u32, ttl_ms: i64) -> NewChallenge {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    NewChallenge {
        key: ChallengeKey::of(&ChallengeId::from_bytes(id)),
        salt: Salt::from_bytes([1; 16]),
        key_id: KeyId(1),
        binding: Binding::to_cookie(&CookieSecret::from_bytes([2; 32])),
        creator: ClientInfo::new("192.0.2.7", "Mozilla/5.0"),
        device_grant: None,
        ttl_ms,
    }
}

fn family(number: u8, now_ms: i64, ttl_ms: i64) -> Family {
    let new = NewFamily {
        id: FamilyId::from_bytes([number; 16]),
        user_id: ADA,
        generation: 0,
        client_id: None,
        salt: Salt::from_bytes([3; 16]),
        client: ClientInfo::new("::1", "curl"),
        ttl_ms,
    };
    new.begin(&DerivationKey::from_bytes(KeyId(1), [4; 32]), now_ms).0
}

fn cancelled(challenge: &Challenge) -> Challenge {
    let ended_at_ms = Some(challenge.created_at_ms);
    Challenge { status: Status::Cancelled, ended_at_ms, version: challenge.version + 1, ..challenge.clone() }
}

#[tokio::test]
async fn a_subscriber_too_far_behind_is_told_so_for_good() {
    let setup = Setup::new();
    let store = setup.open_with(EmbeddedLoginOptions { events_max: 4, ..EmbeddedLoginOptions::default() });
    let mut slow = store.subscribe().await.unwrap();
    for _ in 0..5 {
        store.end_families_of(ADA, EndReason::Logout).await.unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(slow.next().await, Err(LoginStoreError::Unavailable { .. })));
    }
    let mut anew = store.subscribe().await.unwrap();
    store.end_families_of(ADA, EndReason::Revoked).await.unwrap();
    let ended = LoginEvent::LoginsEnded { user_id: ADA, family: None, reason: EndReason::Revoked };
    assert_eq!(anew.next().await.unwrap(), ended);
    drop(store);
    assert!(anew.next().await.is_err(), "the store has gone");
}

#[tokio::test]
async fn what_sqlite_refuses_changes_and_publishes_nothing() {
    let setup = Setup::new();
    let store = setup.open();
    let made = store.create_challenge(&new_challenge(1, MINUTE_MS)).await.unwrap();
    let began = family(1, made.created_at_ms, MINUTE_MS);
    let mut subscription = store.subscribe().await.unwrap();
    // The kind of trouble that a failing disk makes in the middle of a transaction: the challenge has been written then.
    setup.meddle("CREATE TRIGGER broken BEFORE INSERT ON family BEGIN SELECT raise(ABORT, 'disk trouble'); END");
    let error = store.swap_challenge(&cancelled(&made), Some(&began)).await.unwrap_err();
    assert!(matches!(&error, LoginStoreError::Unavailable { reason, .. } if reason.contains("disk trouble")));
    assert_eq!(store.load_challenge(&made.key).await.unwrap().record, Some(made.clone()));
    setup.meddle("DROP TRIGGER broken");
    store.end_families_of(ADA, EndReason::Logout).await.unwrap();
    assert!(matches!(subscription.next().await.unwrap(), LoginEvent::LoginsEnded { .. }), "the first that was done");
    assert_eq!(store.swap_challenge(&cancelled(&made), Some(&began)).await.unwrap(), Swap::Swapped);
}

#[tokio::test]
async fn records_whose_time_is_up_are_removed_by_later_writes_a_few_at_a_time() {
    let setup = Setup::new();
    let store = setup.open();
    for number in 0..100 {
        store.create_challenge(&new_challenge(number, 1_000)).await.unwrap();
        let family = family(u8::try_from(number).unwrap(), store.now_ms().await.unwrap(), 1_000);
        store.create_family(&family).await.unwrap();
    }
    let lasting = store.create_challenge(&new_challenge(1_000, 10 * MINUTE_MS)).await.unwrap();
    assert_eq!((setup.rows("challenge"), setup.rows("family")), (101, 100));
    setup.clock.advance(5 * MINUTE_MS);
    store.create_challenge(&new_challenge(1_001, MINUTE_MS)).await.unwrap();
    let left = setup.rows("challenge");
    assert!((80..100).contains(&left), "{left}");
    for number in 2_000..2_010 {
        store.create_challenge(&new_challenge(number, 10 * MINUTE_MS)).await.unwrap();
    }
    assert_eq!((setup.rows("challenge"), setup.rows("family")), (12, 0));
    assert_eq!(store.load_challenge(&lasting.key).await.unwrap().record, Some(lasting));
}

#[tokio::test]
async fn a_restart_under_a_clock_that_was_set_back_prolongs_nothing() {
    let setup = Setup::new();
    let store = setup.open();
    let made = store.create_challenge(&new_challenge(1, MINUTE_MS)).await.unwrap();
    let login = family(1, made.created_at_ms, 3 * MINUTE_MS);
    store.create_family(&login).await.unwrap();
    setup.clock.advance(2 * MINUTE_MS);
    // The file learns the time from any write.
    store.create_challenge(&new_challenge(2, MINUTE_MS)).await.unwrap();
    drop(store);
    setup.clock.advance(-60 * MINUTE_MS);
    let store = setup.open();
    let loaded = store.load_challenge(&made.key).await.unwrap();
    assert_eq!((loaded.record, loaded.now_ms >= made.purge_at_ms()), (None, true));
    assert_eq!(store.load_family(&login.id).await.unwrap().record, Some(login.clone()));
    let advice = store.probe().await.unwrap().advice;
    assert!(advice.len() == 1 && advice[0].contains("3600 s behind"), "{advice:?}");
    setup.clock.advance(61 * MINUTE_MS);
    assert_eq!(store.load_family(&login.id).await.unwrap().record, None);
    assert_eq!(store.probe().await.unwrap().advice, Vec::<String>::new());
}

#[tokio::test]
async fn a_record_that_can_t_be_read_is_told_and_hides_no_other() {
    let setup = Setup::new();
    let store = setup.open();
    let odd = store.create_challenge(&new_challenge(1, MINUTE_MS)).await.unwrap();
    let good = store.create_challenge(&new_challenge(2, MINUTE_MS)).await.unwrap();
    setup.meddle("UPDATE challenge SET record = '{' WHERE id = 1");
    let error = store.load_challenge(&odd.key).await.unwrap_err();
    assert!(matches!(error, LoginStoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("move the file away"), "{error}");
    assert!(store.load_challenge(&good.key).await.unwrap().record.is_some());
    assert_eq!(store.swap_challenge(&cancelled(&good), None).await.unwrap(), Swap::Swapped);
}

#[tokio::test]
async fn a_cursor_that_no_page_gave_leads_to_an_empty_page() {
    let setup = Setup::new();
    let store = setup.open();
    store.create_family(&family(1, store.now_ms().await.unwrap(), MINUTE_MS)).await.unwrap();
    for cursor in ["", "1", "x.y", "1.AQEBAQ", "99999999999999999999.AQEBAQEBAQEBAQEBAQEBAQ"] {
        assert_eq!(store.families_of(ADA, Some(cursor), 10).await.unwrap(), FamilyPage::default(), "{cursor}");
    }
}

#[test]
fn a_cursor_is_parsed_as_it_is_written() {
    for (number, ttl_ms) in [(0, 5), (255, i64::MAX)] {
        let cursor = Cursor::behind(&family(number, 1_767_323_045_678, ttl_ms));
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
}

#[tokio::test]
async fn logins_that_never_end_are_listed_too() {
    let setup = Setup::new();
    let store = setup.open();
    for number in [0, 255] {
        store.create_family(&family(number, store.now_ms().await.unwrap(), i64::MAX)).await.unwrap();
    }
    assert_eq!(store.families_of(ADA, None, 10).await.unwrap().families.len(), 2);
}

#[test]
fn a_newer_schema_is_refused() {
    let setup = Setup::new();
    drop(setup.open());
    setup.meddle("PRAGMA user_version = 99");
    let refused = EmbeddedLoginStore::open(&path(&setup.directory), EmbeddedLoginOptions::default()).unwrap_err();
    assert!(matches!(refused, LoginStoreError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains("schema 99"), "{refused}");
}
