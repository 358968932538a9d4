//! `orinoco migrate`: brings the database to the schema that this program needs.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Output;
use crate::config::{Backend, Config};
use crate::wiring;

/// Flags of `orinoco migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// One JSON object: the schema before and after.
    #[arg(long)]
    json: bool,
}

/// Applies what is missing, and says from which version to which.
///
/// # Errors
/// `SchemaError`: the database can't be reached, or is of a newer program.
pub async fn run(args: &MigrateArgs, config: &Config, output: &mut Output) -> anyhow::Result<ExitCode> {
    if config.postgres.backend == Backend::Embedded {
        if args.json {
            output.json(&json!({ "from": null, "to": null }))?;
        } else {
            output.line("nothing to do: postgres.backend is \"embedded\", so there is no database to migrate")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let access = wiring::postgres_access(config);
    let from = orinoco_services::schema_version(access.clone()).await?;
    let to = orinoco_services::migrate(access).await?;
    if args.json {
        output.json(&json!({ "from": from, "to": to }))?;
    } else if from == Some(to) {
        output.line(format_args!("{}: schema {to} already, nothing to do", config.postgres.url))?;
    } else {
        let from = from.map_or_else(|| "none".to_owned(), |version| version.to_string());
        output.line(format_args!("{}: schema {from} -> {to}", config.postgres.url))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::commands::output::tests::Captured;

    #[tokio::test]
    async fn without_postgresql_there_is_nothing_to_do() {
        let captured = Captured::default();
        let outcome = run(&MigrateArgs { json: false }, &Config::default(), &mut captured.output()).await;
        assert_eq!(outcome.unwrap(), ExitCode::SUCCESS);
        assert!(captured.text().starts_with("nothing to do"), "{}", captured.text());
    }

    #[tokio::test]
    async fn an_empty_database_is_brought_up_and_a_second_run_has_nothing_to_do() {
        let database = orinoco_testkit::Postgres::shared().await.unwrap().fresh_database().await.unwrap();
        let environment = [("ORINOCO__MODE", "services"), ("ORINOCO__POSTGRES__URL", database.url())];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let flags = crate::config::Flags::default();
        let loaded = crate::config::load_from(&flags, environment, std::path::Path::new("no/such/file")).unwrap();
        let needed = orinoco_services::schema_version_needed();
        for from in [serde_json::Value::Null, needed.into()] {
            let captured = Captured::default();
            run(&MigrateArgs { json: true }, &loaded.config, &mut captured.output()).await.unwrap();
            let value: serde_json::Value = serde_json::from_str(&captured.text()).unwrap();
            assert_eq!(value, json!({ "from": from, "to": needed }));
        }
        let captured = Captured::default();
        run(&MigrateArgs { json: false }, &loaded.config, &mut captured.output()).await.unwrap();
        assert!(captured.text().ends_with(&format!("schema {needed} already, nothing to do\n")), "{}", captured.text());
    }
}
