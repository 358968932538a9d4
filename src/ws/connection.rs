//! A socket's task: reads what the client sends, keeps the connection alive, and closes it.
//!
//! What goes out is up to the socket's [`WsSession`](orinoco_actors::WsSession); this task starts it, tells it of the client, and waits
//! for its word how to close. Invariant: after the session's end nobody but this task writes, so that the close message comes last. A
//! session that failed or was killed gives no word: that is 1012, connect again and resume.

use std::{future::poll_fn, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use orinoco_actors::{Close, View, WsSessionArguments, WsSessionMessage, close_message};
use orinoco_domain::partition_of;
use orinoco_ports::ClientSocket;
use orinoco_supervision::{Address, ChildStart, StartChildError};
use serde::Deserialize;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, timeout},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{
    auth::{Watch, now_ms},
    http::{Access, Credential, Denied},
    tls::ClientStream,
};

use super::{
    WsDeps, WsTiming,
    handshake::Wish,
    reader::{Reader, Said},
    registry::{Farewell, Place},
    socket::TcpClient,
};

/// For the first message, where the access token is to come in it.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
/// For a session that was told to end; its handlers do not wait for the client.
pub(super) const SESSION_END_TIMEOUT: Duration = Duration::from_secs(5);
/// For what is left to send and the close message: a slow client that reads on within this time learns why it is closed.
const CLOSE_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// For the client's side of the closing handshake.
const CLOSE_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pongs that a busy session had no room for.
const PONGS_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Bytes of one read.
const READ_BYTES: usize = 4096;
/// Reads in a row, before others have their turn.
const READS_MAX: usize = 16;

/// Centrifuge's codes for the same reasons.
const TOKEN_EXPIRED: Close = Close { code: 3005, reason: "connection expired" };
pub(super) const LOGIN_ENDED: Close = Close { code: 3503, reason: "force disconnect" };
const TOKEN_INVALID: Close = Close { code: 3500, reason: "invalid token" };
const TOKEN_LATE: Close = Close { code: 3500, reason: "no access token in time" };
const NOT_YOURS: Close = Close { code: 3507, reason: "permission denied" };
/// RFC 6455's registry, "Try Again Later".
pub(super) const OVERLOADED: Close = Close { code: 1013, reason: "try again later" };

/// A socket that was let in.
pub(super) struct Admitted {
    pub(super) wish: Wish,
    /// `None` where the access token is to come in the first message.
    pub(super) sight: Option<Sight>,
    pub(super) place: Place,
}

/// What a client sees, and for how long.
pub(super) struct Sight {
    pub(super) view: View,
    pub(super) credential: Option<Credential>,
}

/// The first message of a client that can't set headers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenMessage {
    access_token: String,
}

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a close message.
    Close(Close),
    /// The client has gone.
    Gone,
}

/// Serves a socket from its upgrade to its end. What is waited for once is boxed, as this task is there for each idle socket.
pub(super) async fn run(on_upgrade: OnUpgrade, admitted: Admitted, deps: Arc<WsDeps>) {
    let Some((stream, begun)) = Box::pin(upgraded(on_upgrade)).await else { return };
    let mut connection = Connection::new(stream);
    let end = match Box::pin(connection.begin(begun, &admitted, &deps)).await {
        Ok(Begun { session, closed, credential }) => {
            let leave = Leave::of(credential, &*deps.access, admitted.place.farewell());
            connection.accompany(session, closed, deps.policy.get().timing, leave).await
        }
        Err(end) => end,
    };
    drop(deps);
    Box::pin(connection.close(end)).await;
    // Counts until here.
    drop(admitted.place);
}

