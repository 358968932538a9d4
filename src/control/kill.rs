//! Killing an actor on purpose, from a command or from the web console.

use orinoco_supervision::Tree;

/// Why nothing was killed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KillError {
    #[error(
        "killing is not allowed; supervision.toml must say [chaos] allow_kill = true, and orinoco read it again (`orinoco reload`)"
    )]
    NotAllowed,
    #[error("{0}")]
    NotThere(String),
}

/// Kills what runs at `path`, where supervision.toml allows it.
///
/// # Errors
/// [`KillError`].
pub(crate) fn kill(tree: &Tree, path: &str) -> Result<(), KillError> {
    if !tree.chaos().allow_kill {
        return Err(KillError::NotAllowed);
    }
    tree.kill(path).map_err(|error| KillError::NotThere(error.to_string()))?;
    tracing::warn!(path, "killed by an operator");
    Ok(())
}
