//! A bounded pool of connections to one server, on bb8.
//!
//! Invariants: a connection on which a call was given up (timeout, cancelled, lost) is closed and never used again, so that no call
//! ever reads the answer to another; connection, check and answer share one deadline, so that a call ends within its timeout, with the
//! reason of the last failed attempt to connect. A connection that was idle is checked before it is given out: after an outage nobody's
//! call fails for a connection that died meanwhile.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A connection that answered less than so long ago is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Opens connections of one kind.
pub(crate) trait Dial: fmt::Debug + Send + Sync + 'static {
    type Connection: Send + 'static;

    /// Opens one; the pool bounds the time.
    fn dial(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Whether the connection is known to be of no more use.
    fn is_closed(connection: &Self::Connection) -> bool;

    /// Asks the server for a sign of life; the pool bounds the time.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    fn check(connection: &mut Self::Connection) -> impl Future<Output = Result<(), String>> + Send;
}

/// A connection in the pool.
pub(crate) struct Slot<C> {
    pub(crate) connection: C,
    /// Set while a call is under way, cleared by its answer.
    under_way: bool,
    /// When it answered last.
    answered_at: Instant,
}

impl<C> Slot<C> {
    /// A call begins: unless [`Slot::answered`] is called, the connection will be closed.
    pub(crate) fn begin(&mut self) -> &mut C {
        self.under_way = true;
        &mut self.connection
    }

    /// The call's answer was read to its end.
    pub(crate) fn answered(&mut self) {
        self.under_way = false;
        self.answered_at = Instant::now();
    }
}

#[derive(Debug)]
pub(crate) struct Manager<D> {
    dial: D,
    call_timeout: Duration,
}

impl<D: Dial> bb8::ManageConnection for Manager<D> {
    type Connection = Slot<D::Connection>;
    type Error = DialError;

    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        let connection = tokio::time::timeout(self.call_timeout, self.dial.dial()).await;
        let connection =
            connection.unwrap_or_else(|_| Err("connecting took too long".to_owned())).map_err(DialError)?;
        Ok(Slot { connection, under_way: false, answered_at: Instant::now() })
    }

    /// Half of the call's time at most, so that another connection may be made where this one is dead.
    async fn is_valid(&self, slot: &mut Self::Connection) -> Result<(), Self::Error> {
        if D::is_closed(&slot.connection) {
            return Err(DialError("the connection was closed".to_owned()));
        }
        if slot.answered_at.elapsed() < TRUSTED_FOR {
            return Ok(());
        }
        match tokio::time::timeout(self.call_timeout / 2, D::check(slot.begin())).await {
            Ok(Ok(())) => {
                slot.answered();
                Ok(())
            }
            Ok(Err(reason)) => Err(DialError(reason)),
            Err(_) => Err(DialError("an idle connection did not answer".to_owned())),
        }
    }

    fn has_broken(&self, slot: &mut Self::Connection) -> bool {
        slot.under_way || D::is_closed(&slot.connection)
    }
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DialError(String);

/// Why the last attempt to connect failed: bb8 itself says only that none succeeded in time.
#[derive(Debug, Clone, Default)]
struct LastFailure(Arc<Mutex<Option<String>>>);

impl bb8::ErrorSink<DialError> for LastFailure {
    fn sink(&self, error: DialError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.0);
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<DialError>> {
        Box::new(self.clone())
    }
}

pub(crate) type Held<'a, D> = bb8::PooledConnection<'a, Manager<D>>;

#[derive(Debug)]
pub(crate) struct Pool<D: Dial> {
    pool: bb8::Pool<Manager<D>>,
    last_failure: LastFailure,
    call_timeout: Duration,
}

impl<D: Dial> Pool<D> {
    /// Connects when first used. Must be called inside a tokio runtime.
    pub(crate) fn new(dial: D, connections_max: u32, call_timeout: Duration) -> Self {
        let last_failure = LastFailure::default();
        let pool = bb8::Pool::builder()
            .max_size(connections_max)
            .test_on_check_out(true)
            .connection_timeout(call_timeout)
            .error_sink(Box::new(last_failure.clone()))
            .build_unchecked(Manager { dial, call_timeout });
        Self { pool, last_failure, call_timeout }
    }

    /// When a call that begins now is given up.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.call_timeout
    }

    /// Why a call was given up at its deadline, for people.
    pub(crate) fn no_answer(&self) -> String {
        format!("no answer within {} ms", self.call_timeout.as_millis())
    }

    /// A connection for one call; waits for it until `deadline` (see [`Pool::deadline`]).
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) async fn get(&self, deadline: Instant) -> Result<Held<'_, D>, String> {
        self.last_failure.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match tokio::time::timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(held)) => return Ok(held),
            Ok(Err(bb8::RunError::User(error))) => return Err(error.0),
            Ok(Err(bb8::RunError::TimedOut)) | Err(_) => {}
        }
        let reason = self.last_failure.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(reason.unwrap_or_else(|| format!("no connection was free within {} ms", self.call_timeout.as_millis())))
    }
}
