//! What is wrong with a configuration: all of it at once, each with its place.

use std::fmt;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Nowhere: the built-in default.
    Default,
    /// A line of a file, from 1; 0 for the file as a whole.
    File { name: String, line: usize },
    /// An environment variable.
    Variable(String),
    /// A flag of the command.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { name, line: 0 } => formatter.write_str(name),
            Self::File { name, line } => write!(formatter, "{name}:{line}"),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag(name) => formatter.write_str(name),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where to mend it.
    pub origin: Origin,
    /// The key, such as `stream.pairing`; empty where it is no matter of one key.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variable's name says the key already.
        match (&self.origin, self.key.as_str()) {
            (Origin::Variable(_), _) | (_, "") => write!(formatter, "{}: {}", self.origin, self.message),
            (_, key) => write!(formatter, "{}: {key}: {}", self.origin, self.message),
        }
    }
}

/// A configuration that nothing can be started with. Displayed as a line for each mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The mistakes of a file come in the order of their lines.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File { line, .. } => (0, *line),
            Origin::Variable(_) => (1, 0),
            Origin::Flag(_) | Origin::Default => (2, 0),
        });
        Self { problems }
    }

    /// At least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}
