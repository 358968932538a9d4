//! One measured figure: its rounds, and what it is to reach.

/// Rounds of one figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Such as `MQTT -> Kafka, daemon`.
    pub(crate) what: String,
    /// `embedded` or `services`.
    pub(crate) mode: &'static str,
    /// Such as `CPU s / million`.
    pub(crate) unit: &'static str,
    /// One a round, never empty when it is shown.
    pub(crate) rounds: Vec<f64>,
    /// What the median is to stay at or below.
    pub(crate) reach: Option<f64>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, mode: &'static str, unit: &'static str) -> Self {
        Self { what: what.into(), mode, unit, rounds: Vec::new(), reach: None }
    }

    pub(crate) fn reach(mut self, reach: f64) -> Self {
        self.reach = Some(reach);
        self
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.rounds.push(value);
    }

    /// Least, median (the mean of the middle two where their number is even) and most.
    pub(crate) fn summary(&self) -> [f64; 3] {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return [f64::NAN; 3] };
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        [*least, median, *most]
    }

    /// `15 or less: yes`, or nothing where nothing is to be reached.
    pub(crate) fn verdict(&self) -> String {
        let Some(reach) = self.reach else { return String::new() };
        let reached = if self.summary()[1] <= reach { "yes" } else { "**no**" };
        format!("{reach} or less: {reached}")
    }
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 100.0 || magnitude == 0.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        magnitude if magnitude >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The value below which `share` (0 to 1) of the sorted values lie; 0 where there is none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
