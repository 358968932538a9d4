//! The two accounts of `orinoco serve --demo`.

use std::collections::BTreeSet;

use orinoco_domain::{
    DeviceId,
    account::{Email, Role},
};

use super::Output;
use crate::auth::{Auth, AuthError, Password, random};

/// Makes an administrator and a user, who sees one of the simulated devices, and prints their random passwords, this once. Accounts that
/// are there stay as they are.
///
/// # Errors
/// The accounts can't be written, or nobody reads the output.
pub(super) async fn make(auth: &Auth, device: &str, output: &mut Output) -> anyhow::Result<()> {
    let wanted = [
        ("admin@example.org", BTreeSet::from([Role::User, Role::Admin]), None),
        ("user@example.org", BTreeSet::from([Role::User]), Some(DeviceId::parse(device)?)),
    ];
    for (email, roles, orin_id) in wanted {
        let text: String = random::<12>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        match auth.create_account(Email::parse(email)?, Password::new(&text)?, orin_id, roles).await {
            Ok(_) => output.line(format_args!("demo account {email}, password {text} (shown this once)"))?,
            Err(AuthError::Conflict(_)) => {
                output.line(format_args!("demo account {email} is there from before, with its password of then"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