/// The bare connection, and what hyper has read of it already. `None` where the client went meanwhile.
pub(super) async fn upgraded(on_upgrade: OnUpgrade) -> Option<(ClientStream, Bytes)> {
    let parts = on_upgrade.await.ok()?.downcast::<TokioIo<ClientStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// A session that runs.
struct Begun {
    session: Address<WsSessionMessage>,
    closed: oneshot::Receiver<Close>,
    credential: Option<Credential>,
}

/// What may end a socket from outside.
pub(super) struct Leave {
    pub(super) until: Option<Instant>,
    /// None where anyone may watch.
    watch: Option<Watch>,
    pub(super) farewell: Farewell,
}

/// What ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    LoginEnded,
    Shutdown,
}

impl Leave {
    pub(super) fn of(credential: Option<Credential>, access: &dyn Access, farewell: Farewell) -> Self {
        let watch = credential.and_then(|credential| access.watch(credential));
        Self { until: credential.map(until), watch, farewell }
    }

    /// Waits for the end of the login, or of the daemon. Cancel safe.
    pub(super) async fn ended(&mut self) -> Cause {
        let login = async {
            match &mut self.watch {
                Some(watch) => watch.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = login => Cause::LoginEnded,
            () = self.farewell.turn() => Cause::Shutdown,
        }
    }

    pub(super) fn has_expired(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// When the token expires, by this process's own clock.
fn until(credential: Credential) -> Instant {
    let left_ms = u64::try_from(credential.expires_at_ms - now_ms()).unwrap_or(0);
    Instant::now() + Duration::from_millis(left_ms)
}

pub(super) struct Connection {
    pub(super) socket: Arc<TcpClient>,
    pub(super) reader: Reader,
    /// Of the client, anything at all.
    pub(super) heard_at: Instant,
    pinged_at: Instant,
    /// Its close message came, or the end of its stream: it is not waited for.
    client_is_done: bool,
}

impl Connection {
    pub(super) fn new(stream: ClientStream) -> Self {
        let now = Instant::now();
        let socket = Arc::new(TcpClient::new(stream));
        Self { socket, reader: Reader::new(), heard_at: now, pinged_at: now, client_is_done: false }
    }

    /// Finds out what the client may see, and starts its session.
    async fn begin(&mut self, begun: Bytes, admitted: &Admitted, deps: &WsDeps) -> Result<Begun, End> {
        let mut texts = Vec::new();
        self.feed(&begun, &mut texts)?;
        let (view, credential) = match &admitted.sight {
            Some(sight) => (sight.view.clone(), sight.credential),
            None => {
                let authenticated = timeout(TOKEN_TIMEOUT, self.authenticate(texts, &admitted.wish, deps));
                authenticated.await.unwrap_or(Err(End::Close(TOKEN_LATE)))?
            }
        };
        if let Some(credential) = credential {
            admitted.place.identify(credential.login.user_id);
        }
        let (done, closed) = oneshot::channel();
        let start = ChildStart::once(self.arguments(admitted, view, deps, done));
        match deps.sessions.start_child_with(admitted.place.session_id(), start).await {
            Ok(session) => Ok(Begun { session, closed, credential }),
            Err(StartChildError::PoolFull { .. }) => Err(End::Close(OVERLOADED)),
            Err(error) => {
                tracing::debug!(%error, "a session did not start");
                Err(End::Close(Close::RESTART))
            }
        }
    }

    fn arguments(
        &self,
        admitted: &Admitted,
        view: View,
        deps: &WsDeps,
        done: oneshot::Sender<Close>,
    ) -> WsSessionArguments {
        let partitions = match &view {
            View::All => (0..deps.partitions).collect(),
            View::Device(device) => vec![partition_of(device.as_str().as_bytes(), deps.partitions)],
        };
        WsSessionArguments {
            session: admitted.place.session_id(),
            socket: Arc::clone(&self.socket) as Arc<dyn ClientSocket>,
            view,
            resume: admitted.wish.resume.clone(),
            hubs: deps.hubs.clone(),
            partitions,
            store: Arc::clone(&deps.store),
            limits: deps.policy.get().limits,
            done,
        }
    }

    /// Waits for the access token. `texts`: what came with the handshake.
    async fn authenticate(
        &mut self,
        mut texts: Vec<Utf8Bytes>,
        wish: &Wish,
        deps: &WsDeps,
    ) -> Result<(View, Option<Credential>), End> {
        while texts.is_empty() {
            self.readable().await?;
            self.read(&mut texts)?;
            // Nobody else writes yet. What the client does not take now, it does not get.
            let pongs = self.reader.take_pongs();
            if !pongs.is_empty() {
                self.socket.try_write(&[pongs.into()]).map_err(|_| End::Gone)?;
            }
        }
        let message: TokenMessage = serde_json::from_str(&texts[0]).map_err(|_| End::Close(TOKEN_INVALID))?;
        let viewer = deps.access.viewer(Some(&message.access_token)).await;
        let viewer = viewer.map_err(|denied| match denied {
            Denied::NoDevice => End::Close(NOT_YOURS),
            Denied::TokenMissing | Denied::TokenInvalid => End::Close(TOKEN_INVALID),
        })?;
        Ok((wish.view(&viewer).ok_or(End::Close(NOT_YOURS))?, viewer.credential))
    }

    /// Tells the session what the client does, until either ends.
    async fn accompany(
        &mut self,
        session: Address<WsSessionMessage>,
        mut closed: oneshot::Receiver<Close>,
        timing: WsTiming,
        mut leave: Leave,
    ) -> End {
        let mut timer = std::pin::pin!(tokio::time::sleep_until(self.next_check(timing, leave.until)));
        let end = loop {
            self.hand_over_pongs(&session);
            let client = tokio::select! {
                word = &mut closed => return End::Close(word.unwrap_or(Close::RESTART)),
                client = self.hear() => client,
                cause = leave.ended() => Err(End::Close(match cause {
                    Cause::LoginEnded => LOGIN_ENDED,
                    Cause::Shutdown => Close::RESTART,
                })),
                () = timer.as_mut() => self.check(&session, timer.as_mut(), timing, &leave),
            };
            if let Err(end) = client {
                break end;
            }
        };
        Box::pin(dismiss(&session, closed, end)).await;
        end
    }

    /// Reads what has come, or waits until pongs can go out. Cancel safe.
    async fn hear(&mut self) -> Result<(), End> {
        if self.reader.has_pongs() {
            tokio::select! {
                // Its mailbox was full.
                () = tokio::time::sleep(PONGS_AGAIN_AFTER), if !self.socket.is_blocked() => return Ok(()),
                flushed = self.socket.flushed(), if self.socket.is_blocked() => return flushed.map_err(|_| End::Gone),
                readable = self.readable() => readable?,
            }
        } else {
            self.readable().await?;
        }
        // Data has no meaning here: only that it came.
        self.read(&mut Vec::new())
    }

    /// Polled, and not awaited, as it then takes the place of hyper's waker, which would keep the memory of the handshake's task.
    pub(super) async fn readable(&self) -> Result<(), End> {
        poll_fn(|context| self.socket.poll_readable(context)).await.map_err(|_| End::Gone)
    }

    /// Reads what has come; texts are added to `texts`.
    pub(super) fn read(&mut self, texts: &mut Vec<Utf8Bytes>) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            match self.socket.try_read(&mut buffer) {
                Ok(0) => {
                    self.client_is_done = true;
                    return Err(End::Gone);
                }
                Ok(length) => self.feed(&buffer[..length], texts)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(End::Gone),
            }
        }
        Ok(())
    }

    pub(super) fn feed(&mut self, bytes: &[u8], texts: &mut Vec<Utf8Bytes>) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.heard_at = Instant::now();
        let mut asked_to_close = None;
        let fed = self.reader.feed(bytes, |said| match said {
            Said::Text(text) => texts.push(text),
            Said::Something => {}
            Said::Close(code) => asked_to_close = Some(code),
        });
        if let Some(code) = asked_to_close {
            self.client_is_done = true;
            return Err(End::Close(Close { code, reason: "" }));
        }
        fed.map_err(End::Close)
    }

