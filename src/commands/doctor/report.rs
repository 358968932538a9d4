//! What was found, for people and for machines.

use std::fmt::Write as _;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ok,
    /// It works; something could be better.
    Advice,
    /// It does not work.
    Wrong,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Advice => "advice",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found out about one thing.
#[derive(Debug, Clone, Default)]
pub struct Finding {
    pub name: &'static str,
    /// Where it is.
    pub place: String,
    /// Product and version, or what else there is to say.
    pub version: Option<String>,
    pub latency_ms: Option<f64>,
    /// What is wrong and what to do about it.
    pub problem: Option<String>,
    /// What could be better, a sentence each.
    pub advice: Vec<String>,
}

impl Finding {
    pub(super) fn new(name: &'static str, place: impl Into<String>) -> Self {
        Self { name, place: place.into(), ..Self::default() }
    }

    pub(super) fn wrong(self, problem: impl Into<String>) -> Self {
        Self { problem: Some(problem.into()), ..self }
    }

    pub(super) fn fact(self, fact: impl Into<String>) -> Self {
        Self { version: Some(fact.into()), ..self }
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    #[must_use]
    pub fn state(&self) -> State {
        match (&self.problem, self.advice.is_empty()) {
            (Some(_), _) => State::Wrong,
            (None, false) => State::Advice,
            (None, true) => State::Ok,
        }
    }

    /// A line, and one more for each advice.
    pub(super) fn render(&self) -> String {
        let mut facts = Vec::new();
        facts.extend(self.version.clone());
        facts.extend(self.latency_ms.map(|latency_ms| format!("{latency_ms:.1} ms")));
        facts.extend(self.problem.clone());
        let mut text = format!("{:<7} {:<13} {}", self.state().as_str(), self.name, self.place).trim_end().to_owned();
        if !facts.is_empty() {
            let _ = write!(text, ": {}", facts.join(", "));
        }
        text.push('\n');
        for advice in &self.advice {
            let _ = writeln!(text, "        - {advice}");
        }
        text
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 7)?;
        object.serialize_field("name", self.name)?;
        object.serialize_field("status", self.state().as_str())?;
        object.serialize_field("place", &self.place)?;
        object.serialize_field("version", &self.version)?;
        object.serialize_field("latencyMs", &self.latency_ms)?;
        object.serialize_field("problem", &self.problem)?;
        object.serialize_field("advice", &self.advice)?;
        object.end()
    }
}
