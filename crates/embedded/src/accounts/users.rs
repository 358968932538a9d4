//! Accounts and their roles.

use std::collections::BTreeSet;

use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
};
use orinoco_ports::{AccountPage, NewAccount, Rehash};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sqlite::{page_limit, take_page, unreadable};

/// What another account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Email,
    OrinId,
}

/// The columns that [`account`] reads.
macro_rules! select_account {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, password_hash, orin_id, enabled, generation, created_at_ms, updated_at_ms, ",
            "(SELECT group_concat(role) FROM user_role WHERE user_id = user.id) FROM user ",
            $rest
        )
    };
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let email: String = row.get(1)?;
    let orin_id: Option<String> = row.get(3)?;
    let roles: Option<String> = row.get(8)?;
    let roles = roles.iter().flat_map(|roles| roles.split(',')).map(Role::parse).collect::<Result<BTreeSet<_>, _>>();
    Ok(Account {
        id: UserId(row.get(0)?),
        email: Email::parse(&email).map_err(|error| unreadable(1, error))?,
        password_hash: PasswordHash::from_phc(row.get_ref(2)?.as_str()?),
        orin_id: orin_id.map(|name| DeviceId::parse(&name)).transpose().map_err(|error| unreadable(3, error))?,
        roles: roles.map_err(|error| unreadable(8, error))?,
        enabled: row.get(4)?,
        generation: row.get::<_, i64>(5)?.cast_unsigned(),
        created_at_ms: row.get(6)?,
        updated_at_ms: row.get(7)?,
    })
}

pub(super) fn by_id(connection: &Connection, id: UserId) -> rusqlite::Result<Option<Account>> {
    connection.prepare_cached(select_account!("WHERE id = ?1"))?.query_row([id.0], account).optional()
}

pub(super) fn by_email(connection: &Connection, email: &Email) -> rusqlite::Result<Option<Account>> {
    connection.prepare_cached(select_account!("WHERE email = ?1"))?.query_row([email.as_str()], account).optional()
}

