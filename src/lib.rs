//! The daemon: configuration, wiring, listeners and commands. The program is [`commands::main`]; this library lets tests in.

pub mod auth;
pub mod commands;
pub mod config;
pub mod control;
pub mod dead_letters;
pub mod http;
pub mod live;
pub mod meters;
mod mqtt_tls;
pub mod reload;
pub mod telemetry;
pub mod tls;
pub mod wiring;
pub mod ws;
