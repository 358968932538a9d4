//! Where a Redis is, as whom and by which TLS.
//!
//! TLS is ours and not the redis crate's, which reads the authorities of the whole system with each connection, also where it is given others.

use std::{fmt, time::Duration};

use bb8::ManageConnection;
use bb8_redis::RedisConnectionManager;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};
use tokio::task::AbortHandle;

use crate::tls::{NO_ANSWER, TlsKeys, TlsOptions};

/// An attempt by TLS; the redis crate's own default for others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Access {
    /// Of TLS as if it were without.
    info: ConnectionInfo,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    options: TlsOptions,
    keys: &'static TlsKeys,
    /// `host:port`.
    address: String,
}

/// A connection, which ends with this.
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// What moves its bytes, unless the redis crate looks after that.
    driver: Option<AbortHandle>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            // Else it would wait for answers that were given up.
            driver.abort();
        }
    }
}

impl fmt::Debug for Access {
    /// The rest holds the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Access").field(&self.place()).finish()
    }
}

impl Access {
    /// # Errors
    /// A URL that can't be understood.
    pub(super) fn new(url: &str, options: &TlsOptions, keys: &'static TlsKeys) -> RedisResult<Self> {
        let in_the_clear = url.strip_prefix("rediss://").map(|rest| format!("redis://{rest}"));
        let info = in_the_clear.as_deref().unwrap_or(url).into_connection_info()?;
        // Checks more than the parser.
        Client::open(info.clone())?;
        let tls = match info.addr() {
            ConnectionAddr::Tcp(host, port) if in_the_clear.is_some() => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                Some(Tls { options: options.clone(), keys, address: format!("{host}:{port}") })
            }
            _ => None,
        };
        Ok(Self { info, tls })
    }

    /// Without user and password.
    pub(super) fn place(&self) -> String {
        let database = self.info.redis_settings().db();
        match (self.info.addr(), &self.tls) {
            (_, Some(Tls { address, .. })) => format!("rediss://{address}/{database}"),
            (ConnectionAddr::Tcp(host, port), None) => format!("redis://{host}:{port}/{database}"),
            (ConnectionAddr::Unix(path), None) => format!("redis+unix://{}", path.display()),
            (other, None) => other.to_string(),
        }
    }

    /// For commands. An attempt ends after 1 s.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let settings = self.info.redis_settings();
        if let Some(tls) = &self.tls {
            let connecting = tls.connect(settings, AsyncConnectionConfig::new());
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            // A server without TLS waits for the end of a line.
            return connected.unwrap_or_else(|_| Err(tls.keys.with_remedy(NO_ANSWER.to_owned())));
        }
        let manager = RedisConnectionManager::new(self.info.clone()).map_err(|error| error.to_string())?;
        let commands = manager.connect().await.map_err(|error| error.to_string())?;
        Ok(Connection { commands, driver: None })
    }

    /// For publications: RESP3 hands them over apart from answers, so that a connection can be probed while it listens. The caller bounds the
    /// time.
    ///
    /// # Errors
    /// As [`Access::connect`].
    pub(super) async fn listen(&self, config: AsyncConnectionConfig) -> Result<Connection, String> {
        let settings = self.info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(tls) = &self.tls {
            return tls.connect(&settings, config).await;
        }
        let client = Client::open(self.info.clone().set_redis_settings(settings)).map_err(|error| error.to_string())?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let commands = connecting.await.map_err(|error| error.to_string())?;
        Ok(Connection { commands, driver: None })
    }
}

impl Tls {
    async fn connect(
        &self,
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Connection, String> {
        let explained = |error: &dyn fmt::Display| self.keys.with_remedy(error.to_string());
        let stream = self.options.connect(&self.address).await.map_err(|error| explained(&error))?;
        let connecting = MultiplexedConnection::new_with_config(settings, stream, config);
        // With TLS 1.3, a certificate of ours that the server does not take is refused only now.
        let (commands, driver) = connecting.await.map_err(|error| explained(&error))?;
        Ok(Connection { commands, driver: Some(tokio::spawn(driver).abort_handle()) })
    }
}
