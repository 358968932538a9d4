//! Making, changing and looking at accounts.

use std::{collections::BTreeSet, net::IpAddr};

use orinoco_domain::{
    DeviceId,
    account::{Account, Email, Role, UserId},
    audit::AuditEvent,
};
use orinoco_ports::{EndReason, NewAccount};

use super::{Auth, AuthError, Limited, Password, call};

/// An account that is asked for.
#[derive(Debug)]
pub struct Signup {
    pub email: Email,
    pub password: Password,
    pub orin_id: Option<DeviceId>,
    /// Of the device, where it has credentials.
    pub device_secret: Option<String>,
}

/// What of an account is to change; `None` stays.
#[derive(Debug, Default)]
pub struct AccountChange {
    pub enabled: Option<bool>,
    pub roles: Option<BTreeSet<Role>>,
    /// `Some(None)` unbinds the device.
    pub orin_id: Option<Option<DeviceId>>,
}

const NO_ACCOUNT: AuthError = AuthError::NotFound("there is no such account");

impl Auth {
    /// By anyone, for themselves.
    ///
    /// # Errors
    /// `Forbidden` where signup is closed and for a device with credentials without its secret; `Conflict` where e-mail or device is taken.
    pub async fn sign_up(&self, signup: Signup, address: IpAddr) -> Result<Account, AuthError> {
        if !self.policy.get().signup_is_open {
            return Err(AuthError::Forbidden("signing up is closed; ask an administrator for an account"));
        }
        self.limits.check(Limited::Signup, address)?;
        if let Some(device) = &signup.orin_id {
            self.check_device_secret(device, signup.device_secret).await?;
        }
        let roles = BTreeSet::from([Role::User]);
        let account = self.create_account(signup.email, signup.password, signup.orin_id, roles).await?;
        self.audit().write(AuditEvent::UserCreated, Some(account.id), Some(address), "signed up").await;
        Ok(account)
    }

    /// By whoever may; nothing is checked but what the store does.
    ///
    /// # Errors
    /// `Conflict` where e-mail or device is taken.
    pub async fn create_account(
        &self,
        email: Email,
        password: Password,
        orin_id: Option<DeviceId>,
        roles: BTreeSet<Role>,
    ) -> Result<Account, AuthError> {
        let password_hash = self.passwords.hash(password).await?;
        call(self.accounts.create(&NewAccount { email, password_hash, orin_id, roles })).await
    }

    /// By an administrator (`actor`; none for a command).
    ///
    /// # Errors
    /// `NotFound`; `Conflict` where the device is taken, or who acts would lock itself out.
    pub async fn change_account(
        &self,
        id: UserId,
        change: AccountChange,
        actor: Option<UserId>,
        address: Option<IpAddr>,
    ) -> Result<Account, AuthError> {
        let is_own = actor == Some(id);
        let loses_admin = change.roles.as_ref().is_some_and(|roles| !roles.contains(&Role::Admin));
        if is_own && (change.enabled == Some(false) || loses_admin) {
            return Err(AuthError::Conflict("an administrator can't disable or demote itself; let another one do it"));
        }
        let mut account = call(self.accounts.by_id(id)).await?.ok_or(NO_ACCOUNT)?;
        let by = actor.map_or_else(|| "by a command".to_owned(), |actor| format!("by user {actor}"));
        if let Some(orin_id) = &change.orin_id {
            account = call(self.accounts.set_orin_id(id, orin_id.as_ref())).await?.ok_or(NO_ACCOUNT)?;
            self.audit().write(AuditEvent::UserUpdated, Some(id), address, &format!("orinId {by}")).await;
        }
        if let Some(roles) = &change.roles {
            account = call(self.accounts.set_roles(id, roles)).await?.ok_or(NO_ACCOUNT)?;
            self.audit().write(AuditEvent::PrivilegesChanged, Some(id), address, &format!("roles {by}")).await;
        }
        match change.enabled {
            Some(true) => {
                account = call(self.accounts.set_enabled(id, true)).await?.ok_or(NO_ACCOUNT)?;
                self.audit().write(AuditEvent::UserUpdated, Some(id), address, &format!("enabled {by}")).await;
            }
            Some(false) => account = self.disable_account(id, address, &by).await?,
            None => {}
        }
        Ok(account)
    }

    /// The account first: a login that begins meanwhile is of the old generation.
    async fn disable_account(&self, id: UserId, address: Option<IpAddr>, by: &str) -> Result<Account, AuthError> {
        let account = call(self.accounts.set_enabled(id, false)).await?.ok_or(NO_ACCOUNT)?;
        self.audit().write(AuditEvent::UserArchived, Some(id), address, &format!("disabled {by}")).await;
        call(self.logins.end_families_of(id, EndReason::Disabled)).await?;
        Ok(account)
    }
}
