//! The login half at work: challenges, their registry and their streams, on one login store in memory that several daemons share.

mod browser;
mod deadlines;
mod flow;
mod kills;
mod outages;
mod races;
mod remote;
mod streams;
mod world;
