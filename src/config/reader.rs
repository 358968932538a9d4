//! Turns layers into typed values, key by key, and remembers every key that was asked for: the sections themselves are the
//! list of known keys, from which unknown ones, the example file and the documentation follow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::{Origin, Problem};
use super::kind::{Kind, Secrets};
use super::sections::Mode;
use super::source::{Found, Raw, variable_of};

/// Names that are less alike than this are not suggested.
const LIKENESS_MIN: f64 = 0.75;
const SUGGESTIONS_MAX: usize = 3;

/// The value that holds where no layer sets one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// Written as in the environment.
    Fixed(&'static str),
    /// `embedded` or `service`, as the mode says.
    OfMode,
}

/// What it takes to change a key of a daemon that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Nothing: what is done from then on goes by it.
    Live,
    /// These actors, by their `start` names in supervision.toml, are stopped in order and started again.
    Actors(&'static [&'static str]),
    /// A start of the process.
    Restart,
}

impl Reload {
    /// Of a key whose declaration says this about it; one that says nothing takes a start of the process.
    pub(super) const fn declared(said: &[Self]) -> Self {
        match said {
            [] => Self::Restart,
            [reload, ..] => *reload,
        }
    }
}

/// A value that is compared and never shown: it may be a secret.
#[derive(Clone, PartialEq)]
pub(super) struct Unshown(Value);

impl std::fmt::Debug for Unshown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Unshown")
    }
}

/// A key as its section declares it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Empty at the top.
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) fallback: Fallback,
    /// Lines of documentation.
    pub(super) docs: &'static [&'static str],
    pub(super) reload: Reload,
}

/// A key with its value, as `orinoco check` shows it. Secrets are hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// The value that holds.
    pub value: Value,
    /// Where it was set.
    pub origin: Origin,
    /// What it takes to change it.
    pub reload: Reload,
    pub(super) whole: Unshown,
    pub(super) section: &'static str,
    pub(super) fallback: Value,
    pub(super) allowed: String,
    pub(super) docs: &'static [&'static str],
}

