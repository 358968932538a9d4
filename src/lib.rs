//! The daemon: configuration, wiring, listeners and commands. The program is [`commands::main`]; this library lets tests in.

pub mod config;