pub(super) fn list(
    connection: &Connection,
    after: Option<UserId>,
    accounts_max: usize,
) -> rusqlite::Result<AccountPage> {
    let mut select = connection.prepare_cached(select_account!("WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    let after = after.map_or(i64::MIN, |id| id.0);
    let mut accounts =
        select.query_map(params![after, page_limit(accounts_max)], account)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let has_more = take_page(&mut accounts, accounts_max);
    let next = accounts.last().map(|account| account.id).filter(|_| has_more);
    Ok(AccountPage { accounts, next })
}

/// Whether an account other than `but` has the device.
fn is_bound(connection: &Connection, orin_id: Option<&DeviceId>, but: Option<UserId>) -> rusqlite::Result<bool> {
    let Some(orin_id) = orin_id else { return Ok(false) };
    let mut select = connection.prepare_cached("SELECT id FROM user WHERE orin_id = ?1")?;
    let holder: Option<i64> = select.query_row([orin_id.as_str()], |row| row.get(0)).optional()?;
    Ok(holder.is_some_and(|holder| but != Some(UserId(holder))))
}

pub(super) fn create(
    connection: &Connection,
    new: &NewAccount,
    now_ms: i64,
) -> rusqlite::Result<Result<Account, Taken>> {
    let mut same_email = connection.prepare_cached("SELECT 1 FROM user WHERE email = ?1")?;
    if same_email.exists([new.email.as_str()])? {
        return Ok(Err(Taken::Email));
    }
    if is_bound(connection, new.orin_id.as_ref(), None)? {
        return Ok(Err(Taken::OrinId));
    }
    let insert = "INSERT INTO user (email, password_hash, orin_id, enabled, generation, created_at_ms, updated_at_ms)
                  VALUES (?1, ?2, ?3, 1, 0, ?4, ?4)";
    let orin_id = new.orin_id.as_ref().map(DeviceId::as_str);
    connection.prepare_cached(insert)?.execute(params![
        new.email.as_str(),
        new.password_hash.expose(),
        orin_id,
        now_ms
    ])?;
    let id = UserId(connection.last_insert_rowid());
    insert_roles(connection, id, &new.roles)?;
    Ok(Ok(Account {
        id,
        email: new.email.clone(),
        password_hash: new.password_hash.clone(),
        orin_id: new.orin_id.clone(),
        roles: new.roles.clone(),
        enabled: true,
        generation: 0,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    }))
}

fn insert_roles(connection: &Connection, id: UserId, roles: &BTreeSet<Role>) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO user_role (user_id, role) VALUES (?1, ?2)")?;
    for role in roles {
        insert.execute(params![id.0, role.as_str()])?;
    }
    Ok(())
}

pub(super) fn replace_password_hash(
    connection: &Connection,
    id: UserId,
    expected: &PasswordHash,
    replacement: &PasswordHash,
    rehash: Rehash,
    now_ms: i64,
) -> rusqlite::Result<Option<Account>> {
    let update = "UPDATE user SET password_hash = ?3, generation = generation + ?4,
                  updated_at_ms = max(updated_at_ms, ?5) WHERE id = ?1 AND password_hash = ?2";
    let added = match rehash {
        Rehash::Parameters => 0,
        Rehash::Password => 1,
    };
    let updated = connection.prepare_cached(update)?.execute(params![
        id.0,
        expected.expose(),
        replacement.expose(),
        added,
        now_ms
    ])?;
    if updated == 0 { Ok(None) } else { by_id(connection, id) }
}

pub(super) fn set_enabled(
    connection: &Connection,
    id: UserId,
    enabled: bool,
    now_ms: i64,
) -> rusqlite::Result<Option<Account>> {
    let update = "UPDATE user SET enabled = ?2, generation = generation + (1 - ?2),
                  updated_at_ms = max(updated_at_ms, ?3) WHERE id = ?1";
    connection.prepare_cached(update)?.execute(params![id.0, enabled, now_ms])?;
    by_id(connection, id)
}

pub(super) fn set_roles(
    connection: &Connection,
    id: UserId,
    roles: &BTreeSet<Role>,
    now_ms: i64,
) -> rusqlite::Result<Option<Account>> {
    let update = "UPDATE user SET updated_at_ms = max(updated_at_ms, ?2) WHERE id = ?1";
    if connection.prepare_cached(update)?.execute(params![id.0, now_ms])? == 0 {
        return Ok(None);
    }
    connection.prepare_cached("DELETE FROM user_role WHERE user_id = ?1")?.execute([id.0])?;
    insert_roles(connection, id, roles)?;
    by_id(connection, id)
}

pub(super) fn set_orin_id(
    connection: &Connection,
    id: UserId,
    orin_id: Option<&DeviceId>,
    now_ms: i64,
) -> rusqlite::Result<Result<Option<Account>, Taken>> {
    let exists = connection.prepare_cached("SELECT 1 FROM user WHERE id = ?1")?.exists([id.0])?;
    if exists && is_bound(connection, orin_id, Some(id))? {
        return Ok(Err(Taken::OrinId));
    }
    let update = "UPDATE user SET orin_id = ?2, updated_at_ms = max(updated_at_ms, ?3) WHERE id = ?1";
    connection.prepare_cached(update)?.execute(params![id.0, orin_id.map(DeviceId::as_str), now_ms])?;
    by_id(connection, id).map(Ok)
}

pub(super) fn bump_generation(connection: &Connection, id: UserId, now_ms: i64) -> rusqlite::Result<Option<Account>> {
    let update = "UPDATE user SET generation = generation + 1, updated_at_ms = max(updated_at_ms, ?2) WHERE id = ?1";
    connection.prepare_cached(update)?.execute(params![id.0, now_ms])?;
    by_id(connection, id)
}