    fn hand_over_pongs(&mut self, session: &Address<WsSessionMessage>) {
        if !self.reader.has_pongs() || self.socket.is_blocked() {
            return;
        }
        let pongs = Bytes::from(self.reader.take_pongs());
        if let Err(refused) = session.try_send(WsSessionMessage::Control(pongs))
            && refused.is_full()
            && let WsSessionMessage::Control(pongs) = refused.into_message()
        {
            self.reader.put_back_pongs(pongs.into());
        }
    }

    /// When it is to be looked whether the client lives, and may stay.
    fn next_check(&self, timing: WsTiming, until: Option<Instant>) -> Instant {
        let ping_at = self.heard_at.max(self.pinged_at) + timing.ping_interval;
        let check_at = ping_at.min(self.heard_at + timing.idle_timeout);
        until.map_or(check_at, |until| check_at.min(until))
    }

    /// Pings a silent client; ends one that has been silent for too long, or whose token has expired.
    fn check(
        &mut self,
        session: &Address<WsSessionMessage>,
        timer: Pin<&mut Sleep>,
        timing: WsTiming,
        leave: &Leave,
    ) -> Result<(), End> {
        let now = Instant::now();
        if leave.has_expired() {
            return Err(End::Close(TOKEN_EXPIRED));
        }
        if now >= self.heard_at + timing.idle_timeout {
            return Err(End::Close(Close::IDLE));
        }
        if now >= self.heard_at.max(self.pinged_at) + timing.ping_interval {
            self.pinged_at = now;
            // Full: much goes out to this client without a ping. Down: its end is on its way.
            let _ = session.try_send(WsSessionMessage::Ping);
        }
        timer.reset(self.next_check(timing, leave.until));
        Ok(())
    }

