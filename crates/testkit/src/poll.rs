//! Waiting for a condition in place of sleeping and hoping.

use std::time::{Duration, Instant};

use anyhow::bail;

const PERIOD: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it yields a value.
///
/// The deadline is in real time, also where tokio's clock is paused: what is waited for is another process.
///
/// # Errors
/// The deadline passed; the message says `what` was waited for.
pub async fn poll_until<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if started.elapsed() >= deadline {
            bail!("waited {} s in vain: {what}", deadline.as_secs_f32());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
