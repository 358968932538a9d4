//! `orinoco check`: is the configuration right, and what follows from it. Starts nothing, binds nothing, makes nothing.

use std::process::ExitCode;

use clap::Args;
use orinoco_supervision::Plan;
use serde_json::{Map, Value, json};

use super::Output;
use crate::config::{Backend, Config, Loaded, Origin, SupervisionFile};
use crate::tls::TlsListeners;
use crate::wiring;

/// Flags of `orinoco check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// One JSON object: every key with its value and where it was set, the backends, the tree.
    #[arg(long)]
    json: bool,
}

/// Prints what holds.
///
/// # Errors
/// `ConfigError` or `PlanError`: supervision.toml can't be read, or is no tree of this program; or a file of TLS can't be used.
pub fn run(args: &CheckArgs, loaded: &Loaded, output: &mut Output) -> anyhow::Result<ExitCode> {
    let plan = plan(loaded)?;
    wiring::check_tls_files(loaded)?;
    let tls = TlsListeners::open(loaded)?;
    let mut advice = loaded.advice();
    advice.extend(tls.iter().flat_map(|tls| tls.advice()));
    if args.json {
        output.json(&json!({
            "configuration": configuration(loaded),
            "backends": backends(&loaded.config),
            "supervision": plan,
            "advice": advice,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output.line(format_args!("mode {}", loaded.config.general.mode))?;
    for (section, backend) in loaded.config.backends() {
        output.line(format_args!("  {section:<9} {:<9} {}", backend.as_str(), place(&loaded.config, section)))?;
    }
    let set: Vec<_> = loaded.settings.iter().filter(|setting| setting.origin != Origin::Default).collect();
    output.line(format_args!(
        "\nset ({} of {} keys; the others have their defaults)",
        set.len(),
        loaded.settings.len()
    ))?;
    for setting in set {
        output.line(format_args!("  {} = {}  ({})", setting.key, setting.value, setting.origin))?;
    }
    output.line(format_args!("\ntree ({})", plan.file()))?;
    for line in plan.render().lines() {
        output.line(format_args!("  {line}"))?;
    }
    for advice in &advice {
        output.line(format_args!("\nadvice: {advice}"))?;
    }
    output.line("\nthe configuration is valid")?;
    Ok(ExitCode::SUCCESS)
}

/// The tree of this configuration.
///
/// # Errors
/// `ConfigError` or `PlanError`.
pub fn plan(loaded: &Loaded) -> anyhow::Result<Plan> {
    let file = SupervisionFile::read(&loaded.config, &loaded.settings)?;
    let plan = Plan::parse(&file.text, &file.name)?;
    plan.check(&wiring::catalog_of_names(&loaded.config))?;
    Ok(plan)
}

fn configuration(loaded: &Loaded) -> Value {
    let entries = loaded.settings.iter().map(|setting| {
        let entry = json!({ "value": setting.value, "source": setting.origin.to_string() });
        (setting.key.clone(), entry)
    });
    Value::Object(entries.collect())
}

fn backends(config: &Config) -> Value {
    let entries = config.backends().into_iter().map(|(section, backend)| {
        (section.to_owned(), json!({ "backend": backend.as_str(), "place": place(config, section) }))
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Where a backend is, for people.
fn place(config: &Config, section: &str) -> String {
    let folder = || config.data_dir().display().to_string();
    match section {
        "mqtt" if config.mqtt.backend == Backend::Embedded => {
            let places: Vec<String> = config.broker_listeners().iter().map(|(_, place)| place.to_string()).collect();
            places.join(", ")
        }
        "mqtt" => config.mqtt_url(),
        "kafka" if config.kafka.backend == Backend::Service => {
            config.kafka.brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        "redis_ws" if config.redis_ws.backend == Backend::Service => config.redis_ws.url.to_string(),
        "redis_qr" if config.redis_qr.backend == Backend::Service => config.redis_qr.url.to_string(),
        "postgres" if config.postgres.backend == Backend::Service => config.postgres.url.to_string(),
        _ => folder(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::commands::output::tests::Captured;
    use crate::config::{Flags, load_from};

    fn check(args: &CheckArgs, environment: &[(&str, &str)]) -> (anyhow::Result<ExitCode>, String) {
        let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let loaded = load_from(&Flags::default(), environment, Path::new("no/such/file")).unwrap();
        let captured = Captured::default();
        let outcome = run(args, &loaded, &mut captured.output());
        (outcome, captured.text())
    }

    #[test]
    fn what_holds_is_printed_without_secrets_and_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let environment = [
            ("ORINOCO__DATA_DIR", data_dir.to_str().unwrap()),
            ("ORINOCO__POSTGRES__BACKEND", "service"),
            ("ORINOCO__POSTGRES__URL", "postgres://u:hunter2@db/d"),
        ];
        let (outcome, text) = check(&CheckArgs { json: false }, &environment);
        outcome.unwrap();
        assert!(text.contains("postgres  service   postgres://u:***@db/d"), "{text}");
        assert!(text.contains("postgres.backend = \"service\"  (ORINOCO__POSTGRES__BACKEND)"), "{text}");
        assert!(text.contains("root supervisor strategy="), "{text}");
        assert!(text.ends_with("the configuration is valid\n"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!data_dir.exists());
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let (outcome, text) = check(&CheckArgs { json: true }, &[("ORINOCO__MODE", "services")]);
        outcome.unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["configuration"]["mode"], json!({ "value": "services", "source": "ORINOCO__MODE" }));
        assert_eq!(value["configuration"]["http.listen"]["value"], "127.0.0.1:8090");
        assert_eq!(value["backends"]["kafka"], json!({ "backend": "service", "place": "127.0.0.1:9092" }));
        assert_eq!(value["supervision"]["root"]["id"], "root");
    }

    #[test]
    fn a_tree_that_is_none_is_refused_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tree.toml");
        std::fs::write(&file, "schema = 1\nroot = \"root\"\nfoo = 1\n").unwrap();
        let (outcome, _) = check(&CheckArgs { json: false }, &[("ORINOCO__SUPERVISION", file.to_str().unwrap())]);
        let error = outcome.unwrap_err();
        assert!(crate::commands::is_bad_configuration(&error));
        assert!(error.to_string().contains("tree.toml:3: "), "{error}");
    }
}
