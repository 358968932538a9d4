//! From the configuration to a tree that can be started: the only place that picks adapters.
//!
//! | file | holds |
//! |---|---|
//! | `accounts` | accounts, logins, keys and tokens |
//! | `adapters` | which adapter each port gets |
//! | `cast` | which actor is given what |
//! | `login` | the same for the login's actors |
//! | `live_values` | what a daemon takes over while it runs, and where it goes |
//! | `probes` | how each backend is asked whether it is well |
//! | `read_only_log` | the embedded log for commands |
//! | `tls` | TLS with the servers |
//! | `gauges` | what is measured when metrics are asked for |
//! | `traces` | where traces go |

mod accounts;
mod adapters;
mod cast;
mod gauges;
mod live_values;
mod login;
mod probes;
mod read_only_log;
mod tls;
mod traces;

pub use accounts::{accounts, auth, passwords, shared_logins, watch_accounts};
pub use adapters::{Adapters, Partitions, dead_letters};
pub use cast::{Cast, catalog_of_names};
pub use gauges::Gauges;
pub use live_values::LiveValues;
pub use probes::probes;
pub use tls::{check_tls_files, mqtt_tls, postgres_access};
pub use traces::Traces;
