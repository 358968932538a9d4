//! The servers behind the daemon, to be stopped, killed and paused.

use std::time::{Duration, Instant};

use tokio::{net::TcpStream, task::JoinHandle};

use super::{Services, until, within};

const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Redis,
    RedisQr,
    Kafka,
    Mqtt,
    Postgres,
}

/// `each_server!(services, backend, server => expression)`: the servers are of different types with the same methods.
macro_rules! each_server {
    ($services:expr, $backend:expr, $server:ident => $what:expr) => {
        match $backend {
            Backend::Redis => each_server!(@ &$services.redis, $server => $what),
            Backend::RedisQr => each_server!(@ &$services.redis_qr, $server => $what),
            Backend::Kafka => each_server!(@ $services.own_kafka.as_ref().unwrap(), $server => $what),
            Backend::Mqtt => each_server!(@ &$services.mosquitto, $server => $what),
            Backend::Postgres => each_server!(@ $services.postgres.as_ref().unwrap(), $server => $what),
        }
    };
    (@ $value:expr, $server:ident => $what:expr) => {{
        let $server = $value;
        $what
    }};
}

/// What a server needed of its own start.
#[derive(Debug)]
pub(crate) struct Start {
    /// It took a connection.
    pub(crate) accepts_after: Duration,
    /// It answered a real request; each partition of Kafka had a leader.
    pub(crate) serves_after: Duration,
    /// When that was.
    pub(crate) serves_at: Instant,
}

impl Backend {
    pub(crate) async fn stop(self, services: &Services) {
        each_server!(services, self, server => server.stop().await.map(drop)).unwrap();
    }

    pub(crate) async fn kill(self, services: &Services) {
        each_server!(services, self, server => server.kill().await).unwrap();
    }

    pub(crate) fn pause(self, services: &Services) {
        each_server!(services, self, server => server.pause()).unwrap();
    }

    pub(crate) fn resume(self, services: &Services) {
        each_server!(services, self, server => server.resume()).unwrap();
    }

    /// Starts it again, and waits until it serves.
    pub(crate) async fn start(self, services: &Services) -> Start {
        let began = Instant::now();
        let accepting = self.accepting(services);
        each_server!(services, self, server => server.restart().await).unwrap();
        if self == Self::Kafka {
            let topics = services.topics();
            until("leaders of Kafka's partitions", async || {
                services.kafka.has_leaders(&topics).await.ok().filter(|has| *has).map(drop)
            })
            .await;
        }
        let serves_at = Instant::now();
        let accepts_after = accepting.await.unwrap() - began;
        Start { accepts_after, serves_after: serves_at - began, serves_at }
    }

    /// When it takes a connection for the first time.
    fn accepting(self, services: &Services) -> JoinHandle<Instant> {
        let url = each_server!(services, self, server => server.url().to_owned());
        tokio::spawn(async move {
            let place = url.rsplit(['@', '/']).find(|part| part.contains(':')).unwrap().to_owned();
            within("a connection", async {
                while TcpStream::connect(&place).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
                Instant::now()
            })
            .await
        })
    }
}
