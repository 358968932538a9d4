//! Accounts in PostgreSQL: what the suite of all accounts can't know.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use orinoco_domain::{
    account::{Email, PasswordHash, Role, UserId},
    audit::{AuditEvent, NewAuditEntry},
};
use orinoco_ports::{Accounts, AccountsError, NewAccount};
use orinoco_services::{PostgresAccounts, PostgresAccountsOptions, migrate};
use orinoco_testkit::{Database, Postgres, poll_until};

const DEADLINE: Duration = Duration::from_secs(30);

async fn empty_database() -> Database {
    Postgres::shared().await.unwrap().fresh_database().await.unwrap()
}

fn accounts(url: &str) -> PostgresAccounts {
    let options = PostgresAccountsOptions { call_timeout: Duration::from_secs(5), ..PostgresAccountsOptions::new(url) };
    PostgresAccounts::new(&options).unwrap()
}

fn ada() -> NewAccount {
    NewAccount {
        email: Email::parse("ada@example.org").unwrap(),
        password_hash: PasswordHash::from_phc("$scrypt$ln=17,r=8,p=1$c2FsdA$aGFzaA"),
        orin_id: None,
        roles: BTreeSet::from([Role::User]),
    }
}

fn line(detail: &str) -> NewAuditEntry {
    NewAuditEntry::new(AuditEvent::LoginSuccess, Some(UserId(7)), Some("10.0.0.1"), detail)
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused_with_the_remedy() {
    let database = empty_database().await;
    let accounts = accounts(database.url());
    for refused in [accounts.by_id(UserId(1)).await.err(), accounts.probe().await.err()] {
        let text = refused.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(matches!(refused, Some(AccountsError::Schema { .. })) && text.contains("orinoco migrate"), "{text}");
    }
    migrate(database.url()).await.unwrap();
    assert!(accounts.create(&ada()).await.is_ok());
    let info = accounts.probe().await.unwrap();
    assert!(info.version.starts_with("PostgreSQL ") && info.advice.is_empty(), "{info:?}");
}

#[tokio::test]
async fn after_an_outage_no_call_fails_for_a_connection_that_died_in_it() {
    let server = Postgres::start().await.unwrap();
    migrate(server.url()).await.unwrap();
    let options = PostgresAccountsOptions {
        call_timeout: Duration::from_secs(8),
        connections_max: 3,
        ..PostgresAccountsOptions::new(server.url())
    };
    let accounts = PostgresAccounts::new(&options).unwrap();
    let made = accounts.create(&ada()).await.unwrap();
    let all_at_once = async || {
        let call = async || accounts.by_id(made.id).await;
        <[_; 3]>::from(tokio::join!(call(), call(), call()))
    };
    for answer in all_at_once().await {
        assert_eq!(answer.unwrap(), Some(made.clone()));
    }
    server.kill().await.unwrap();
    let text = accounts.by_id(made.id).await.unwrap_err().to_string();
    assert!(text.contains("127.0.0.1") && !text.contains("orinoco:orinoco"), "{text}");
    assert!(matches!(accounts.create(&ada()).await, Err(AccountsError::Unavailable { .. })));
    server.restart().await.unwrap();
    for answer in all_at_once().await {
        assert_eq!(answer.unwrap(), Some(made.clone()));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_changes_are_whole_afterwards() {
    let server = Postgres::start().await.unwrap();
    migrate(server.url()).await.unwrap();
    let options = PostgresAccountsOptions {
        call_timeout: Duration::from_millis(1_500),
        connections_max: 1,
        ..PostgresAccountsOptions::new(server.url())
    };
    // Connecting may take its time where much else is going on.
    let accounts = PostgresAccounts::new(&options).unwrap();
    let made = poll_until(DEADLINE, "an account", async || {
        accounts.create(&ada()).await.ok();
        accounts.by_email(&ada().email).await.ok().flatten()
    });
    let made = made.await.unwrap();
    server.pause().unwrap();
    // The server's process for this connection goes on; no new one is made.
    for _ in 0..3 {
        if let Err(error) = accounts.bump_generation(made.id).await {
            assert!(matches!(error, AccountsError::Unavailable { .. }), "{error:?}");
        }
    }
    server.resume().unwrap();
    let admin = BTreeSet::from([Role::Admin]);
    let after = poll_until(DEADLINE, "a change after the pause", async || {
        accounts.set_roles(made.id, &admin).await.ok().flatten()
    });
    let after = after.await.unwrap();
    assert_eq!(after.roles, admin);
    assert_eq!(accounts.by_id(made.id).await.unwrap(), Some(after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_roles_that_are_set_at_once_those_of_one_caller_stand() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let accounts = Arc::new(accounts(database.url()));
    let made = accounts.create(&ada()).await.unwrap();
    let sets = [BTreeSet::from([Role::User]), BTreeSet::from([Role::Admin]), BTreeSet::new()];
    for _ in 0..30 {
        accounts.set_roles(made.id, &BTreeSet::new()).await.unwrap();
        let tasks = sets.clone().map(|roles| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move { (accounts.set_roles(made.id, &roles).await.unwrap().unwrap().roles, roles) })
        });
        for task in tasks {
            let (found, expected) = task.await.unwrap();
            assert_eq!(found, expected, "the account as it was after this change");
        }
        let roles = accounts.by_id(made.id).await.unwrap().unwrap().roles;
        assert!(sets.contains(&roles), "a mixture: {roles:?}");
    }
}

#[tokio::test]
async fn forgetting_audit_lines_never_scans_the_table() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let statement = include_str!("../../src/postgres/accounts/append_audit.sql");
    for lines in [0, 2_000, 100_000] {
        let fill = format!(
            "insert into audit (event, detail) select 'authn_login_success', 'x' from generate_series(1, {lines}); \
            analyze audit"
        );
        database.execute(&fill).await.unwrap();
        let explain = format!(
            "prepare append (text, bigint, text, text, bigint, bigint) as {statement}; \
            explain execute append ('authn_login_success', null, null, 'x', 100, 1000)"
        );
        let plan = database.execute(&explain).await.unwrap();
        let scans = plan.contains("Seq Scan on audit");
        assert!(lines < 2_000 || !scans, "with {lines} lines:\n{plan}");
    }
}

#[tokio::test]
async fn a_bound_that_was_lowered_is_reached_a_thousand_audit_lines_at_a_time() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let fill =
        "insert into audit (event, detail) select 'authn_login_success', n::text from generate_series(1, 2500) n";
    database.execute(fill).await.unwrap();
    let accounts = accounts(database.url());
    for expected in [1_501, 502, 10, 10] {
        accounts.append_audit(&line("appended"), 10).await.unwrap();
        assert_eq!(database.execute("select count(*) from audit").await.unwrap(), expected.to_string());
    }
    let page = accounts.audit(None, 5).await.unwrap();
    assert!(page.entries.iter().take(4).all(|entry| entry.entry == line("appended")), "{page:?}");
}

#[tokio::test]
async fn what_others_wrote_and_nobody_can_read_is_named() {
    let database = empty_database().await;
    migrate(database.url()).await.unwrap();
    let accounts = accounts(database.url());
    let made = accounts.create(&ada()).await.unwrap();
    database.execute("update users set email = 'no address'").await.unwrap();
    let error = accounts.by_id(made.id).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AccountsError::Corrupt { .. }) && text.contains("e-mail address of account"), "{text}");
}

#[tokio::test]
async fn options_and_errors_don_t_show_the_password() {
    let options = PostgresAccountsOptions::new("postgres://orinoco:s3cret@localhost/orinoco");
    assert!(!format!("{options:?} {:?}", PostgresAccounts::new(&options).unwrap()).contains("s3cret"));
    let text = PostgresAccounts::new(&PostgresAccountsOptions::new("http://x:s3cret@y")).unwrap_err().to_string();
    assert!(text.contains("postgres.url") && !text.contains("s3cret"), "{text}");
}
