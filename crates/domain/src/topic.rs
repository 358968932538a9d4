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
    /// At configuration: a broker may send a message once for each.
    #[error("`{0}` and `{1}` have topics in common")]
    Overlap(String, String),
}

/// What to ask a broker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriptions {
    /// No two of them match the same topic.
    pub wanted: Vec<String>,
    /// What another configuration may have left in a session that the broker keeps.
    pub superseded: Vec<String>,
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

    /// Topic filters of which the broker sends each message once. MQTT 5.0, section 3.3.4: filters that overlap may bring it several times.
    ///
    /// `strays`: asks for everything beside the device's level too (`devices/#` for `devices/+/coordX`), for a topic that is misspelt to be
    /// noticed, not dropped by the broker.
    ///
    /// # Errors
    /// [`TopicError::Overlap`].
    pub fn subscriptions(&self, strays: bool) -> Result<Subscriptions, TopicError> {
        let exact: Vec<String> = self.iter().map(str::to_owned).collect();
        let wide: Vec<String> =
            exact.iter().filter_map(|filter| Some(format!("{}/#", filter.split_once("/+")?.0))).collect();
        let candidates = if strays { [wide.clone(), exact.clone()].concat() } else { exact.clone() };
        let mut wanted: Vec<String> = Vec::new();
        for candidate in candidates {
            if wanted.iter().any(|other| covers(other, &candidate)) {
                continue;
            }
            wanted.retain(|other| !covers(&candidate, other));
            if let Some(other) = wanted.iter().find(|other| overlap(other, &candidate)) {
                return Err(TopicError::Overlap(other.clone(), candidate));
            }
            wanted.push(candidate);
        }
        let mut superseded = [exact, wide].concat();
        superseded.sort();
        superseded.dedup();
        superseded.retain(|filter| !wanted.contains(filter));
        Ok(Subscriptions { wanted, superseded })
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

/// Whether `wide` matches whatever `narrow` does. A `#` stands for its parent level too (MQTT 5.0, section 4.7.1.2).
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow_levels = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow_levels.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    narrow_levels.next().is_none()
}

/// Whether some topic matches both.
fn overlap(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(left), Some(right)) if left == right || left == "+" || right == "+" => {}
            _ => return false,
        }
    }
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

    fn subscriptions(filters: &[&str], strays: bool) -> Result<(Vec<String>, Vec<String>), TopicError> {
        let found = TopicFilters::parse(filters).unwrap().subscriptions(strays)?;
        Ok((found.wanted, found.superseded))
    }

    #[test]
    fn strays_are_asked_for_by_one_wide_filter_in_place_of_the_ones_below_it() {
        let filters = ["coordX", "coordY", "devices/+/coordX", "devices/+/coordY"];
        let wide = ["devices/#", "coordX", "coordY"].map(str::to_owned).to_vec();
        let narrow = ["devices/+/coordX", "devices/+/coordY"].map(str::to_owned).to_vec();
        assert_eq!(subscriptions(&filters, true).unwrap(), (wide, narrow));
        let (wanted, superseded) = subscriptions(&filters, false).unwrap();
        assert_eq!(
            (wanted.as_slice(), superseded),
            (filters.map(str::to_owned).as_slice(), vec!["devices/#".to_owned()])
        );
    }

    #[test]
    fn a_filter_that_another_one_covers_is_not_asked_for() {
        assert_eq!(subscriptions(&["a/b/coordX", "a/+/coordX"], false).unwrap().0, ["a/+/coordX"]);
        assert_eq!(subscriptions(&["a/b/coordX", "a/b/c/+/coordX", "a/+/coordX"], true).unwrap().0, ["a/#"]);
        // Nothing stands before the device's level: everything would be too much.
        assert_eq!(subscriptions(&["+/coordX"], true).unwrap().0, ["+/coordX"]);
    }

    #[test]
    fn filters_with_some_topics_in_common_are_refused() {
        assert!(matches!(subscriptions(&["a/+/coordX", "+/b/coordX"], false), Err(TopicError::Overlap(..))));
        assert!(matches!(subscriptions(&["a/+/coordX", "+/coordX"], true), Err(TopicError::Overlap(..))));
        assert!(subscriptions(&["a/+/coordX", "+/coordX"], false).is_ok());
        assert!(subscriptions(&["a/+/coordX", "b/+/coordX"], true).is_ok());
    }
}
