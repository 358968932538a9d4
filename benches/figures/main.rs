//! `make bench`: what the daemon costs, as figures. The release daemon runs as a process on real servers of its own; devices and browsers
//! are this process. Processor seconds and resident bytes are the daemon's and each server's, from /proc, never this process's.
//!
//! `cargo bench -p orinoco --bench figures -- [--list] [--rounds N] [--write] [NAME...]`: all experiments, or those whose name contains a NAME.
//! A run of all writes docs/performance.md; one of some puts them into it where `--write` says so.

mod backlog;
mod browser;
mod challenges;
mod device;
mod experiment;
mod fan_out;
mod figure;
mod floor;
mod idle;
mod latency;
mod machine;
mod options;
mod peer;
mod peer_fan_out;
mod peer_python;
mod peer_telegraf;
mod portal;
mod report;
mod start;
mod tree;
mod usage;
mod world;

use std::process::ExitCode;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use experiment::EXPERIMENTS;
use figure::Figure;
use machine::Machine;
use options::{Command, Options};

/// Sockets of the largest experiment, and what else this process and the daemon have open, each.
const DESCRIPTORS_MIN: u64 = 10_000 + 500;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match options::parse(std::env::args().skip(1))? {
        Command::List => {
            for experiment in &EXPERIMENTS {
                println!("{:<16} {}", experiment.name, experiment.title);
            }
            Ok(())
        }
        Command::Run(options) => {
            raise_descriptor_limit()?;
            runtime()?.block_on(measure(&options))
        }
        Command::Floor([sockets, lines]) => {
            raise_descriptor_limit()?;
            runtime()?.block_on(floor::serve(&sockets, &lines))
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::look()?;
    println!("{machine}");
    let mut figures: Vec<(&str, Vec<Figure>)> = Vec::new();
    let mut failures = Vec::new();
    for experiment in EXPERIMENTS.iter().filter(|experiment| options.wants(experiment.name)) {
        println!("\n== {}", experiment.name);
        match experiment.peers.iter().map(|peer| peer.versions()).collect::<anyhow::Result<Vec<_>>>() {
            Ok(versions) => versions.iter().for_each(|versions| println!("beside: {versions}")),
            Err(error) => {
                println!("failed: {error:#}");
                failures.push(experiment.name);
                continue;
            }
        }
        let run = (experiment.run)(options.rounds);
        let found = tokio::time::timeout(experiment::TIME_MAX, run).await;
        let found =
            found.with_context(|| format!("{} took longer than {:?}", experiment.name, experiment::TIME_MAX))?;
        let found = found.with_context(|| experiment.name.to_owned())?;
        print!("{}", report::text(&found));
        figures.push((experiment.name, found));
    }
    anyhow::ensure!(!figures.is_empty() || !failures.is_empty(), "no experiment is named so; `--list` shows all");
    if options.is_complete() && failures.is_empty() {
        let path = report::write(&machine, options, &figures)?;
        println!("\nwritten: {path}");
    } else if options.is_complete() || options.is_written {
        let path = report::replace(&machine, options, &figures)?;
        println!("\nwritten into: {path}");
    }
    anyhow::ensure!(failures.is_empty(), "not measured, as a peer is missing (see above): {}", failures.join(", "));
    Ok(())
}

/// The daemon inherits the limit, and needs as many.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Some(maximum) = maximum {
        anyhow::ensure!(
            maximum >= DESCRIPTORS_MIN,
            "10,000 sockets need {DESCRIPTORS_MIN} descriptors and `ulimit -Hn` allows {maximum}: raise it (nofile in /etc/security/limits.conf)"
        );
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("the limit of descriptors")
}
