//! MQTT topics: which device and axis a topic names.

use crate::{Axis, DeviceId};

/// Why a topic is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("topic matches none of the configured filters")]
    Unknown,
    #[error("topic names a device that is not 1 to 64 characters of [A-Za-z0-9._-]")]
    Device,
    /// At configuration, not at run time.
    #[error("filter `{0}` must end in coordX or coordY, with at most one `+` level, which is the device, and no `#`")]
    Filter(String),
}

/// The topic filters that carry coordinates: `coordX`, `devices/+/coordY`. The `+` level is the device; a filter without one
/// speaks of the device `default`. MQTT 5.0, section 4.7.
#[derive(Debug, Clone)]
pub struct TopicFilters(Vec<(String, Axis)>);

impl TopicFilters {
    /// # Errors
    /// [`TopicError::Filter`] for a filter that names no axis, or more than one `+`.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<Self, TopicError> {
        let parse_one = |filter: &str| {
            let wildcards = filter.split('/').filter(|level| level.contains(['+', '#'])).count();
            let whole = filter.split('/').all(|level| level == "+" || !level.contains(['+', '#']));
            let axis = filter.rsplit('/').next().and_then(Axis::from_name);
            match axis {
                Some(axis) if wildcards <= 1 && whole => Ok((filter.to_owned(), axis)),
                _ => Err(TopicError::Filter(filter.to_owned())),
            }
        };
        filters.iter().map(|filter| parse_one(filter.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(filter, _)| filter.as_str())
    }

    /// The device and axis that `topic` names.
    ///
    /// # Errors
    /// [`TopicError::Unknown`] where no filter matches, [`TopicError::Device`] where one does but the device's name is not one.
    pub fn resolve(&self, topic: &str) -> Result<(DeviceId, Axis), TopicError> {
        for (filter, axis) in &self.0 {
            if let Some(device) = match_filter(filter, topic) {
                let device = device.map_or(Ok(DeviceId::default_device()), DeviceId::parse);
                return device.map(|device| (device, *axis)).map_err(|_| TopicError::Device);
            }
        }
        Err(TopicError::Unknown)
    }
}

impl Default for TopicFilters {
    fn default() -> Self {
        let levels = |filter: &str, axis| (filter.to_owned(), axis);
        Self(vec![
            levels("devices/+/coordX", Axis::X),
            levels("devices/+/coordY", Axis::Y),
            levels("coordX", Axis::X),
            levels("coordY", Axis::Y),
        ])
    }
}

/// `Some(device level)` where the filter matches.
fn match_filter<'topic>(filter: &str, topic: &'topic str) -> Option<Option<&'topic str>> {
    let mut device = None;
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        let topic_level = topic_levels.next()?;
        if level == "+" {
            device = Some(topic_level);
        } else if level != topic_level {
            return None;
        }
    }
    topic_levels.next().is_none().then_some(device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_contract_s_topics_resolve() {
        let filters = TopicFilters::default();
        let default = DeviceId::default_device();
        assert_eq!(filters.resolve("coordX"), Ok((default.clone(), Axis::X)));
        assert_eq!(filters.resolve("coordY"), Ok((default, Axis::Y)));
        assert_eq!(filters.resolve("devices/samu31/coordY"), Ok((DeviceId::parse("samu31").unwrap(), Axis::Y)));
    }

    #[test]
    fn odd_topics_are_told_apart() {
        let filters = TopicFilters::default();
        for topic in ["", "coordZ", "devices/a", "devices/a/b/coordX", "/coordX", "coordX/", "Devices/a/coordX"] {
            assert_eq!(filters.resolve(topic), Err(TopicError::Unknown), "{topic:?}");
        }
        for topic in ["devices//coordX", "devices/a b/coordX", "devices/\u{0}/coordY"] {
            assert_eq!(filters.resolve(topic), Err(TopicError::Device), "{topic:?}");
        }
    }

    #[test]
    fn a_filter_must_name_its_axis_and_one_device_level_at_most() {
        assert!(TopicFilters::parse(&["site/+/coordX", "coordY"]).is_ok());
        for filter in ["site/+/lat", "+/+/coordX", "#", "a+/coordX", "coordX/#"] {
            assert!(TopicFilters::parse(&[filter]).is_err(), "{filter}");
        }
    }
}
