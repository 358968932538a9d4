//! A bounded pool of connections to one server, on bb8.
//!
//! Invariants: a connection on which a call was given up (timeout, cancelled, lost) is closed and never used again, so that no call
//! ever reads the answer to another; connection, check and answer share one deadline, so that a call ends within its timeout, with the
//! reason of the last failed attempt to connect; who waits for a connection is served in turn. A connection that was idle is checked before it is given out: after an outage nobody's
//! call fails for a connection that died meanwhile.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bb8::ErrorSink as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// A connection that answered less than so long ago is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Between two attempts to open a connection: steady, where bb8's own grow to a second and more, as a server that is back is to be noticed
/// soon. Each of a pool's connections makes its own, so that it is this times their number that a server sees at most.
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(100);

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
    last_failure: LastFailure,
}

impl<D: Dial> bb8::ManageConnection for Manager<D> {
    type Connection = Slot<D::Connection>;
    type Error = DialError;

    /// Tries for as long as a call may take. The last attempt, which the deadline cuts off, has less to say than the one before.
    async fn connect(&self) -> Result<Self::Connection, Self::Error> {
        let deadline = Instant::now() + self.call_timeout;
        let mut failure = DialError("connecting took too long".to_owned());
        loop {
            match tokio::time::timeout_at(deadline, self.dial.dial()).await {
                Ok(Ok(connection)) => {
                    return Ok(Slot { connection, under_way: false, answered_at: Instant::now() });
                }
                Ok(Err(reason)) => failure = DialError(reason),
                Err(_) => return Err(failure),
            }
            if Instant::now() + DIAL_AGAIN_AFTER >= deadline {
                return Err(failure);
            }
            self.last_failure.sink(failure.clone());
            tokio::time::sleep(DIAL_AGAIN_AFTER).await;
        }
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

/// A connection for one call; given back when dropped.
pub(crate) struct Held<'a, D: Dial> {
    connection: bb8::PooledConnection<'a, Manager<D>>,
    /// Given back behind the connection, which is dropped first.
    _turn: SemaphorePermit<'a>,
}

impl<D: Dial> Deref for Held<'_, D> {
    type Target = Slot<D::Connection>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<D: Dial> DerefMut for Held<'_, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

#[derive(Debug)]
pub(crate) struct Pool<D: Dial> {
    pool: bb8::Pool<Manager<D>>,
    /// One a connection: bb8 hands a connection to whoever asks first after it came back, so that a busy caller starves those who wait.
    turns: Semaphore,
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
            .build_unchecked(Manager { dial, call_timeout, last_failure: last_failure.clone() });
        let turns = Semaphore::new(usize::try_from(connections_max).unwrap_or(Semaphore::MAX_PERMITS));
        Self { pool, turns, last_failure, call_timeout }
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
        let turn = match tokio::time::timeout_at(deadline, self.turns.acquire()).await {
            Ok(turn) => turn.map_err(|error| error.to_string())?,
            Err(_) => return Err(self.why_none()),
        };
        self.last_failure().take();
        match tokio::time::timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(Held { connection, _turn: turn }),
            Ok(Err(bb8::RunError::User(error))) => Err(error.0),
            Ok(Err(bb8::RunError::TimedOut)) | Err(_) => Err(self.why_none()),
        }
    }

    fn why_none(&self) -> String {
        let none_free = || format!("no connection was free within {} ms", self.call_timeout.as_millis());
        self.last_failure().clone().unwrap_or_else(none_free)
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<String>> {
        self.last_failure.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Numbered connections to nowhere, which stay alive.
    #[derive(Debug, Default)]
    struct Numbers(AtomicUsize);

    impl Dial for Numbers {
        type Connection = usize;

        async fn dial(&self) -> Result<usize, String> {
            Ok(self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn is_closed(_connection: &usize) -> bool {
            false
        }

        async fn check(_connection: &mut usize) -> Result<(), String> {
            Ok(())
        }
    }

    /// Refuses so many attempts.
    #[derive(Debug)]
    struct Refusing(AtomicUsize);

    impl Dial for Refusing {
        type Connection = ();

        async fn dial(&self) -> Result<(), String> {
            let left = |left: usize| left.checked_sub(1);
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left) {
                Ok(_) => Err("refused".to_owned()),
                Err(_) => Ok(()),
            }
        }

        fn is_closed(_connection: &()) -> bool {
            false
        }

        async fn check(_connection: &mut ()) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn attempts_to_connect_come_at_a_steady_pace() {
        // Twice as long as that many attempts take; with pauses that double, it would be half of what they need.
        let pool = Pool::new(Refusing(AtomicUsize::new(10)), 1, 20 * DIAL_AGAIN_AFTER);
        drop(pool.get(pool.deadline()).await.unwrap());
        let pool = Pool::new(Refusing(AtomicUsize::new(100)), 1, 10 * DIAL_AGAIN_AFTER);
        assert_eq!(pool.get(pool.deadline()).await.err().as_deref(), Some("refused"));
    }

    #[tokio::test]
    async fn who_waits_for_a_connection_is_served_in_turn() {
        let pool = Arc::new(Pool::new(Numbers::default(), 2, LONG));
        let served = Arc::new(Mutex::new(Vec::new()));
        let callers = (0..20).map(|caller| {
            let (pool, served) = (Arc::clone(&pool), Arc::clone(&served));
            tokio::spawn(async move {
                for _ in 0..10 {
                    let _held = pool.get(pool.deadline()).await.unwrap();
                    served.lock().unwrap().push(caller);
                    tokio::task::yield_now().await;
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let served = served.lock().unwrap().clone();
        for (round, callers) in served.chunks(20).enumerate() {
            let mut callers = callers.to_vec();
            callers.sort_unstable();
            assert_eq!(callers, (0..20).collect::<Vec<_>>(), "round {round}");
        }
    }

    #[tokio::test]
    async fn a_connection_whose_call_was_given_up_is_never_used_again() {
        let pool = Pool::new(Numbers::default(), 1, LONG);
        let mut held = pool.get(pool.deadline()).await.unwrap();
        let first = *held.begin();
        held.answered();
        drop(held);
        let mut held = pool.get(pool.deadline()).await.unwrap();
        assert_eq!(*held.begin(), first, "an answered one is");
        drop(held);
        assert_ne!(*pool.get(pool.deadline()).await.unwrap().begin(), first);
    }
}
