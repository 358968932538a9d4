//! Accounts, device credentials and the audit log in PostgreSQL, by its clock.
//!
//! Invariants: unique constraints decide who gets an e-mail address and a device; all changes of one account wait for its row, and the
//! account that a change returns is read while that row is still locked, so that it is never a mixture of two changes.

mod rows;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use orinoco_domain::{
    DeviceId,
    account::{Account, Email, PasswordHash, Role, UserId},
    audit::NewAuditEntry,
};
use orinoco_ports::{
    AccountPage, Accounts, AccountsError, AuditPage, BackendInfo, DeviceCredential, DeviceCredentialPage, NewAccount,
    Rehash,
};
use tokio_postgres::{Row, types::Type};

use self::rows::{ACCOUNT_COLUMNS, AUDIT_COLUMNS, CREDENTIAL_COLUMNS};
use super::{
    PostgresAccess, schema,
    server::{Argument, Failure, Server, Statement},
};

/// Rows of one page: what is asked beyond comes with the next one.
const PAGE_MAX: usize = 1_000;
/// Audit lines that one append forgets: where the bound is lowered by more, the appends that follow forget the others.
const FORGOTTEN_MAX: i64 = 1_000;

/// How to reach the accounts.
#[derive(Debug, Clone)]
pub struct PostgresAccountsOptions {
    pub access: PostgresAccess,
    /// What any call may take, connecting included.
    pub call_timeout: Duration,
    pub connections_max: u32,
}

impl PostgresAccountsOptions {
    #[must_use]
    pub fn new(access: impl Into<PostgresAccess>) -> Self {
        Self { access: access.into(), call_timeout: Duration::from_millis(2_000), connections_max: 8 }
    }
}

/// [`Accounts`] in tables `users`, `user_roles`, `device_credentials` and `audit`. Must be made and used inside a tokio runtime.
#[derive(Debug)]
pub struct PostgresAccounts {
    server: Server,
}

impl PostgresAccounts {
    /// Connects when first used.
    ///
    /// # Errors
    /// [`AccountsError::Unavailable`] for a URL that can't be understood.
    pub fn new(options: &PostgresAccountsOptions) -> Result<Self, AccountsError> {
        let server = Server::new(&options.access, options.connections_max, options.call_timeout)
            .map_err(|reason| AccountsError::Unavailable { place: "at postgres.url".to_owned(), reason })?;
        Ok(Self { server })
    }

