//! How far it is, on a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::fleet::Tally;

const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar on stderr, hidden where that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    drawing: JoinHandle<()>,
}

impl Progress {
    /// `count`: how many messages there will be, if that is known.
    pub(super) fn new(count: Option<u64>, tally: Arc<Tally>) -> Self {
        let (bar, template) = match count {
            Some(count) => (ProgressBar::new(count), "{bar:40} {pos}/{len} acknowledged, {per_sec}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {pos} acknowledged, {per_sec}, {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let drawn = bar.clone();
        let drawing = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(REDRAW_EVERY);
            loop {
                ticks.tick().await;
                drawn.set_position(tally.acknowledged());
            }
        });
        Self { bar, drawing }
    }

    /// Takes the bar away; the summary follows.
    pub(super) fn end(self) {
        self.drawing.abort();
        self.bar.finish_and_clear();
    }
}
