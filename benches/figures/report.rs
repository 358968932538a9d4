//! Figures as a table on the terminal, and as docs/performance.md.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context;

use super::{
    experiment::EXPERIMENTS,
    figure::{Figure, number},
    machine::{self, Machine},
    options::Options,
};

const PATH: &str = "docs/performance.md";

const BUSY: &str = "**The machine was shared with other work during this run, and noisy** (see the load average): a quiet one has shorter times, higher
rates and fewer processor seconds, as caches and cores were shared too.

";

const HEAD: &str = "# Performance

<!-- Written by `make bench`: change benches/figures/, not this page. -->

What the daemon costs, measured through its front door: the release binary as a process, on real servers of its own, loaded by MQTT and WebSocket
clients of another process. Processor seconds and resident bytes are those of the process named, from Linux's /proc (10 ms of resolution): they
move less than times in ms and rates by the wall clock with what else the machine does. Clients and servers share its cores.

";

/// The figures of one experiment, by columns.
pub(crate) fn text(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let [least, median, most] = figure.summary().map(number);
        let verdict = figure.verdict().replace('*', "");
        let (what, mode, unit) = (&figure.what, figure.mode, figure.unit);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what:<56} {mode:<9} {least:>9} {median:>9} {most:>9}  {unit:<18} {verdict}");
    }
    text
}

/// Writes the page; the path, from the repository's root.
///
/// # Errors
/// It can't be written.
pub(crate) fn write(
    machine: &Machine,
    options: &Options,
    found: &[(&str, Vec<Figure>)],
) -> anyhow::Result<&'static str> {
    let path = format!("{}/{PATH}", env!("CARGO_MANIFEST_DIR"));
    fs::write(&path, page(machine, options, found)?).with_context(|| path.clone())?;
    Ok(PATH)
}

fn page(machine: &Machine, options: &Options, found: &[(&str, Vec<Figure>)]) -> anyhow::Result<String> {
    let mut page = HEAD.to_owned();
    if machine.is_busy {
        page.push_str(BUSY);
    }
    page.push_str("| | |\n|---|---|\n");
    for (name, text) in &machine.rows {
        writeln!(page, "| {name} | {text} |")?;
    }
    writeln!(page, "| load average at the end | {} |", machine::load()?)?;
    writeln!(page, "| rounds | {} |\n", options.rounds)?;
    for (name, figures) in found {
        page.push_str(&section(name, figures, "")?);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    Ok(page)
}

/// Puts experiments into the page that is there, each in place of its earlier self or at the end, and says on what it was measured; the path.
///
/// # Errors
/// The page can't be read or written.
pub(crate) fn replace(
    machine: &Machine,
    options: &Options,
    found: &[(&str, Vec<Figure>)],
) -> anyhow::Result<&'static str> {
    let path = format!("{}/{PATH}", env!("CARGO_MANIFEST_DIR"));
    let mut page = fs::read_to_string(&path).with_context(|| path.clone())?;
    let row =
        |wanted: &str| machine.rows.iter().find(|(name, _)| *name == wanted).map_or("", |(_, text)| text.as_str());
    let measured = format!(
        "Measured apart from the others: orinoco {}, load average {} at the start and {} at the end, rounds {}.\n\n",
        row("orinoco"),
        row("load average at the start"),
        machine::load()?,
        options.rounds
    );
    for (name, figures) in found {
        let begin = page.find(&format!("## {name}: ")).unwrap_or(page.len());
        let end = page[begin..].find("\n## ").map_or(page.len(), |end| begin + end + 1);
        let before = page[..begin].trim_end().to_owned();
        page = format!("{before}\n\n{}{}", section(name, figures, &measured)?, &page[end..]);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    fs::write(&path, page).with_context(|| path.clone())?;
    Ok(PATH)
}

/// `measured`: on what, where that is not the whole page's.
fn section(name: &str, figures: &[Figure], measured: &str) -> anyhow::Result<String> {
    let mut section = String::new();
    if let Some(experiment) = EXPERIMENTS.iter().find(|experiment| experiment.name == name) {
        let (title, about) = (experiment.title, experiment.about);
        writeln!(section, "## {name}: {title}\n\n{about}\n\nAgain: `make bench ONLY={name}`\n")?;
        for peer in experiment.peers {
            writeln!(section, "Peer: {}\n", peer.versions()?)?;
        }
    }
    section.push_str(measured);
    section
        .push_str("| figure | mode | minimum | median | maximum | unit | to reach |\n|---|---|--:|--:|--:|---|---|\n");
    for figure in figures {
        let [least, median, most] = figure.summary().map(number);
        let verdict = figure.verdict();
        let (what, mode, unit) = (&figure.what, figure.mode, figure.unit);
        writeln!(section, "| {what} | {mode} | {least} | {median} | {most} | {unit} | {verdict} |")?;
    }
    section.push('\n');
    Ok(section)
}
