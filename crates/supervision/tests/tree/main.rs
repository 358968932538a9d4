//! Whole trees through the public API: a plan's text, a catalog, and what the actors live through.

#![allow(clippy::unwrap_used)]

mod support;

mod alarms;
mod chaos;
mod escalation;
mod inspection;
mod mailboxes;
mod plans;
mod pools;
mod reload;
mod restarts;
mod shutdown;
mod starting;
mod strategies;
mod watchdog;
