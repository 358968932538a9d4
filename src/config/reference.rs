//! The example file and the documentation, written from the sections themselves; a test compares them with the repository's.

#![cfg(test)]

use std::fmt::Write as _;

use serde_json::Value;

use super::reader::{Reader, Reload, Setting};
use super::source::variable_of;
use super::{Config, Mode};

struct Reference {
    sections: Vec<(&'static str, &'static [&'static str])>,
    settings: Vec<Setting>,
}

fn reference() -> Reference {
    let mut reader = Reader::new(Vec::new(), Vec::new());
    assert_eq!(Config::read(&mut reader).general.mode, Mode::Embedded);
    Reference { sections: reader.sections, settings: reader.settings }
}

/// JSON's strings, numbers, booleans and arrays are TOML's.
fn literal(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Documentation lines as one paragraph.
fn paragraph(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The mark of a key that may change while the daemon runs.
fn on_reload(reload: Reload) -> String {
    match reload {
        Reload::Live => " *Reload.*".to_owned(),
        Reload::Actors(starts) => format!(" *Reload, by a restart of {}.*", starts.join(", ")),
        Reload::Restart => String::new(),
    }
}

fn is_of_mode(setting: &Setting) -> bool {
    setting.key.ends_with(".backend")
}

fn name(setting: &Setting) -> &str {
    setting.key.rsplit_once('.').map_or(setting.key.as_str(), |(_, name)| name)
}

/// `orinoco.example.toml`.
pub(super) fn example() -> String {
    let mut text = String::from(
        "# Every key of orinoco with its default. Copy this file to orinoco.toml and take away the # before what you change.\n\
         # Stronger than the file: environment variables such as ORINOCO__HTTP__LISTEN, and flags. `orinoco check` says what holds.\n",
    );
    let reference = reference();
    for (section, about) in &reference.sections {
        let _ = writeln!(text);
        if section.is_empty() {
            let _ = writeln!(text, "# {}\n", paragraph(about));
        } else {
            let _ = writeln!(text, "# {}\n[{section}]", paragraph(about));
        }
        for setting in reference.settings.iter().filter(|setting| setting.section == *section) {
            for line in setting.docs {
                let _ = writeln!(text, "# {}", line.trim());
            }
            let by_mode = if is_of_mode(setting) { "; in mode \"services\": \"service\"" } else { "" };
            let _ = writeln!(text, "# ({}{by_mode})", setting.allowed);
            let _ = writeln!(text, "#{} = {}", name(setting), literal(&setting.fallback));
        }
    }
    text
}

/// `docs/configuration.md`.
pub(super) fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    let reference = reference();
    for (section, about) in &reference.sections {
        let title = if section.is_empty() { "Top level".to_owned() } else { format!("`[{section}]`") };
        let _ = writeln!(text, "\n## {title}\n\n{}\n", paragraph(about));
        let _ = writeln!(text, "| key | default | values | what it does |\n|---|---|---|---|");
        for setting in reference.settings.iter().filter(|setting| setting.section == *section) {
            let fallback =
                if is_of_mode(setting) { "by `mode`".to_owned() } else { format!("`{}`", literal(&setting.fallback)) };
            let docs = paragraph(setting.docs).replace('|', "\\|") + &on_reload(setting.reload);
            let _ =
                writeln!(text, "| `{}` | {fallback} | {} | {docs} |", setting.key, setting.allowed.replace('|', "\\|"));
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration

Layers, each stronger than the one before: built-in defaults, the file, the environment, flags.

- **File**: the one that `--config FILE` names, else `orinoco.toml` in the working directory if it is there. It is TOML;
  [`orinoco.example.toml`](../orinoco.example.toml) lists every key with its default.
- **Environment**: `ORINOCO__SECTION__KEY`, in upper case, such as `ORINOCO__HTTP__LISTEN=0.0.0.0:8090`; keys of the top level without a
  section, such as `ORINOCO__DATA_DIR=/var/lib/orinoco`. Lists are separated by commas, or are TOML arrays.
- **Flags**: `--mode` and `--data-dir`.

Relative paths start at the working directory. An empty string stands for a value that is left out.

Unknown keys and variables, wrong values and values out of range are refused before anything is started: each mistake is a line on the
standard error output with its file and line, or its variable, and the exit code is 64. `orinoco check` does only that, and
prints what holds and where it was set; passwords are hidden.

A daemon that runs takes over what is marked *Reload* when it is told to read its files again: `orinoco reload`, or SIGHUP
([how](operators.md#reload)). Sockets that are open keep the `[ws]` of when they were opened. All other keys take a start of the
process; a reload that finds one of them changed is refused whole, so that what runs is always one file's state.

This page is written from the program; a test fails when they differ.
";

#[test]
fn every_variable_name_leads_back_to_its_key() {
    for setting in reference().settings {
        let variable = variable_of(&setting.key);
        let mut problems = Vec::new();
        let found = super::source::read_environment([(variable.into(), "x".into())], &mut problems);
        assert_eq!(found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), [setting.key.as_str()]);
    }
}
