//! The name of a device.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

/// `orin_id`: 1 to 64 characters of `[A-Za-z0-9._-]`. A name, never a secret. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct DeviceId(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a device name is 1 to 64 characters of [A-Za-z0-9._-]")]
pub struct InvalidDeviceId;

impl DeviceId {
    pub const LENGTH_MAX: usize = 64;
    /// The device of the topics `coordX` and `coordY`, which name none.
    pub const DEFAULT: &'static str = "default";

    /// # Errors
    /// [`InvalidDeviceId`] for any other length or character.
    pub fn parse(name: &str) -> Result<Self, InvalidDeviceId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > Self::LENGTH_MAX || !name.bytes().all(allowed) {
            return Err(InvalidDeviceId);
        }
        Ok(Self(Arc::from(name)))
    }

    #[must_use]
    pub fn default_device() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_to_64_plain_characters_are_accepted() {
        for name in ["a", "samu31", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(DeviceId::parse(name).map(|device| device.as_str().to_owned()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn any_other_name_is_refused() {
        for name in ["", " ", "a b", "a/b", "é", "a\n", "+", "#", &"x".repeat(65)] {
            assert_eq!(DeviceId::parse(name), Err(InvalidDeviceId), "{name:?}");
        }
    }
}
