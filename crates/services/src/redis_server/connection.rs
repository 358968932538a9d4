//! Calls to Redis: pooled, bounded in time.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{
    Failure, Place, Script,
    access::{Access, Connection},
};
use crate::{
    pool::{Dial, Pool},
    tls::{TlsKeys, TlsOptions},
};

/// One Redis server, as a store uses it.
#[derive(Debug)]
pub(crate) struct Server {
    pool: Pool<RedisDial>,
    place: Place,
    access: Access,
    call_timeout: Duration,
}

/// How to reach a server, and what to call its settings where they are to be mended.
pub(crate) struct ServerOptions<'a> {
    pub(crate) url: &'a str,
    /// For a URL `rediss://`.
    pub(crate) tls: &'a TlsOptions,
    pub(crate) tls_keys: &'static TlsKeys,
    pub(crate) connections_max: u32,
    pub(crate) call_timeout: Duration,
    /// Names the URL in the configuration: `redis_ws.url`.
    pub(crate) url_setting: &'static str,
    /// What to do, beside giving it more memory, where the server has no room.
    pub(crate) room_remedy: &'static str,
}

impl Server {
    /// # Errors
    /// [`Failure::Unavailable`] for a URL that can't be understood.
    pub(crate) fn new(options: &ServerOptions<'_>) -> Result<Self, Failure> {
        let ServerOptions { url_setting, room_remedy, call_timeout, .. } = *options;
        // The URL may hold a password.
        let invalid = |error: RedisError| Failure::Unavailable {
            place: format!("at {url_setting}"),
            reason: format!("{error}; write it as redis://[user:password@]host:port[/database], or rediss:// for TLS"),
        };
        let access = Access::new(options.url, options.tls, options.tls_keys).map_err(invalid)?;
        let place = Place { text: access.place(), url_setting, room_remedy };
        let dial = RedisDial { access: access.clone(), response_timeout: call_timeout };
        Ok(Self { pool: Pool::new(dial, options.connections_max, call_timeout), place, access, call_timeout })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// A connection that listens. The caller bounds the time.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn listen(&self, config: AsyncConnectionConfig) -> Result<Connection, String> {
        self.access.listen(config).await
    }

    pub(super) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// Calls a script; `build` adds the keys and arguments behind its name.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        script: &Script,
        build: impl Fn(&mut Cmd) + Send,
        size_hint: (usize, usize),
    ) -> Result<T, Failure> {
        let deadline = self.pool.deadline();
        let mut command = Cmd::with_capacity(size_hint.0 + 2, size_hint.1 + 64);
        command.arg("EVALSHA").arg(&script.sha1);
        build(&mut command);
        match self.ask(&command, deadline).await {
            Err(Fault::Server(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                tracing::debug!(script = script.name, place = self.place.text, "loading script");
                // EVAL leaves it in the server's cache, so the next call finds it.
                let mut command = Cmd::with_capacity(size_hint.0 + 2, size_hint.1 + script.code.len() + 64);
                command.arg("EVAL").arg(&script.code);
                build(&mut command);
                self.read(self.ask(&command, deadline).await)
            }
            answer => self.read(answer),
        }
    }

    /// One plain command.
    ///
    /// # Errors
    /// As [`Server::invoke`].
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.read(self.ask(command, self.pool.deadline()).await)
    }

    async fn ask(&self, command: &Cmd, deadline: Instant) -> Result<Value, Fault> {
        let mut held = self.pool.get(deadline).await.map_err(Fault::Connection)?;
        let connection = held.begin();
        let answer = tokio::time::timeout_at(deadline, connection.commands.send_packed_command(command)).await;
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
            Err(_) => Err(Fault::Connection(self.pool.no_answer())),
        }
    }

    fn read<T: FromRedisValue>(&self, answer: Result<Value, Fault>) -> Result<T, Failure> {
        match answer {
            Ok(value) => T::from_redis_value(value).map_err(|error| self.place.corrupt(error)),
            Err(Fault::Connection(reason)) => Err(self.place.unavailable(reason)),
            Err(Fault::Server(error)) => Err(self.place.refused(&error)),
        }
    }
}

/// Why there is no answer, or none to be used.
enum Fault {
    /// It is not known whether the call had an effect.
    Connection(String),
    /// It had none.
    Server(RedisError),
}

/// Connects by bb8-redis; timeouts and the eviction of broken connections are the pool's, which is stricter.
#[derive(Debug)]
struct RedisDial {
    access: Access,
    response_timeout: Duration,
}

impl Dial for RedisDial {
    type Connection = Connection;

    /// An attempt ends after 1 s; the pool makes more of them until the call's deadline.
    async fn dial(&self) -> Result<Connection, String> {
        let mut connection = self.access.connect().await?;
        // The pool's deadline comes first; the crate's own 500 ms would cut off large batches.
        connection.commands.set_response_timeout(self.response_timeout);
        Ok(connection)
    }

    fn is_closed(_connection: &Connection) -> bool {
        // It can't tell; the check of an idle one, or the next call, does.
        false
    }

    /// `PING`.
    async fn check(connection: &mut Connection) -> Result<(), String> {
        redis::cmd("PING")
            .query_async::<Value>(&mut connection.commands)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }
}
