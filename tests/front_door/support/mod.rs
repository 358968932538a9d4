//! The daemon, and clients of each of its ports.

mod authority;
mod backend;
mod collector;
mod device;
mod follow;
mod frame;
mod kafka_proxy;
mod killer;
mod ledger;
mod listener;
mod load;
mod login;
mod rest;
mod socket;
mod vigil;
mod world;

use std::{future::Future, time::Duration};

use orinoco_testkit::poll_until;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use authority::{Authority, CertificateFiles};
pub(crate) use backend::Backend;
pub(crate) use collector::Collector;
pub(crate) use device::{Device, Token};
pub(crate) use follow::follow;
pub(crate) use frame::Frame;
pub(crate) use kafka_proxy::KafkaProxy;
pub(crate) use killer::Killer;
pub(crate) use ledger::{Ledger, Repeats, history, latest};
pub(crate) use listener::Listener;
pub(crate) use load::{Load, LoadPlan};
pub(crate) use login::{Browser, Tokens, call, phone};
#[cfg(feature = "faults")]
pub(crate) use rest::try_exchange_http;
pub(crate) use rest::{Answer, exchange_http, exchange_http_with, request};
pub(crate) use socket::{Said, Socket};
pub(crate) use vigil::{Ask, Vigil};
pub(crate) use world::{Mode, Services, Setup, World, binary, command, folder, prepared};

/// After so long, what was waited for is taken for lost.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// `for_both_modes! { a_test another_test }`: functions `async fn a_test(mode: Mode)` become tests `embedded::a_test` and
/// `services::a_test`.
macro_rules! for_both_modes {
    ($($test:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::support::Mode::Embedded).await;
            })*
        }

        mod services {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::support::Mode::Services).await;
            })*
        }
    };
}

/// How much of something a test does: the variable `ORINOCO_TEST_NAME`, for a campaign before a release, else `usually`.
pub(crate) fn campaign<T: std::str::FromStr>(name: &str, usually: T) -> T {
    let variable = format!("ORINOCO_TEST_{name}");
    match std::env::var(&variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}")),
        Err(_) => usually,
    }
}

static TURN: Semaphore = Semaphore::const_new(1);

/// Held by a test that puts the machine under load, so that two of them don't measure each other.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURN.acquire().await.unwrap()
}

/// Waits until `probe` gives a value.
pub(crate) async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    poll_until(DEADLINE, what, probe).await.unwrap()
}

/// Waits for `future`.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {} s in vain: {what}", DEADLINE.as_secs()),
    }
}
