//! Reads TOML tables key by key, keeping the line of everything, so that each mistake is reported where it is.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration::{Timeout, parse_duration};
use super::error::Problem;

/// Mistakes so far, and where lines begin.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let line = self.line_of(span.start);
        self.add_line(line, message);
    }

    pub(super) fn add_line(&mut self, line: usize, message: impl Into<String>) {
        self.found.push(Problem { line, message: message.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_found(self) -> Vec<Problem> {
        self.found
    }
}

/// One table: each `take` names a key, `finish` reports the keys that nobody named.
pub(super) struct Section<'a, 'i> {
    table: &'a DeTable<'i>,
    /// What it is, in messages: `[defaults]`, "child `writer`".
    pub(super) what: String,
    pub(super) span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(table: &'a DeTable<'i>, span: Range<usize>, what: impl Into<String>) -> Self {
        Self { table, what: what.into(), span, known: Vec::new() }
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// Reads a key's value; a value of another kind is a problem and counts as absent.
    fn value<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        read: impl FnOnce(&'a DeValue<'i>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(message) => {
                problems.add(&value.span(), format!("`{key}` in {}: {message}", self.what));
                None
            }
        }
    }

    pub(super) fn text(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<String> {
        self.value(problems, key, |value| match value.as_str() {
            Some("") => Err("it must not be empty".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => Err(expected("a string", value)),
        })
    }

    pub(super) fn required_text(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<String> {
        if self.take(key).is_none() {
            problems.add(&self.span, format!("{} lacks `{key}`", self.what));
            return None;
        }
        self.text(problems, key)
    }

    pub(super) fn boolean(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<bool> {
        self.value(problems, key, |value| value.as_bool().ok_or_else(|| expected("true or false", value)))
    }

    pub(super) fn integer(&mut self, problems: &mut Problems<'_>, key: &'static str, range: Range<u64>) -> Option<u64> {
        self.value(problems, key, |value| {
            let integer = value.as_integer().ok_or_else(|| expected("a whole number", value))?;
            let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
            parsed
                .filter(|number| range.contains(number))
                .ok_or_else(|| format!("it must be from {} to {}", range.start, range.end - 1))
        })
    }

    pub(super) fn number(&mut self, problems: &mut Problems<'_>, key: &'static str, min: f64, max: f64) -> Option<f64> {
        self.value(problems, key, |value| {
            let text = match (value.as_float(), value.as_integer()) {
                (Some(float), _) => float.as_str(),
                (None, Some(integer)) => integer.as_str(),
                (None, None) => return Err(expected("a number", value)),
            };
            let parsed: Option<f64> = text.parse().ok();
            parsed
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("it must be from {min} to {max}"))
        })
    }

    pub(super) fn duration(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<Duration> {
        self.value(problems, key, |value| match value.as_str() {
            Some(text) => parse_duration(text),
            None => Err(expected("a duration such as \"5s\"", value)),
        })
    }

    pub(super) fn positive_duration(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<Duration> {
        let duration = self.duration(problems, key)?;
        if duration.is_zero() {
            let span = self.take(key).map_or(self.span.clone(), Spanned::span);
            problems.add(&span, format!("`{key}` in {}: it must be more than 0", self.what));
            return None;
        }
        Some(duration)
    }

    /// A duration or `"infinity"`.
    pub(super) fn timeout(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<Timeout> {
        if self.take(key).and_then(|value| value.get_ref().as_str()) == Some("infinity") {
            return Some(Timeout::Infinity);
        }
        self.positive_duration(problems, key).map(Timeout::After)
    }

    /// One of the names of an enum.
    pub(super) fn choice<T: Copy>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        all: &[(&'static str, T)],
    ) -> Option<T> {
        let value = self.take(key)?;
        let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let Some(text) = value.get_ref().as_str() else {
            let message = expected(&format!("one of {}", names()), value.get_ref());
            problems.add(&value.span(), format!("`{key}` in {}: {message}", self.what));
            return None;
        };
        let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            problems.add(&value.span(), format!("unknown {key} `{text}` in {}; use {}", self.what, names()));
        }
        found
    }

    /// A list of strings, each with its line; absent, it is empty.
    pub(super) fn texts(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Vec<(usize, String)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let message = expected("a list of strings", value.get_ref());
            problems.add(&value.span(), format!("`{key}` in {}: {message}", self.what));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for entry in array.iter() {
            match entry.get_ref().as_str() {
                Some(text) => texts.push((problems.line_of(entry.span().start), text.to_owned())),
                None => {
                    let message = expected("a string", entry.get_ref());
                    problems.add(&entry.span(), format!("`{key}` in {}: {message}", self.what));
                }
            }
        }
        texts
    }

    pub(super) fn section(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Option<Section<'a, 'i>> {
        let value = self.take(key)?;
        let what = format!("`{key}` of {}", self.what);
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(table, value.span(), what)),
            None => {
                problems.add(&value.span(), format!("{what}: {}", expected("a table", value.get_ref())));
                None
            }
        }
    }

    /// The tables of an array of tables.
    pub(super) fn sections(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        what: &str,
    ) -> Vec<Section<'a, 'i>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let message = expected("a list of tables", value.get_ref());
            problems.add(&value.span(), format!("`{key}` in {}: {message}", self.what));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for entry in array.iter() {
            match entry.get_ref().as_table() {
                Some(table) => {
                    let name = table.get("id").and_then(|id| id.get_ref().as_str());
                    let what = name.map_or(format!("a {what} of {}", self.what), |name| format!("{what} `{name}`"));
                    sections.push(Section::new(table, entry.span(), what));
                }
                None => problems
                    .add(&entry.span(), format!("`{key}` in {}: {}", self.what, expected("a table", entry.get_ref()))),
            }
        }
        sections
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where a key's value is, or the table when it is absent.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Reports the keys that belong to this table in other circumstances.
    pub(super) fn refuse(&mut self, problems: &mut Problems<'_>, keys: &[&'static str], why: &str) {
        for key in keys {
            if let Some((name, _)) = self.table.get_key_value(*key) {
                problems.add(&name.span(), format!("`{key}` does not belong to {}: {why}", self.what));
            }
        }
    }

    /// Reports the keys that nobody has asked for; `elsewhere` have been refused already.
    pub(super) fn finish(self, problems: &mut Problems<'_>, elsewhere: &[&'static str]) {
        for name in self.table.keys() {
            let key = name.get_ref().as_ref();
            if !self.known.contains(&key) && !elsewhere.contains(&key) {
                let known = self.known.join(", ");
                problems.add(&name.span(), format!("unknown key `{key}` in {}; known keys: {known}", self.what));
            }
        }
    }
}

fn expected(what: &str, value: &DeValue<'_>) -> String {
    format!("expected {what}, found {}", value.type_str())
}
