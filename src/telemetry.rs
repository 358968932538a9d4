//! Logs: lines on the standard error output, for people or for machines.
//!
//! Messages are lower-case, fields structured with units; a line for each message of a device is TRACE. No colours: the same on a
//! terminal and in a file.

use std::io;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, Telemetry};

/// Libraries whose `info` is our `debug`; rskafka warns at every try while Kafka is away, which the health board says once. Directives of
/// the configuration come after these, and so win.
const LIBRARIES: &str =
    "rmqtt=warn,rmqtt_net=warn,rskafka=error,tokio_postgres=warn,refinery_core=warn,ractor=warn,warp=warn";

/// Says what is logged from now on.
#[derive(Clone)]
pub struct LogFilter(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogFilter {
    /// `directives`: as `telemetry.log` has them; the configuration has checked them.
    pub fn set(&self, directives: &str) {
        if let Err(error) = (self.0)(filter(directives)) {
            tracing::error!(%error, "the log filter stays as it is");
        }
    }
}

/// Starts to log, once a process. Panics are logged as well, with their place.
///
/// # Errors
/// The process logs already.
pub fn init(telemetry: &Telemetry) -> Result<LogFilter, TryInitError> {
    let filter = filter(&telemetry.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let log_filter = match telemetry.log_format {
        LogFormat::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init()?;
            LogFilter(Arc::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init()?;
            LogFilter(Arc::new(move |filter| handle.reload(filter)))
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let reason = payload.downcast_ref::<&str>().copied();
        let reason = reason.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
        tracing::error!(place, reason, "panicked");
    }));
    Ok(log_filter)
}

/// The configuration has checked `directives`.
fn filter(directives: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(format!("{LIBRARIES},{directives}"))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let shown = filter("info").to_string();
        assert!(shown.contains("rmqtt=warn") && shown.contains("info"), "{shown}");
        let shown = filter("info,rmqtt=debug").to_string();
        assert!(shown.contains("rmqtt=debug") && !shown.contains("rmqtt=warn"), "{shown}");
    }
}
