//! Programs that do a part of the daemon's work, measured beside it in the same run: `scripts/install peers` puts them into .stack/peers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::ensure;

use super::{figure::Figure, usage::push};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const REMEDY: &str = "run scripts/install peers, and see what it says of this one";

pub(crate) struct Peer {
    /// As figures are named.
    pub(crate) name: &'static str,
    /// In .stack/peers.
    program: &'static str,
    /// In .stack/peers: the versions of all that it is made of, in a line.
    version: &'static str,
}

pub(crate) const PYTHON: Peer = Peer { name: "Python", program: "python/bin/python", version: "python/versions" };
pub(crate) const TELEGRAF: Peer = Peer { name: "Telegraf", program: "telegraf/telegraf", version: "telegraf/versions" };
pub(crate) const CENTRIFUGE: Peer =
    Peer { name: "centrifuge", program: "centrifuge/centrifuge", version: "centrifuge/versions" };
pub(crate) const SPRING: Peer = Peer { name: "Spring", program: "spring/fan-out.jar", version: "spring/versions" };

impl Peer {
    /// # Errors
    /// It is not installed.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        let program = folder().join(self.program);
        ensure!(program.exists(), "the peer {} is missing ({}): {REMEDY}", self.name, program.display());
        Ok(program)
    }

    /// Such as `Telegraf 1.37.2, go1.26.8`.
    ///
    /// # Errors
    /// It is not installed.
    pub(crate) fn versions(&self) -> anyhow::Result<String> {
        self.program()?;
        let path = folder().join(self.version);
        let versions = fs::read_to_string(&path).unwrap_or_default();
        ensure!(!versions.trim().is_empty(), "the peer {} is half installed ({}): {REMEDY}", self.name, path.display());
        Ok(versions.trim().to_owned())
    }
}

fn folder() -> PathBuf {
    Path::new(ROOT).join(".stack/peers")
}

/// A file of benches/peers.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(ROOT).join("benches/peers").join(path)
}

/// The same work by the daemon and by peers.
pub(crate) struct Comparison<'a> {
    pub(crate) what: &'a str,
    pub(crate) mode: &'static str,
    pub(crate) unit: &'static str,
    /// The daemon's value of this round.
    pub(crate) ours: f64,
}

impl Comparison<'_> {
    pub(crate) fn push_ours(&self, figures: &mut Vec<Figure>) {
        push(figures, Figure::new(format!("{}, orinoco", self.what), self.mode, self.unit), self.ours);
    }

    /// Adds a peer's value of the same round, and the ratio of both.
    pub(crate) fn push_peer(&self, figures: &mut Vec<Figure>, peer: &str, theirs: f64, reach: Option<f64>) {
        push(figures, Figure::new(format!("{}, {peer}", self.what), self.mode, self.unit), theirs);
        let ratio = Figure::new(format!("{}, orinoco / {peer}", self.what), self.mode, "ratio");
        push(figures, Figure { reach, ..ratio }, self.ours / theirs);
    }
}

/// Who is first changes with each round, as what ran before leaves its traces in caches and servers.
pub(crate) fn in_turn<T: Copy, const N: usize>(contenders: [T; N], round: usize) -> [T; N] {
    let mut turned = contenders;
    turned.rotate_left(round % N);
    turned
}
