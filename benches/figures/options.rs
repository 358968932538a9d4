//! The command line.

use anyhow::{Context, bail, ensure};

const ROUNDS_DEFAULT: usize = 3;
const ROUNDS_MAX: usize = 20;

pub(crate) enum Command {
    List,
    Run(Options),
    /// To be the peer `floor`: where it takes sockets, and lines.
    Floor([String; 2]),
}

pub(crate) struct Options {
    /// How often each figure is measured, 1 to 20.
    pub(crate) rounds: usize,
    /// Parts of names; all experiments where none.
    names: Vec<String>,
    /// Whether some experiments are to take their place in docs/performance.md.
    pub(crate) is_written: bool,
}

impl Options {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.names.is_empty()
    }
}

/// # Errors
/// An unknown flag, or a number of rounds out of its range.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Command> {
    let mut options = Options { rounds: ROUNDS_DEFAULT, names: Vec::new(), is_written: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // cargo says so to every bench.
            "--bench" => {}
            "--list" => return Ok(Command::List),
            "--floor" => {
                let mut address = || arguments.next().context("--floor lacks an address");
                return Ok(Command::Floor([address()?, address()?]));
            }
            "--rounds" => {
                let rounds = arguments.next().context("--rounds lacks its number")?;
                options.rounds = rounds.parse().with_context(|| format!("--rounds {rounds} is no number"))?;
                ensure!((1..=ROUNDS_MAX).contains(&options.rounds), "--rounds is 1 to {ROUNDS_MAX}");
            }
            "--write" => options.is_written = true,
            flag if flag.starts_with('-') => bail!("unknown flag {flag}; there are --list, --rounds N and --write"),
            name => options.names.push(name.to_owned()),
        }
    }
    Ok(Command::Run(options))
}
