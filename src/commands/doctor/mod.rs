//! `orinoco doctor`: reaches every backend and looks at this machine, and says what to do about what is wrong. Changes nothing.

mod machine;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::future::{BoxFuture, join_all};
use orinoco_ports::BackendInfo;
use tokio::time::{Instant, timeout};

use super::Output;
use crate::config::Loaded;
use crate::tls::TlsListeners;
pub use report::{Finding, State};

/// How long a backend may take, whatever its own timeouts are.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Flags of `orinoco doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// One JSON object a line for each finding.
    #[arg(long)]
    json: bool,
}

/// A backend that can be asked how it is. Made by the wiring, which knows the adapters.
pub struct Probe {
    /// The section of the configuration, such as `redis_ws`.
    pub name: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Reaches it; the error is a sentence that names place and remedy. Called twice: the first call connects.
    pub ask: Box<dyn Fn() -> BoxFuture<'static, Result<BackendInfo, String>> + Send + Sync>,
}

/// Asks all at once, and prints what was found. Fails where something is wrong.
///
/// # Errors
/// The output can't be written.
pub async fn run(
    args: &DoctorArgs,
    loaded: &Loaded,
    probes: Vec<Probe>,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let mut findings = machine::examine(&loaded.config).await;
    findings.extend(certificates(loaded));
    findings.extend(join_all(probes.iter().map(examine)).await);
    let advice = loaded.advice();
    if !advice.is_empty() {
        findings.push(Finding { advice, ..Finding::new("configuration", "") });
    }
    for finding in &findings {
        if args.json {
            output.json(finding)?;
        } else {
            output.write(&finding.render())?;
        }
    }
    let wrong = findings.iter().filter(|finding| finding.state() == State::Wrong).count();
    if !args.json {
        let advised = findings.iter().any(|finding| finding.state() == State::Advice);
        output.line(match (wrong, advised) {
            (0, false) => "all is well".to_owned(),
            (0, true) => "it works; there is advice".to_owned(),
            (1, _) => "1 thing is wrong".to_owned(),
            (count, _) => format!("{count} things are wrong"),
        })?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those of the listeners that speak TLS.
fn certificates(loaded: &Loaded) -> Vec<Finding> {
    let finding = |place: String| Finding::new("certificate", place);
    match TlsListeners::open(loaded) {
        Ok(listeners) => listeners
            .iter()
            .map(|tls| Finding {
                advice: tls.advice(),
                ..finding(tls.files().certificate.display().to_string()).fact(format!(
                    "of {}, until {}",
                    tls.listener(),
                    tls.expires_on()
                ))
            })
            .collect(),
        Err(error) => {
            error.problems().iter().map(|problem| finding(problem.key.clone()).wrong(&*problem.message)).collect()
        }
    }
}

async fn examine(probe: &Probe) -> Finding {
    let finding = Finding::new(probe.name, probe.place.clone());
    let first = timeout(PROBE_MAX, (probe.ask)()).await;
    let outcome = match first {
        Ok(Ok(_)) => {
            let start = Instant::now();
            let second = timeout(PROBE_MAX, (probe.ask)()).await;
            second.map(|outcome| outcome.map(|info| (info, start.elapsed())))
        }
        Ok(Err(reason)) => Ok(Err(reason)),
        Err(elapsed) => Err(elapsed),
    };
    match outcome {
        Ok(Ok((info, latency))) => Finding {
            version: Some(info.version),
            latency_ms: Some(latency.as_secs_f64() * 1000.0),
            advice: info.advice,
            ..finding
        },
        Ok(Err(reason)) => finding.wrong(with_remedy(probe.name, &reason)),
        Err(_) => finding.wrong(with_remedy(probe.name, &format!("no answer within {} s", PROBE_MAX.as_secs()))),
    }
}

/// Unless the backend's own words name a key already.
fn with_remedy(section: &str, reason: &str) -> String {
    let key = if section == "kafka" { "kafka.brokers".to_owned() } else { format!("{section}.url") };
    if reason.contains(&format!("{section}.")) || reason.contains("`orinoco ") {
        return reason.to_owned();
    }
    format!("{reason}; start it if it is down, or set {key} to where and as whom it is reached")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::commands::output::tests::Captured;
    use crate::config::{Flags, load_from};

    fn probe(name: &'static str, outcome: Result<BackendInfo, String>) -> Probe {
        let ask = move || -> BoxFuture<'static, Result<BackendInfo, String>> {
            let outcome = outcome.clone();
            Box::pin(async move { outcome })
        };
        Probe { name, place: "here".to_owned(), ask: Box::new(ask) }
    }

    async fn doctor(json: bool, probes: Vec<Probe>) -> (ExitCode, String) {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().display().to_string();
        let listen = "127.0.0.1:0";
        let environment = [
            ("ORINOCO__DATA_DIR", data_dir.as_str()),
            ("ORINOCO__HTTP__LISTEN", listen),
            ("ORINOCO__WS__LISTEN", listen),
            ("ORINOCO__MQTT__LISTEN", listen),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let loaded = load_from(&Flags::default(), environment, std::path::Path::new("no/such/file")).unwrap();
        let captured = Captured::default();
        let code = run(&DoctorArgs { json }, &loaded, probes, &mut captured.output()).await.unwrap();
        (code, captured.text())
    }

    fn well() -> Result<BackendInfo, String> {
        Ok(BackendInfo { version: "Redis 7.2".to_owned(), advice: Vec::new() })
    }

    #[tokio::test]
    async fn all_well_is_success() {
        let (code, text) = doctor(false, vec![probe("redis_ws", well())]).await;
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        assert!(text.contains("Redis 7.2, "), "{text}");
        // The limit of open files is this machine's.
        assert!(text.ends_with("all is well\n") || text.ends_with("it works; there is advice\n"), "{text}");
    }

    #[tokio::test]
    async fn a_backend_that_is_away_is_a_failure_and_the_others_are_told_of_all_the_same() {
        let away = Err("can't be reached: refused".to_owned());
        let (code, text) = doctor(true, vec![probe("kafka", away), probe("redis_ws", well())]).await;
        assert_eq!(code, ExitCode::FAILURE);
        let findings: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |name: &str| findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(of("kafka")["status"], "wrong");
        let remedy = "can't be reached: refused; start it if it is down, or set kafka.brokers to where and as whom it is reached";
        assert_eq!(of("kafka")["problem"], remedy);
        assert_eq!(of("redis_ws")["status"], "ok");
        assert_eq!(of("redis_ws")["version"], "Redis 7.2");
        assert!(of("redis_ws")["latencyMs"].is_f64());
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_never_answers_is_given_up() {
        let ask = || -> BoxFuture<'static, Result<BackendInfo, String>> { Box::pin(std::future::pending()) };
        let hanging = Probe { name: "kafka", place: "here".to_owned(), ask: Box::new(ask) };
        let problem = examine(&hanging).await.problem.unwrap();
        assert!(problem.starts_with("no answer within 15 s; "), "{problem}");
    }

    #[tokio::test]
    async fn advice_is_no_failure() {
        let old = Ok(BackendInfo { version: "6".to_owned(), advice: vec!["upgrade it".to_owned()] });
        let (code, text) = doctor(false, vec![probe("redis_ws", old)]).await;
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("advice  redis_ws") && text.contains("upgrade it"), "{text}");
    }
}
