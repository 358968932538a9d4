//! The audit log.

use std::{collections::BTreeSet, sync::Arc};

use orinoco_domain::{
    account::UserId,
    audit::{AuditEvent, NewAuditEntry},
};

use super::{AccountsFactory, fixture::audit_all};
use crate::{AuditPage, conformance::within_deadline};

const PLENTY: u32 = 10_000;

fn line(detail: &str) -> NewAuditEntry {
    NewAuditEntry::new(AuditEvent::LoginSuccess, Some(UserId(7)), Some("10.0.0.1"), detail)
}

pub async fn audit_lines_come_back_whole_and_newest_first(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    assert_eq!(accounts.audit(None, 10).await.unwrap(), AuditPage::default());
    let mut lines: Vec<NewAuditEntry> =
        AuditEvent::ALL.iter().map(|event| NewAuditEntry::new(*event, None, None, event.as_str())).collect();
    // Lines may name accounts that are not there (any more).
    lines.push(NewAuditEntry::new(AuditEvent::LoginFail, Some(UserId(i64::MAX)), Some("::1"), ""));
    lines.push(NewAuditEntry::new(AuditEvent::UserCreated, Some(UserId(1)), Some(""), "'; -- é\u{1f511}\\"));
    lines.push(NewAuditEntry::new(AuditEvent::TokenReuse, None, Some(&"x".repeat(64)), &"é".repeat(256)));
    for line in &lines {
        accounts.append_audit(line, PLENTY).await.unwrap();
    }
    lines.reverse();
    for page_max in [1, 7, lines.len(), lines.len() + 1] {
        let all = audit_all(&*accounts, page_max).await;
        assert!(all.iter().all(|entry| entry.at_ms > 1_700_000_000_000));
        assert_eq!(all.into_iter().map(|entry| entry.entry).collect::<Vec<_>>(), lines, "pages of {page_max}");
    }
}

pub async fn the_audit_log_forgets_the_oldest_lines(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    for number in 0..30 {
        accounts.append_audit(&line(&number.to_string()), 10).await.unwrap();
        let all = audit_all(&*accounts, 100).await;
        assert!(all.len() <= 10, "{} lines", all.len());
        let newest_first: Vec<String> = all.iter().map(|entry| entry.entry.detail().to_owned()).collect();
        let expected: Vec<String> = (0..=number).rev().take(all.len()).map(|number: i32| number.to_string()).collect();
        assert_eq!(newest_first, expected);
    }
    assert!(audit_all(&*accounts, 100).await.len() >= 5, "far fewer lines than were to be kept");
    // A smaller bound holds from the next line on.
    accounts.append_audit(&line("last"), 2).await.unwrap();
    let all = audit_all(&*accounts, 100).await;
    assert!(all.len() <= 2 && all[0].entry == line("last"));
}

pub async fn audit_lines_that_are_appended_at_once_are_all_kept(factory: &dyn AccountsFactory) {
    let accounts = factory.open().await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move { accounts.append_audit(&line(&number.to_string()), PLENTY).await })
        })
        .collect();
    for task in tasks {
        within_deadline("lines at once", task).await.unwrap().unwrap();
    }
    let all = audit_all(&*accounts, 7).await;
    let details: BTreeSet<&str> = all.iter().map(|entry| entry.entry.detail()).collect();
    assert_eq!((all.len(), details.len()), (50, 50));
}
