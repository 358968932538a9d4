//! A command that changes accounts beside the daemon, and is killed in the middle of it, again and again.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use orinoco_domain::account::{Email, PasswordHash, Role};
use orinoco_embedded::accounts::SqliteAccounts;
use orinoco_ports::{Accounts, NewAccount};

use crate::{acknowledge, run_until_killed};

const ROUNDS: usize = 5;

fn open(directory: &Path) -> SqliteAccounts {
    SqliteAccounts::open(&directory.join("accounts.sqlite")).unwrap()
}

fn email(number: u64) -> Email {
    Email::parse(&format!("u{number}@example.org")).unwrap()
}

fn new(number: u64) -> NewAccount {
    let password_hash = PasswordHash::from_phc("$scrypt$ln=17,r=8,p=1$c2FsdA$aGFzaA");
    NewAccount { email: email(number), password_hash, orin_id: None, roles: BTreeSet::from([Role::User]) }
}

/// The command.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn child(directory: &Path) {
    let accounts = open(directory);
    let mut number = 1;
    loop {
        if accounts.by_email(&email(number)).await.unwrap().is_none() {
            accounts.create(&new(number)).await.unwrap();
            acknowledge(number);
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_go_on_beside_a_command_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Arc::new(open(directory.path()));
    let id = daemon.create(&new(0)).await.unwrap().id;
    for round in 0..ROUNDS {
        let before = daemon.by_id(id).await.unwrap().unwrap().generation;
        let is_over = Arc::new(AtomicBool::new(false));
        let changing = {
            let (daemon, is_over) = (Arc::clone(&daemon), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut changes = 0;
                while !is_over.load(Ordering::SeqCst) {
                    daemon.bump_generation(id).await.unwrap();
                    changes += 1;
                }
                changes
            })
        };
        let path = directory.path().to_owned();
        let killed = tokio::task::spawn_blocking(move || run_until_killed("beside accounts", &path, 20 + 7 * round));
        let acknowledged = killed.await.unwrap();
        is_over.store(true, Ordering::SeqCst);
        let changes: u64 = changing.await.unwrap();
        assert!(changes > 0);
        assert_eq!(daemon.by_id(id).await.unwrap().unwrap().generation, before + changes, "none was lost");
        for number in 1..=acknowledged {
            assert!(daemon.by_email(&email(number)).await.unwrap().is_some(), "account {number} of {acknowledged}");
        }
    }
}