pub(super) struct Reader {
    /// By key, the strongest layer last.
    layers: BTreeMap<String, Vec<Found>>,
    known: BTreeSet<String>,
    pub(super) mode: Mode,
    pub(super) settings: Vec<Setting>,
    pub(super) sections: Vec<(&'static str, &'static [&'static str])>,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// `found`: weakest layer first.
    pub(super) fn new(found: Vec<Found>, problems: Vec<Problem>) -> Self {
        let mut layers: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for value in found {
            layers.entry(value.key.clone()).or_default().push(value);
        }
        Self {
            layers,
            known: BTreeSet::new(),
            mode: Mode::Embedded,
            settings: Vec::new(),
            sections: Vec::new(),
            problems,
        }
    }

    pub(super) fn section(&mut self, name: &'static str, docs: &'static [&'static str]) {
        self.sections.push((name, docs));
        if !name.is_empty() {
            // An empty section is no mistake.
            self.known.insert(format!("{name}."));
        }
    }

    /// The value of a key. Every layer is checked, not only the strongest; a wrong value becomes a problem and the fallback.
    pub(super) fn read<K: Kind>(&mut self, key: Key, kind: &K) -> K::Value {
        let full = if key.section.is_empty() { key.name.to_owned() } else { format!("{}.{}", key.section, key.name) };
        self.known.insert(full.clone());
        let fallback_text = match key.fallback {
            Fallback::Fixed(text) => text,
            Fallback::OfMode => self.mode.backend_name(),
        };
        #[expect(clippy::expect_used, reason = "a built-in default; a test reads them all")]
        let fallback = kind.parse(&Raw::Untyped(fallback_text.to_owned())).expect("a default is valid");
        let mut value = fallback.clone();
        let mut origin = Origin::Default;
        for found in self.layers.remove(&full).unwrap_or_default() {
            match kind.parse(&found.raw) {
                Ok(parsed) => (value, origin) = (parsed, found.origin),
                Err(message) => {
                    self.problems.push(Problem { origin: found.origin, key: full.clone(), message });
                }
            }
        }
        self.settings.push(Setting {
            key: full,
            value: kind.show(&value, Secrets::Hidden),
            whole: Unshown(kind.show(&value, Secrets::Shown)),
            origin,
            reload: key.reload,
            section: key.section,
            fallback: kind.show(&fallback, Secrets::Shown),
            allowed: kind.allowed(),
            docs: key.docs,
        });
        value
    }

    /// A rule over several keys was broken: the blame goes to the first of them that was set, else to the first.
    pub(super) fn reject(&mut self, keys: &[&str], message: impl Into<String>) {
        let settings = || keys.iter().filter_map(|key| self.settings.iter().find(|setting| setting.key == *key));
        let blamed = settings().find(|setting| setting.origin != Origin::Default).or_else(|| settings().next());
        if let Some(setting) = blamed {
            let problem = Problem { origin: setting.origin.clone(), key: setting.key.clone(), message: message.into() };
            self.problems.push(problem);
        }
    }

    /// What is left in the layers after all sections were read is unknown.
    pub(super) fn reject_unknown(&mut self) {
        for (key, values) in std::mem::take(&mut self.layers) {
            if self.known.contains(&key) {
                continue;
            }
            for found in values {
                let message = self.describe_unknown(&key, &found);
                let key = key.trim_end_matches('.').to_owned();
                self.problems.push(Problem { origin: found.origin, key, message });
            }
        }
    }

    fn describe_unknown(&self, key: &str, found: &Found) -> String {
        let spelt = |key: &str| match found.origin {
            Origin::Variable(_) => variable_of(key),
            _ => key.to_owned(),
        };
        let is_section = |name: &str| self.sections.iter().any(|(section, _)| *section == name);
        let (section, is_bare) = key.split_once('.').map_or((key, true), |(section, _)| (section, false));
        if is_bare && is_section(section) {
            return match found.origin {
                Origin::Variable(_) => format!("is a section; its variables are {}", self.members(section, spelt)),
                _ => format!("is a section, but here it is {}; write [{section}]", found.raw.what()),
            };
        }
        let alike = self.alike(&key.to_ascii_lowercase());
        if !alike.is_empty() {
            let names: Vec<String> = alike.iter().map(|known| spelt(known)).collect();
            return format!("unknown key; did you mean {}?", names.join(" or "));
        }
        if is_section(section) {
            return format!("unknown key; [{section}] has {}", self.members(section, spelt));
        }
        let sections: Vec<String> =
            self.sections.iter().filter(|(name, _)| !name.is_empty()).map(|(name, _)| format!("[{name}]")).collect();
        format!("unknown key; the sections are {}", sections.join(", "))
    }

    /// Known keys that an unknown one may have been meant for, the likeliest first.
    fn alike(&self, key: &str) -> Vec<&str> {
        let mut alike: Vec<(f64, &str)> = self
            .settings
            .iter()
            .map(|setting| (self.likeness(setting, key), setting.key.as_str()))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        alike.sort_by(|left, right| right.0.total_cmp(&left.0));
        alike.into_iter().take(SUGGESTIONS_MAX).map(|(_, known)| known).collect()
    }

    /// 0.0 to 1.0.
    fn likeness(&self, known: &Setting, key: &str) -> f64 {
        let flat = |key: &str| key.replace("__", "_").replace('.', "_");
        if flat(&known.key) == flat(key) {
            return 1.0; // `http_listen`: only the separator is wrong.
        }
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        let known_name = known.key.rsplit_once('.').map_or(known.key.as_str(), |(_, name)| name);
        if section.is_empty() && known_name == name {
            return 1.0; // The section was forgotten.
        }
        let names = strsim::jaro_winkler(known_name, name);
        if known.section == section {
            names
        } else if self.sections.iter().any(|(known, _)| *known == section) {
            0.0 // A slip within the right section is likelier than one of the section.
        } else {
            names.min(strsim::jaro_winkler(known.section, section))
        }
    }

    fn members(&self, section: &str, spelt: impl Fn(&str) -> String) -> String {
        let own = self.settings.iter().filter(|setting| setting.section == section);
        own.map(|setting| spelt(&setting.key)).collect::<Vec<_>>().join(", ")
    }
}

/// Declares a section: the struct, its keys, defaults and documentation, in one place; last, where it is not a start of the process, what it
/// takes to change a key ([`Reload`]).
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident = $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $value:ty = $key:literal, $kind:expr, $fallback:expr $(, $reload:expr)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Key `", $key, "`.")]
                pub $field: $value,
            )+
        }

        impl $name {
            pub(in crate::config) fn read(reader: &mut $crate::config::reader::Reader) -> Self {
                reader.section($section, &[$($about),+]);
                Self {
                    $($field: reader.read(
                        $crate::config::reader::Key {
                            section: $section,
                            name: $key,
                            fallback: $fallback,
                            docs: &[$($doc),+],
                            reload: $crate::config::reader::Reload::declared(&[$($reload)?]),
                        },
                        &$kind,
                    ),)+
                }
            }
        }
    };
}
pub(super) use section;
