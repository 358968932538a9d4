//! Calls to Redis: pooled, bounded in time, with errors in the port's terms.

use std::{fmt, future::Future};

use orinoco_ports::StoreError;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, ProtocolVersion, RedisError,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};

use super::{RedisStoreOptions, scripts::Script};
use crate::pool::{Dial, Pool};

/// One Redis server, as the store uses it.
#[derive(Debug)]
pub(super) struct Server {
    pool: Pool<RedisDial>,
    /// Without user and password.
    place: String,
}

impl Server {
    /// # Errors
    /// The URL can't be understood.
    pub(super) fn new(options: &RedisStoreOptions) -> Result<Self, StoreError> {
        let client = Client::open(options.url.as_str()).map_err(|error| StoreError::Unavailable {
            // The URL may hold a password.
            place: "at redis_ws.url".to_owned(),
            reason: format!("{error}; write it as redis://[user:password@]host:port[/database]"),
        })?;
        let place = place(&client);
        let pool = Pool::new(RedisDial(client), options.connections_max, options.call_timeout);
        Ok(Self { pool, place })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Calls a script; `build` adds the keys and arguments behind its name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        build: impl Fn(&mut Cmd) + Send,
        size_hint: (usize, usize),
    ) -> Result<T, StoreError> {
        let mut command = Cmd::with_capacity(size_hint.0 + 2, size_hint.1 + 64);
        command.arg("EVALSHA").arg(&script.sha1);
        build(&mut command);
        match self.ask(&command).await {
            Err(Fault::Server(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                tracing::debug!(script = script.name, place = self.place, "loading script");
                // EVAL leaves it in the server's cache, so the next call finds it.
                let mut command = Cmd::with_capacity(size_hint.0 + 2, size_hint.1 + script.code.len() + 64);
                command.arg("EVAL").arg(&script.code);
                build(&mut command);
                self.read(self.ask(&command).await)
            }
            answer => self.read(answer),
        }
    }

    /// One plain command.
    ///
    /// # Errors
    /// As [`Server::invoke`].
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.read(self.ask(command).await)
    }

    async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut held = self.pool.get().await.map_err(Fault::Connection)?;
        let connection = held.begin();
        let answer = tokio::time::timeout(self.pool.call_timeout(), connection.send_packed_command(command)).await;
        match answer {
            Ok(Ok(value)) => {
                held.answered();
                value.extract_error().map_err(Fault::Server)
            }
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
                held.answered();
                Err(Fault::Server(error))
            }
            Ok(Err(error)) => Err(Fault::Connection(error.to_string())),
            Err(_) => Err(Fault::Connection(format!("no answer within {} ms", self.pool.call_timeout().as_millis()))),
        }
    }

    fn read<T: FromRedisValue>(&self, answer: Result<Value, Fault>) -> Result<T, StoreError> {
        match answer {
            Ok(value) => T::from_redis_value(value).map_err(|error| self.corrupt(error)),
            Err(Fault::Connection(reason)) => Err(self.unavailable(reason)),
            Err(Fault::Server(error)) => Err(self.refused(&error)),
        }
    }

    /// What Redis itself answered: of some errors it recovers (loading, out of memory, read-only, busy), of others it doesn't.
    fn refused(&self, error: &RedisError) -> StoreError {
        match error.code() {
            Some("WRONGTYPE" | "ERR") | None => self.corrupt(error),
            Some("OOM") => self.unavailable(format!("{error}; raise maxmemory, or lower stream.history_max")),
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => self.unavailable(format!("{error}; check redis_ws.url")),
            Some(_) => self.unavailable(error),
        }
    }

    pub(super) fn unavailable(&self, reason: impl fmt::Display) -> StoreError {
        StoreError::Unavailable { place: self.place.clone(), reason: reason.to_string() }
    }

    pub(super) fn corrupt(&self, reason: impl fmt::Display) -> StoreError {
        StoreError::Corrupt { place: self.place.clone(), reason: reason.to_string() }
    }
}

/// Why there is no answer, or none to be used.
enum Fault {
    /// It is not known whether the call had an effect.
    Connection(String),
    /// It had none.
    Server(RedisError),
}

struct RedisDial(Client);

impl fmt::Debug for RedisDial {
    /// The client holds the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("RedisDial").field(&place(&self.0)).finish()
    }
}

impl Dial for RedisDial {
    type Connection = MultiplexedConnection;

    fn dial(&self) -> impl Future<Output = Result<MultiplexedConnection, String>> + Send {
        // The pool bounds both: the crate's own 500 ms for an answer would cut off large batches.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        async move { self.0.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| error.to_string()) }
    }

    fn is_closed(_connection: &MultiplexedConnection) -> bool {
        // It can't tell; the next call does.
        false
    }
}

fn place(client: &Client) -> String {
    let info = client.get_connection_info();
    let database = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        ConnectionAddr::Unix(path) => format!("redis+unix://{}", path.display()),
        other => other.to_string(),
    }
}

/// A client for publications: RESP3 hands them over apart from answers, so that a connection can be probed while it listens.
///
/// # Errors
/// The URL can't be understood.
pub(super) fn client_for_publications(url: &str) -> Result<Client, RedisError> {
    let info = Client::open(url)?.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings))
}
