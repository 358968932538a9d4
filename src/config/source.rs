//! The layers a value can come from: a TOML file, the environment, the command's flags.
//!
//! Why not figment: it forgets on which line of the file a value stood, stops at the first mistake, and does not know which
//! variables nobody reads. Here each value keeps its place until it has been understood.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problem};

/// All variables of the daemon begin so; `__` separates section and key.
pub const VARIABLE_PREFIX: &str = "ORINOCO__";

/// A value as a layer has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// Text whose type is the reader's affair: environment, flags, built-in defaults.
    Untyped(String),
    /// A TOML string.
    Text(String),
    Integer(i64),
    /// A TOML number with a fraction or an exponent.
    Fraction(String),
    Boolean(bool),
    List(Vec<Raw>),
    /// A TOML value that no key takes; what it is.
    Other(&'static str),
}

impl Raw {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Untyped text is a TOML array where it begins like one, else a list by commas.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Untyped(text) if text.trim_start().starts_with('[') => {
                let document = format!("list = {text}");
                let table = DeTable::parse(&document).ok()?;
                let (_, value) = table.get_ref().iter().next()?;
                Self::from_toml(value.get_ref()).list()
            }
            Self::Untyped(text) => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Self::Untyped(item.to_owned()))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// For messages: "is a boolean".
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Untyped(_) | Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(what) => what,
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number beyond 64 bits"), Self::Integer),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect()),
            DeValue::Float(number) => Self::Fraction(number.as_str().to_owned()),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }
}

/// One value of one layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// `section.key`, or `key` at the top.
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// The text of a file that `key` of `origin` names.
pub(super) fn read_text(path: &Path, origin: Origin, key: &str) -> Result<String, Problem> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let message = format!("{name} can't be read: {error}");
        Problem { origin, key: key.to_owned(), message }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let text = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + text.iter().filter(|byte| **byte == b'\n').count();
        let origin = Origin::File { name, line };
        Problem { origin, key: String::new(), message: "is not UTF-8 text".to_owned() }
    })
}

/// Reads a file. What can't be understood at all goes to `problems`.
pub(super) fn read_file(path: &Path, origin: Origin, problems: &mut Vec<Problem>) -> Vec<Found> {
    match read_text(path, origin, "") {
        Ok(text) => parse_file(&text, &path.display().to_string(), problems),
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    }
}

/// The values of a file with their lines, or its syntax errors.
pub(super) fn parse_file(text: &str, name: &str, problems: &mut Vec<Problem>) -> Vec<Found> {
    let place = |span: Range<usize>| Origin::File { name: name.to_owned(), line: line_of(text, span.start) };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What was recovered from a broken file would only add mistakes that are none.
        problems.extend(errors.iter().map(|error| Problem {
            origin: place(error.span().unwrap_or_default()),
            key: String::new(),
            message: format!("is no TOML: {}", error.message()),
        }));
        return Vec::new();
    }
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        let section = name.get_ref();
        match value.get_ref() {
            DeValue::Table(entries) if entries.is_empty() => {
                // An empty section must still be a known one.
                found.push(Found {
                    key: format!("{section}."),
                    raw: Raw::Other("a table"),
                    origin: place(name.span()),
                });
            }
            DeValue::Table(entries) => found.extend(entries.iter().map(|(key, value)| Found {
                key: format!("{section}.{}", key.get_ref()),
                raw: Raw::from_toml(value.get_ref()),
                origin: place(key_span(key, value)),
            })),
            other => {
                found.push(Found { key: section.to_string(), raw: Raw::from_toml(other), origin: place(name.span()) });
            }
        }
    }
    found
}

/// Arrays may run over many lines: a value's place is that of its key.
fn key_span(key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    if key.span().is_empty() { value.span() } else { key.span() }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// The daemon's variables among all.
pub(super) fn read_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let origin = Origin::Variable(name.clone());
        // `stream.Foo` is no key: the names of variables are upper-case.
        let is_upper = rest.chars().all(|character| !character.is_ascii_lowercase());
        let lower = rest.to_ascii_lowercase();
        let key = match (is_upper, lower.split_once("__")) {
            (false, _) => rest.to_owned(),
            (true, Some((section, key))) => format!("{section}.{key}"),
            (true, None) => lower,
        };
        match value.into_string() {
            Ok(text) => found.push(Found { key, raw: Raw::Untyped(text), origin }),
            Err(_) => problems.push(Problem { origin, key, message: "is not UTF-8 text".to_owned() }),
        }
    }
    found.sort_by(|left, right| left.key.cmp(&right.key));
    found
}

/// The variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase())
}