    async fn query(&self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, AccountsError> {
        self.server.query(sql, arguments).await.map_err(|failure| self.failed(failure))
    }

    /// Changes account `$1` by statements of which the first yields a row if there is something to change, and reads it then.
    async fn change(&self, id: UserId, statements: &[Statement<'_>]) -> Result<Option<Account>, AccountsError> {
        let read = format!("select {ACCOUNT_COLUMNS} from users as account where id = $1");
        let arguments: [Argument<'_>; 1] = [(&id.0, Type::INT8)];
        let all = [statements, &[Statement { sql: &read, arguments: &arguments }]].concat();
        let rows = self.server.transaction(&all).await.map_err(|failure| self.failed(failure))?;
        self.first(&rows, rows::account)
    }

    /// [`PostgresAccounts::change`] by one statement: `update users set` this. `$1` is the id, what follows are `arguments`.
    async fn update(
        &self,
        id: UserId,
        assignments: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Option<Account>, AccountsError> {
        let sql = format!("update users set {assignments}, {TOUCHED} where id = $1 returning id");
        let mut all: Vec<Argument<'_>> = vec![(&id.0, Type::INT8)];
        all.extend_from_slice(arguments);
        self.change(id, &[Statement { sql: &sql, arguments: &all }]).await
    }

    fn first<T>(&self, rows: &[Row], read: impl Fn(&Row) -> Result<T, String>) -> Result<Option<T>, AccountsError> {
        rows.first().map(read).transpose().map_err(|reason| self.failed(Failure::Corrupt { reason }))
    }

    /// Of rows that were asked for one beyond the page: the page, and whether there are more.
    fn page<T>(
        &self,
        rows: &[Row],
        rows_max: usize,
        read: impl Fn(&Row) -> Result<T, String>,
    ) -> Result<(Vec<T>, bool), AccountsError> {
        let items = rows.iter().take(rows_max).map(read).collect::<Result<_, _>>();
        let items = items.map_err(|reason| self.failed(Failure::Corrupt { reason }))?;
        Ok((items, rows.len() > rows_max))
    }

    fn failed(&self, failure: Failure) -> AccountsError {
        let place = self.server.place().to_owned();
        match failure {
            Failure::Unavailable { reason } => AccountsError::Unavailable { place, reason },
            Failure::Corrupt { reason } => AccountsError::Corrupt { place, reason },
            Failure::Taken { constraint } => match constraint.as_str() {
                "users_email_key" => AccountsError::EmailTaken,
                "users_orin_id_key" => AccountsError::OrinIdTaken,
                _ => AccountsError::Corrupt { place, reason: format!("{constraint} is violated") },
            },
            Failure::Schema { found } => AccountsError::Schema {
                place,
                found: schema::found_text(found),
                needed: schema::schema_version_needed().to_string(),
            },
        }
    }
}

/// Never earlier than before, as `now()` is when the transaction began: perhaps before that of another one, for which it waited.
const TOUCHED: &str = "updated_at = greatest(updated_at, now())";

/// How many rows to ask for, so that it shows whether there are more.
fn limit(rows_max: usize) -> (usize, i64) {
    let rows_max = rows_max.min(PAGE_MAX);
    (rows_max, i64::try_from(rows_max + 1).unwrap_or(i64::MAX))
}

fn role_names(roles: &BTreeSet<Role>) -> Vec<&'static str> {
    roles.iter().map(|role| role.as_str()).collect()
}

#[async_trait]
impl Accounts for PostgresAccounts {
    async fn create(&self, new: &NewAccount) -> Result<Account, AccountsError> {
        let sql = format!(
            "with account as (
                insert into users (email, password_hash, orin_id) values ($1, $2, $3) returning *
            ), granted as (
                insert into user_roles (user_id, role) select id, unnest($4) from account
            )
            select {ACCOUNT_COLUMNS} from account"
        );
        let (email, hash) = (new.email.as_str(), new.password_hash.expose());
        let orin_id = new.orin_id.as_ref().map(DeviceId::as_str);
        let arguments: [Argument<'_>; 4] = [
            (&email, Type::TEXT),
            (&hash, Type::TEXT),
            (&orin_id, Type::TEXT),
            (&role_names(&new.roles), Type::TEXT_ARRAY),
        ];
        let rows = self.query(&sql, &arguments).await?;
        let nothing = || self.failed(Failure::Corrupt { reason: "a new account is not there".to_owned() });
        let account = self.first(&rows, rows::account)?.ok_or_else(nothing)?;
        // The statement doesn't see the roles that it grants.
        Ok(Account { roles: new.roles.clone(), ..account })
    }

    async fn by_id(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        let sql = format!("select {ACCOUNT_COLUMNS} from users as account where id = $1");
        let rows = self.query(&sql, &[(&id.0, Type::INT8)]).await?;
        self.first(&rows, rows::account)
    }

    async fn by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let sql = format!("select {ACCOUNT_COLUMNS} from users as account where email = $1");
        let rows = self.query(&sql, &[(&email.as_str(), Type::TEXT)]).await?;
        self.first(&rows, rows::account)
    }

    async fn list(&self, after: Option<UserId>, accounts_max: usize) -> Result<AccountPage, AccountsError> {
        let sql = format!("select {ACCOUNT_COLUMNS} from users as account where id > $1 order by id limit $2");
        let (after, (rows_max, limit)) = (after.map_or(i64::MIN, |after| after.0), limit(accounts_max));
        let rows = self.query(&sql, &[(&after, Type::INT8), (&limit, Type::INT8)]).await?;
        let (accounts, more) = self.page(&rows, rows_max, rows::account)?;
        let next = accounts.last().filter(|_| more).map(|account| account.id);
        Ok(AccountPage { accounts, next })
    }

    async fn replace_password_hash(
        &self,
        id: UserId,
        expected: &PasswordHash,
        replacement: &PasswordHash,
        rehash: Rehash,
    ) -> Result<Option<Account>, AccountsError> {
        let sql = format!(
            "update users set password_hash = $3, generation = generation + $4, {TOUCHED} \
            where id = $1 and password_hash = $2 returning id"
        );
        let step = i64::from(rehash == Rehash::Password);
        let arguments: [Argument<'_>; 4] = [
            (&id.0, Type::INT8),
            (&expected.expose(), Type::TEXT),
            (&replacement.expose(), Type::TEXT),
            (&step, Type::INT8),
        ];
        self.change(id, &[Statement { sql: &sql, arguments: &arguments }]).await
    }

    async fn set_enabled(&self, id: UserId, enabled: bool) -> Result<Option<Account>, AccountsError> {
        let step = i64::from(!enabled);
        let arguments: [Argument<'_>; 2] = [(&enabled, Type::BOOL), (&step, Type::INT8)];
        self.update(id, "enabled = $2, generation = generation + $3", &arguments).await
    }

    async fn set_roles(&self, id: UserId, roles: &BTreeSet<Role>) -> Result<Option<Account>, AccountsError> {
        let lock = format!("update users set {TOUCHED} where id = $1 returning id");
        // A statement of its own, begun with the account's row locked: it sees the roles that the one before it granted.
        let grant = "with revoked as (
                delete from user_roles where user_id = $1 and role <> all ($2)
            ), granted as (
                insert into user_roles (user_id, role) select $1, unnest($2) on conflict do nothing
            )
            select 1";
        let arguments: [Argument<'_>; 2] = [(&id.0, Type::INT8), (&role_names(roles), Type::TEXT_ARRAY)];
        let statements =
            [Statement { sql: &lock, arguments: &arguments[..1] }, Statement { sql: grant, arguments: &arguments }];
        self.change(id, &statements).await
    }

    async fn set_orin_id(&self, id: UserId, orin_id: Option<&DeviceId>) -> Result<Option<Account>, AccountsError> {
        self.update(id, "orin_id = $2", &[(&orin_id.map(DeviceId::as_str), Type::TEXT)]).await
    }

    async fn bump_generation(&self, id: UserId) -> Result<Option<Account>, AccountsError> {
        self.update(id, "generation = generation + 1", &[]).await
    }

    async fn put_device_credential(
        &self,
        device: &DeviceId,
        secret_hash: &PasswordHash,
    ) -> Result<DeviceCredential, AccountsError> {
        let sql = format!(
            "insert into device_credentials as held (device, secret_hash) values ($1, $2) \
            on conflict (device) do update set secret_hash = excluded.secret_hash, \
            updated_at = greatest(held.updated_at, excluded.updated_at) returning {CREDENTIAL_COLUMNS}"
        );
        let arguments: [Argument<'_>; 2] = [(&device.as_str(), Type::TEXT), (&secret_hash.expose(), Type::TEXT)];
        let rows = self.query(&sql, &arguments).await?;
        let nothing = || self.failed(Failure::Corrupt { reason: "a new credential is not there".to_owned() });
        self.first(&rows, rows::credential)?.ok_or_else(nothing)
    }

    async fn device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        let sql = format!("select {CREDENTIAL_COLUMNS} from device_credentials where device = $1");
        let rows = self.query(&sql, &[(&device.as_str(), Type::TEXT)]).await?;
        self.first(&rows, rows::credential)
    }

    async fn revoke_device_credential(&self, device: &DeviceId) -> Result<Option<DeviceCredential>, AccountsError> {
        let sql = format!(
            "update device_credentials set secret_hash = null, \
            updated_at = case when secret_hash is null then updated_at else greatest(updated_at, now()) end \
            where device = $1 returning {CREDENTIAL_COLUMNS}"
        );
        let rows = self.query(&sql, &[(&device.as_str(), Type::TEXT)]).await?;
        self.first(&rows, rows::credential)
    }

    async fn device_credentials(
        &self,
        after: Option<&DeviceId>,
        credentials_max: usize,
    ) -> Result<DeviceCredentialPage, AccountsError> {
        let sql =
            format!("select {CREDENTIAL_COLUMNS} from device_credentials where device > $1 order by device limit $2");
        // No name is empty, so that all are behind it.
        let (after, (rows_max, limit)) = (after.map_or("", DeviceId::as_str), limit(credentials_max));
        let rows = self.query(&sql, &[(&after, Type::TEXT), (&limit, Type::INT8)]).await?;
        let (credentials, more) = self.page(&rows, rows_max, rows::credential)?;
        let next = credentials.last().filter(|_| more).map(|credential| credential.device.clone());
        Ok(DeviceCredentialPage { credentials, next })
    }

    async fn append_audit(&self, entry: &NewAuditEntry, entries_max: u32) -> Result<(), AccountsError> {
        let arguments: [Argument<'_>; 6] = [
            (&entry.event.as_str(), Type::TEXT),
            (&entry.user_id.map(|id| id.0), Type::INT8),
            (&entry.address(), Type::TEXT),
            (&entry.detail(), Type::TEXT),
            (&i64::from(entries_max), Type::INT8),
            (&FORGOTTEN_MAX, Type::INT8),
        ];
        self.query(include_str!("append_audit.sql"), &arguments).await.map(drop)
    }

    async fn audit(&self, before: Option<i64>, entries_max: usize) -> Result<AuditPage, AccountsError> {
        let sql = format!("select {AUDIT_COLUMNS} from audit where id < $1 order by id desc limit $2");
        let (before, (rows_max, limit)) = (before.unwrap_or(i64::MAX), limit(entries_max));
        let rows = self.query(&sql, &[(&before, Type::INT8), (&limit, Type::INT8)]).await?;
        let (entries, more) = self.page(&rows, rows_max, rows::audit_entry)?;
        let next = entries.last().filter(|_| more).map(|entry| entry.id);
        Ok(AuditPage { entries, next })
    }

    async fn probe(&self) -> Result<BackendInfo, AccountsError> {
        self.server.probe().await.map_err(|failure| self.failed(failure))
    }
}
