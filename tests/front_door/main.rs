//! The daemon through its front door: a real process, real servers, real clients, in both modes.
//!
//! One test binary. `support` starts the daemon and speaks MQTT, WebSocket and HTTP with it; every other module is an area of the
//! contract. Tests share one daemon a mode and keep apart by devices of their own; a test that configures, hurts or loads the daemon
//! takes one of its own. Load tests take turns (`support::turn`). `make faults` runs some of them as a campaign, on a release build
//! (`support::campaign`).
#![allow(clippy::unwrap_used)]

#[macro_use]
mod support;

mod administration;
mod asyncapi;
mod backend_tls;
mod backup;
mod centrifuge;
mod clients;
mod commands;
mod configuration;
mod console;
mod crash;
mod data_loss;
mod dead_letters;
mod device_credentials;
mod journal_damage;
mod kafka_clients;
#[cfg(feature = "faults")]
mod kills_under_load;
mod listener_tls;
mod login;
mod mqtt_clients;
mod oauth;
mod openapi;
mod outages;
mod parts;
mod produce_retries;
mod redelivery;
mod reload;
mod replay;
mod rest;
mod resume;
mod sharing;
mod slow_clients;
mod soak;
mod stream;
mod supervision;
mod traces;
