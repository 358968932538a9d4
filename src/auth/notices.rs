//! What a user is told of at its other logins: that one of them was ended because a refresh token of it came twice (RFC 9700, section 4.14.2).
//!
//! The daemon at which it happened writes the audit log, and the login store publishes the end to all daemons; each remembers it here. One
//! that was down, or missed the publication, reads it in the audit log. Invariants: a login is told of once; at most [`NOTICES_MAX`] of a
//! user and [`USERS_MAX`] users, the oldest making room; none is older than [`KEPT_MS`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use orinoco_domain::{
    account::UserId,
    audit::{AuditEntry, AuditEvent},
    refresh::FamilyId,
};

use super::{Auth, AuthError, call};

const NOTICES_MAX: usize = 10;
const USERS_MAX: usize = 10_000;
/// A week.
const KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// Lines of the audit log that are looked through, and of a page of it.
const LINES_MAX: usize = 10_000;
const PAGE_MAX: usize = 1_000;
/// How the line of the audit log begins; the login follows.
const LINE_BEGIN: &str = "a refresh token that had been replaced came again; ended login ";

/// A login that was ended by the reuse of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseNotice {
    pub session: FamilyId,
    /// ms since 1970.
    pub at_ms: i64,
}

/// The `detail` of the audit log's line.
pub(super) fn line(session: FamilyId) -> String {
    format!("{LINE_BEGIN}{session}")
}

fn of_line(line: &AuditEntry) -> Option<(UserId, ReuseNotice)> {
    if line.entry.event != AuditEvent::TokenReuse {
        return None;
    }
    let session = FamilyId::parse(line.entry.detail().strip_prefix(LINE_BEGIN)?).ok()?;
    Some((line.entry.user_id?, ReuseNotice { session, at_ms: line.at_ms }))
}

#[derive(Default)]
pub(super) struct Notices(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_user: HashMap<UserId, Vec<ReuseNotice>>,
    /// Users in the order in which they came.
    order: VecDeque<UserId>,
}

impl Notices {
    pub(super) fn add(&self, user_id: UserId, notice: ReuseNotice) {
        let mut table = self.table();
        if !table.by_user.contains_key(&user_id) {
            if table.order.len() >= USERS_MAX
                && let Some(oldest) = table.order.pop_front()
            {
                table.by_user.remove(&oldest);
            }
            table.order.push_back(user_id);
        }
        let notices = table.by_user.entry(user_id).or_default();
        if notices.iter().any(|present| present.session == notice.session) {
            return;
        }
        notices.push(notice);
        notices.sort_by_key(|notice| std::cmp::Reverse(notice.at_ms));
        notices.truncate(NOTICES_MAX);
    }

    /// Newest first.
    fn of(&self, user_id: UserId, now_ms: i64) -> Vec<ReuseNotice> {
        let table = self.table();
        let notices = table.by_user.get(&user_id).map(Vec::as_slice).unwrap_or_default();
        notices.iter().filter(|notice| now_ms - notice.at_ms < KEPT_MS).copied().collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Auth {
    /// What a user is told of, newest first.
    #[must_use]
    pub fn notices(&self, user_id: UserId) -> Vec<ReuseNotice> {
        self.live.notices.of(user_id, super::now_ms())
    }

    /// Reads what this daemon did not hear.
    pub(super) async fn read_notices(&self) -> Result<(), AuthError> {
        let oldest_ms = super::now_ms() - KEPT_MS;
        let mut before = None;
        for _ in 0..LINES_MAX / PAGE_MAX {
            let page = call(self.accounts.audit(before, PAGE_MAX)).await?;
            for (user_id, notice) in page.entries.iter().filter_map(of_line) {
                self.live.notices.add(user_id, notice);
            }
            let is_old = page.entries.last().is_none_or(|line| line.at_ms < oldest_ms);
            before = page.next;
            if is_old || before.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use orinoco_domain::audit::NewAuditEntry;

    use super::*;

    fn notice(session: u8, at_ms: i64) -> ReuseNotice {
        ReuseNotice { session: FamilyId::from_bytes([session; 16]), at_ms }
    }

    #[test]
    fn a_login_is_told_of_once_and_for_a_week() {
        let notices = Notices::default();
        notices.add(UserId(1), notice(1, 1000));
        notices.add(UserId(1), notice(1, 1500));
        notices.add(UserId(1), notice(2, 2000));
        assert_eq!(notices.of(UserId(1), 3000), [notice(2, 2000), notice(1, 1000)]);
        assert_eq!(notices.of(UserId(1), 1000 + KEPT_MS), [notice(2, 2000)]);
        assert!(notices.of(UserId(2), 3000).is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let notices = Notices::default();
        for session in 0..=10 {
            notices.add(UserId(0), notice(session, session.into()));
        }
        let of_first = notices.of(UserId(0), 0);
        assert_eq!((of_first.len(), of_first[9]), (NOTICES_MAX, notice(1, 1)));
        for user_id in 1..=USERS_MAX {
            notices.add(UserId(i64::try_from(user_id).unwrap_or(0)), notice(1, 0));
        }
        assert!(notices.of(UserId(0), 0).is_empty() && notices.table().by_user.len() == USERS_MAX);
    }

    #[test]
    fn a_line_of_the_audit_log_is_understood_again() {
        let (user, one) = (UserId(7), notice(9, 5));
        let entry = |event, detail: &str| AuditEntry {
            id: 1,
            at_ms: one.at_ms,
            entry: NewAuditEntry::new(event, Some(user), None, detail),
        };
        assert_eq!(of_line(&entry(AuditEvent::TokenReuse, &line(one.session))), Some((user, one)));
        assert_eq!(of_line(&entry(AuditEvent::TokenRevoked, &line(one.session))), None);
        assert_eq!(of_line(&entry(AuditEvent::TokenReuse, "another sentence")), None);
    }
}
