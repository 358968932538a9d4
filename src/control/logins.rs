//! How a command beside the daemon ends logins.

use std::{path::PathBuf, sync::Arc};

use orinoco_domain::account::UserId;
use orinoco_ports::{EndReason, LoginStore, LoginStoreError};

use super::{Client, ControlError};

/// Ends all logins of an account, wherever they are.
#[derive(Clone)]
pub enum LoginEnder {
    /// In a store that daemons and commands share.
    Store(Arc<dyn LoginStore>),
    /// By the daemon, whose own they are; the path is its control socket's. Where none runs, nobody is logged in: what its files hold is of an
    /// older generation of the account, and is refused.
    Daemon(PathBuf),
}

/// Why they did not end.
#[derive(Debug, thiserror::Error)]
pub enum EndLoginsError {
    #[error(transparent)]
    Store(#[from] LoginStoreError),
    #[error(transparent)]
    Daemon(#[from] ControlError),
}

impl LoginEnder {
    /// The account's generation has moved before.
    ///
    /// # Errors
    /// [`EndLoginsError`]; some may have ended, doing it again ends the others.
    pub async fn end_all(&self, user_id: UserId, reason: EndReason) -> Result<(), EndLoginsError> {
        match self {
            Self::Store(store) => {
                store.end_families_of(user_id, reason).await?;
                Ok(())
            }
            Self::Daemon(socket) => match Client::connect(socket).await {
                Ok(mut daemon) => Ok(daemon.end_logins(user_id, reason).await?),
                Err(ControlError::NotRunning { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }
}