    /// Sends what is left and the close message, waits for the client's, and ends the connection (RFC 6455, section 7.1.1).
    pub(super) async fn close(mut self, end: End) {
        let End::Close(close) = end else {
            return self.socket.shut_down();
        };
        metrics::counter!("orinoco_websocket_closed_total", "code" => close.code.to_string()).increment(1);
        let last = self.socket.write(close_message(close));
        if !matches!(timeout(CLOSE_WRITE_TIMEOUT, last).await, Ok(Ok(()))) {
            return self.socket.shut_down();
        }
        if !self.client_is_done {
            if self.reader.is_over() {
                // It broke the protocol: its answer can't be told from the rest, so it is not made to wait for our end of the stream.
                self.socket.end_sending();
            }
            // Its answer, or the end of its stream.
            let _ = timeout(CLOSE_ANSWER_TIMEOUT, self.client_done()).await;
        }
        self.socket.shut_down();
    }

    /// Reads on until the client has closed, so that nothing unread makes the kernel break off what is on its way out.
    async fn client_done(&mut self) {
        let mut ignored = Vec::new();
        while !self.client_is_done {
            if self.readable().await.is_err() {
                return;
            }
            match self.read(&mut ignored) {
                Err(End::Gone) => return,
                // What it sends after it broke the protocol is only read.
                Ok(()) | Err(End::Close(_)) => ignored.clear(),
            }
        }
    }
}

/// Tells the session that its client is done, and waits for its end.
async fn dismiss(session: &Address<WsSessionMessage>, closed: oneshot::Receiver<Close>, end: End) {
    let close = if let End::Close(close) = end { close } else { Close::NORMAL };
    let ended = async {
        // Down: it has ended already.
        let _ = session.send(WsSessionMessage::Gone(close)).await;
        closed.await
    };
    // A session that hangs is the watchdog's; the client is not made to wait for it.
    let _ = timeout(SESSION_END_TIMEOUT, ended).await;
}
