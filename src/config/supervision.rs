//! The text of the actor tree's file.

use std::path::Path;

use super::error::{ConfigError, Origin};
use super::{Config, Setting, source};

/// The tree that is used where there is no file: the repository's own.
const BUILT_IN: &str = include_str!("../../supervision.toml");
const FILE_DEFAULT: &str = "supervision.toml";

/// The file of the actor tree, for `orinoco_supervision::Plan::parse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisionFile {
    /// For messages.
    pub name: String,
    pub text: String,
}

impl SupervisionFile {
    /// The file that the key `supervision` names; where it is not set, `supervision.toml` in the working directory, else the
    /// copy in this program.
    ///
    /// # Errors
    /// [`ConfigError`]: the file that was named, or the one that is there, can't be read.
    pub fn read(config: &Config, settings: &[Setting]) -> Result<Self, ConfigError> {
        Self::read_with(config, settings, Path::new(FILE_DEFAULT))
    }

    pub(super) fn read_with(config: &Config, settings: &[Setting], file_default: &Path) -> Result<Self, ConfigError> {
        let path = match &config.general.supervision {
            Some(path) => path.as_path(),
            None if file_default.exists() => file_default,
            None => return Ok(Self { name: "supervision.toml (built in)".to_owned(), text: BUILT_IN.to_owned() }),
        };
        let setting = settings.iter().find(|setting| setting.key == "supervision");
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        let text = source::read_text(path, origin, "supervision").map_err(|problem| ConfigError::new(vec![problem]))?;
        Ok(Self { name: path.display().to_string(), text })
    }
}
