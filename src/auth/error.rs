//! What can go wrong with accounts and logins: a variant for each thing that a client is told differently.

use orinoco_ports::{AccountsError, LoginStoreError};

use super::{
    limits::TooMany,
    passwords::PasswordError,
    random::NoRandom,
    tokens::{InvalidToken, IssueError},
};

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A store is away: nobody gets in, and it is worth trying again.
    #[error("accounts and logins can't be reached at present; try again")]
    Unavailable,
    /// Too many passwords at a time.
    #[error("too many logins at a time; try again")]
    Busy,
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Unknown account, wrong password, disabled account: alike.
    #[error("e-mail or password is wrong")]
    Credentials,
    #[error("the refresh token is not valid; log in again")]
    RefreshToken,
    #[error("send an access token, in the header `Authorization: Bearer <token>`")]
    TokenMissing,
    #[error("the access token is not valid; get a new one and try again")]
    TokenInvalid,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    NotFound(&'static str),
    #[error("{0}")]
    Conflict(&'static str),
    /// A mistake of this program or what is stored; for the log.
    #[error("{0}")]
    Internal(String),
}

impl From<AccountsError> for AuthError {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::EmailTaken => Self::Conflict("there is an account with this e-mail address"),
            AccountsError::OrinIdTaken => Self::Conflict("another account has this orinId"),
            AccountsError::Unavailable { .. } => {
                tracing::debug!(%error, "accounts are away");
                Self::Unavailable
            }
            AccountsError::Schema { .. } => {
                tracing::error!(%error, "accounts can't be used");
                Self::Unavailable
            }
            AccountsError::Corrupt { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<LoginStoreError> for AuthError {
    fn from(error: LoginStoreError) -> Self {
        match error {
            LoginStoreError::Unavailable { .. } => {
                tracing::debug!(%error, "the login store is away");
                Self::Unavailable
            }
            LoginStoreError::Taken { .. } | LoginStoreError::Corrupt { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<PasswordError> for AuthError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Parameters(_) | PasswordError::Stored(_) | PasswordError::Random(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}

impl From<NoRandom> for AuthError {
    fn from(error: NoRandom) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<IssueError> for AuthError {
    fn from(error: IssueError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<InvalidToken> for AuthError {
    fn from(error: InvalidToken) -> Self {
        tracing::debug!(%error, "an access token was refused");
        Self::TokenInvalid
    }
}
