//! What is wrong with a file: all of it at once, each with its line.

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 when it has no place in the file.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A file that is no tree, or not one that this program can run. Displayed as lines of `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines())]
pub struct PlanError {
    file: String,
    problems: Vec<Problem>,
}

impl PlanError {
    pub(crate) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self { file: file.to_owned(), problems }
    }

    /// The mistakes in the order of their lines; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn lines(&self) -> String {
        let lines: Vec<String> = self
            .problems
            .iter()
            .map(|problem| match problem.line {
                0 => format!("{}: {}", self.file, problem.message),
                line => format!("{}:{line}: {}", self.file, problem.message),
            })
            .collect();
        lines.join("\n")
    }
}
