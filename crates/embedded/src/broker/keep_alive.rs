//! When a silent client is closed: after one and a half times its keep-alive (MQTT 3.1.1, section 3.1.2.10; MQTT 5.0, 3.1.2.11).
//!
//! rmqtt does that from 6 s on, and below it waits 3 s more than the keep-alive.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use rmqtt::codec::types::Publish;
use rmqtt::fitter::{DefaultFitter, Fitter, FitterManager};
use rmqtt::types::{ConnectInfo, Disconnect, FitterType, Id, ListenerConfig};

pub(super) struct KeepAlives;

impl FitterManager for KeepAlives {
    fn create(&self, connect: Arc<ConnectInfo>, id: Id, listener: ListenerConfig) -> FitterType {
        Arc::new(KeepAlive(DefaultFitter::new(connect, id, listener)))
    }
}

/// rmqtt's own limits of a session, but for the keep-alive.
struct KeepAlive(DefaultFitter);

impl Fitter for KeepAlive {
    fn keep_alive(&self, keep_alive: &mut u16) -> rmqtt::Result<u16> {
        // Checks it, and may change it for the client.
        self.0.keep_alive(keep_alive)?;
        Ok(closed_after_s(*keep_alive))
    }

    fn max_mqueue_len(&self) -> usize {
        self.0.max_mqueue_len()
    }

    fn mqueue_rate_limit(&self) -> (NonZeroU32, Duration) {
        self.0.mqueue_rate_limit()
    }

    fn max_inflight(&self) -> NonZeroU16 {
        self.0.max_inflight()
    }

    fn session_expiry_interval(&self, disconnect: Option<&Disconnect>) -> Duration {
        self.0.session_expiry_interval(disconnect)
    }

    fn message_expiry_interval(&self, publish: &Publish) -> Duration {
        self.0.message_expiry_interval(publish)
    }

    fn max_client_topic_aliases(&self) -> u16 {
        self.0.max_client_topic_aliases()
    }

    fn max_server_topic_aliases(&self) -> u16 {
        self.0.max_server_topic_aliases()
    }
}

/// rmqtt counts whole seconds: rounded up, so that no client is closed early. Zero stays zero: never.
fn closed_after_s(keep_alive_s: u16) -> u16 {
    keep_alive_s.saturating_add(keep_alive_s.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::closed_after_s;

    #[test]
    fn a_silent_client_has_one_and_a_half_times_its_keep_alive() {
        assert_eq!([0, 1, 2, 3, 5, 6, 60, u16::MAX].map(closed_after_s), [0, 2, 3, 5, 8, 9, 90, u16::MAX]);
    }
}
