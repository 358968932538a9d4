#![allow(clippy::unwrap_used)]
//! What the accounts promise beyond the port's conformance suite: several programs on one file, times, errors.

use std::{fs, path::PathBuf};

use orinoco_ports::conformance::clock::ManualClock;
use tempfile::TempDir;

use super::*;

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("accounts.sqlite")
}

fn open(directory: &TempDir) -> Arc<SqliteAccounts> {
    Arc::new(SqliteAccounts::open(&path(directory)).unwrap())
}

fn new(email: &str) -> NewAccount {
    NewAccount {
        email: Email::parse(email).unwrap(),
        password_hash: PasswordHash::from_phc("$scrypt$ln=17,r=8,p=1$c2FsdA$aGFzaA"),
        orin_id: None,
        roles: BTreeSet::from([Role::User]),
    }
}

/// Statements of somebody else's.
fn meddle(directory: &TempDir, statements: &str) {
    Connection::open(path(directory)).unwrap().execute_batch(statements).unwrap();
}

#[tokio::test]
async fn programs_that_share_the_file_see_each_other_s_changes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, command) = (open(&directory), open(&directory));
    let made = command.create(&new("ada@example.org")).await.unwrap();
    assert_eq!(daemon.by_id(made.id).await.unwrap(), Some(made.clone()));
    let disabled = daemon.set_enabled(made.id, false).await.unwrap();
    assert_eq!(command.by_email(&made.email).await.unwrap(), disabled);
    drop(command);
    assert!(daemon.by_id(made.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_programs_that_race_for_an_address_one_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let programs = [open(&directory), open(&directory), open(&directory)];
    for round in 0..20 {
        let mut tasks = Vec::new();
        for program in &programs {
            let program = Arc::clone(program);
            tasks.push(tokio::spawn(async move { program.create(&new(&format!("u{round}@example.org"))).await }));
        }
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => made += 1,
                Err(AccountsError::EmailTaken) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(made, 1);
    }
    assert_eq!(programs[0].list(None, 100).await.unwrap().accounts.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_generation_is_lost_between_programs() {
    let directory = tempfile::tempdir().unwrap();
    let programs = [open(&directory), open(&directory)];
    let id = programs[0].create(&new("ada@example.org")).await.unwrap().id;
    let mut tasks = Vec::new();
    for number in 0..40 {
        let program = Arc::clone(&programs[number % 2]);
        tasks.push(tokio::spawn(async move { program.bump_generation(id).await.unwrap().unwrap().generation }));
    }
    let mut generations = BTreeSet::new();
    for task in tasks {
        generations.insert(task.await.unwrap());
    }
    assert!(generations.into_iter().eq(1..=40));
}

#[tokio::test]
async fn a_change_never_seems_older_than_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let accounts = SqliteAccounts::open_with_clock(&path(&directory), clock.clone()).unwrap();
    let made = accounts.create(&new("ada@example.org")).await.unwrap();
    clock.advance(-60_000);
    let changed = accounts.bump_generation(made.id).await.unwrap().unwrap();
    assert_eq!((changed.created_at_ms, changed.updated_at_ms), (made.created_at_ms, made.created_at_ms));
    clock.advance(61_000);
    let changed = accounts.bump_generation(made.id).await.unwrap().unwrap();
    assert_eq!(changed.updated_at_ms, made.created_at_ms + 1_000);
}

#[tokio::test]
async fn a_directory_that_is_missing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/data/accounts.sqlite");
    SqliteAccounts::open(&path).unwrap().create(&new("ada@example.org")).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn an_account_that_can_t_be_read_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = open(&directory);
    let odd = accounts.create(&new("odd@example.org")).await.unwrap().id;
    let good = accounts.create(&new("good@example.org")).await.unwrap().id;
    for damage in [
        "UPDATE user_role SET role = 'ROOT' WHERE user_id = 1",
        "UPDATE user_role SET role = 'USER'; UPDATE user SET email = 'odd' WHERE id = 1",
        "UPDATE user SET email = 'odd@example.org', orin_id = 'a b' WHERE id = 1",
    ] {
        meddle(&directory, damage);
        for error in [accounts.by_id(odd).await.unwrap_err(), accounts.bump_generation(odd).await.unwrap_err()] {
            assert!(matches!(error, AccountsError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains("restore the file from a copy"), "{error}");
        }
        assert!(accounts.bump_generation(good).await.unwrap().is_some());
    }
    meddle(&directory, "UPDATE user SET orin_id = NULL");
    assert_eq!(accounts.by_id(odd).await.unwrap().unwrap().generation, 0, "a change that can't be shown is not made");
}

#[tokio::test]
async fn a_change_that_sqlite_refuses_changes_nothing_and_the_next_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = open(&directory);
    let id = accounts.create(&new("ada@example.org")).await.unwrap().id;
    // The kind of trouble that a failing disk makes in the middle of a transaction.
    meddle(
        &directory,
        "CREATE TRIGGER broken BEFORE INSERT ON user_role BEGIN SELECT raise(ABORT, 'disk trouble'); END",
    );
    for error in [
        accounts.create(&new("eve@example.org")).await.unwrap_err(),
        accounts.set_roles(id, &BTreeSet::from([Role::Admin])).await.unwrap_err(),
    ] {
        assert!(matches!(&error, AccountsError::Unavailable { reason, .. } if reason.contains("disk trouble")));
    }
    meddle(&directory, "DROP TRIGGER broken");
    let accounts_then = accounts.list(None, 10).await.unwrap().accounts;
    assert_eq!((accounts_then.len(), accounts_then[0].is_admin()), (1, false));
    assert_eq!(accounts.create(&new("eve@example.org")).await.unwrap().id, UserId(2));
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory));
    meddle(&directory, "PRAGMA user_version = 99");
    let error = SqliteAccounts::open(&path(&directory)).unwrap_err();
    assert!(matches!(error, AccountsError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("99 (made by a newer orinoco"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_an_error_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(path(&directory), "this is not a database, but long enough to be taken for one".repeat(100)).unwrap();
    let error = SqliteAccounts::open(&path(&directory)).unwrap_err();
    assert!(matches!(error, AccountsError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("restore the file from a copy"), "{error}");
}

#[tokio::test]
async fn the_files_hold_nothing_that_was_not_given_and_only_hashes_of_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = open(&directory);
    accounts.create(&new("ada@example.org")).await.unwrap();
    let shown = format!("{accounts:?}");
    assert!(shown.contains("accounts.sqlite") && !shown.contains("scrypt"), "{shown}");
}
