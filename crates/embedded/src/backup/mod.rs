//! A copy of the data directory in one file, of a daemon that runs or of one that does not; and back.
//!
//! The copy is made by the process of the command, from the files: a daemon that runs is asked for nothing, waits for nothing and needs no
//! memory for it. What it has acknowledged is in the files by its own invariants (see `journal`, `log`, `store`, `accounts`, `login`), and
//! readers beside it are provided for. So a command that fails, hangs, or finds the disk full does it no harm.
//!
//! # The order, and why
//! Each part is copied as it was at one moment; the moments differ. What is restored must be a state from which nothing that was
//! acknowledged before the backup began is lost, and nothing takes effect twice. In this order:
//!
//! 1. `logins`, then `accounts`, then the keys. A login names an account and a derivation key: both are there, as neither is ever deleted.
//!    An account whose logins were ended in between has moved its generation on, and so refuses those that are restored.
//! 2. The journal's segments, then its commit position, then the log. A record leaves the journal only once the log has it: copied the other
//!    way round, one that moved in between would be in neither. This way round it is in both, and is produced again after the restore;
//!    the store's marks (highest sequence a partition and journal) skip it, as a partition of the log holds the journal's records in their
//!    order without a hole. The commit position is that of after the segments and before the log: all up to it is in the log.
//! 3. The store's moment comes before the log's: its position never lies beyond the log's end. What the log has behind the position is
//!    applied after the restore. The store's own copy is made last, from a read transaction that holds its moment while the log is copied.
//!    Between the two moments nothing but opening files happens, so that retention does not overtake the position.
//!
//! Segments are listed once and copied newest first: the oldest go first, so that where one is found missing all before it are unneeded
//! too (committed, or beyond retention), and what is copied has no hole. The last segment is copied up to its last whole frame.
//!
//! # What does not survive a restore
//! A restored directory goes back in time while the world around it does not. `restore` makes sure that nothing given out since is taken
//! for something else:
//!
//! | what | therefore |
//! |---|---|
//! | journal sequences, log offsets, cursors of dead letters | leap over 2^32 at the next start (see `power`): else a new message would be skipped as one that was applied |
//! | lease epochs | leap by the same: else a store that saw a later owner would fence the restored one off |
//! | stream epochs | new ones, in each frame of history too: a client that saw offsets beyond the backup is told to begin anew |
//! | ids of accounts | leap over 2^20: else an access token of an account that is gone would be that of the next one |
//! | refresh tokens | each login's token of the backup works once more. One that was given out later proves that the token of the backup was used up: the login ends |
//! | challenges | gone: an approved one that was exchanged could be exchanged again |
//! | access tokens | the key that signs is made anew by the caller, so that those given out since are refused and refreshed |
//! | locks, sockets, marks of a run | are not in the archive |
//!
//! Rate limits, MQTT sessions and retained messages are in memory only.

mod archive;
mod collect;
mod error;
mod manifest;
mod renew;
mod restore;
mod tape;
#[cfg(test)]
mod tests;
mod unpack;

pub use self::{
    collect::{BackupSummary, BackupTarget, back_up},
    error::{BackupError, RestoreError},
    manifest::Label,
    restore::{RestoreSummary, Unpacked, unpack},
};

/// Of the archive. A greater number is a newer program's.
pub const FORMAT: u32 = 1;
