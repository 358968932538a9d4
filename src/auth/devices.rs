//! Credentials of devices: a secret that is shown once.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use orinoco_domain::{
    DeviceId,
    account::{PasswordHash, UserId},
    audit::AuditEvent,
};

use super::{Auth, AuthError, Password, Passwords, call, passwords::Verdict, random};

/// A new secret, and its hash.
///
/// # Errors
/// `Busy`, `Internal`.
pub async fn device_secret(passwords: &Passwords) -> Result<(String, PasswordHash), AuthError> {
    let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
    let hash = passwords.hash_secret(Password::presented(&secret)).await?;
    Ok((secret, hash))
}

impl Auth {
    /// Gives a device a new secret, in place of any before; it is returned this once.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn give_device_secret(
        &self,
        device: &DeviceId,
        actor: Option<UserId>,
        address: Option<IpAddr>,
    ) -> Result<String, AuthError> {
        let (secret, hash) = device_secret(&self.passwords).await?;
        call(self.accounts.put_device_credential(device, &hash)).await?;
        let detail = format!("device {device} got a secret");
        self.audit().write(AuditEvent::TokenCreated, actor, address, &detail).await;
        Ok(secret)
    }

    /// # Errors
    /// `NotFound`: it never had one.
    pub async fn revoke_device_secret(
        &self,
        device: &DeviceId,
        actor: Option<UserId>,
        address: Option<IpAddr>,
    ) -> Result<(), AuthError> {
        let revoked = call(self.accounts.revoke_device_credential(device)).await?;
        revoked.ok_or(AuthError::NotFound("this device never had a secret"))?;
        let detail = format!("the secret of device {device} was revoked");
        self.audit().write(AuditEvent::TokenRevoked, actor, address, &detail).await;
        Ok(())
    }

    /// Lets pass who knows the device's secret, and anyone where it never had one.
    pub(super) async fn check_device_secret(&self, device: &DeviceId, secret: Option<String>) -> Result<(), AuthError> {
        const REFUSED: AuthError =
            AuthError::Forbidden("this device has credentials: send its secret as `deviceSecret` to bind it");
        let Some(credential) = call(self.accounts.device_credential(device)).await? else { return Ok(()) };
        let (Some(hash), Some(secret)) = (credential.secret_hash, secret) else { return Err(REFUSED) };
        match self.passwords.verify(Password::presented(&secret), Some(&hash)).await? {
            Verdict::Right { .. } => Ok(()),
            Verdict::Wrong => Err(REFUSED),
        }
    }
}
