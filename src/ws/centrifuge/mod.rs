//! A socket of the Centrifuge protocol: its first command, its tokens, its life and its end.
//!
//! What a client asks for beyond that is answered by the socket's [`CentrifugeSession`](orinoco_actors::CentrifugeSession); this task
//! starts it, hands commands over, and waits for its word how to close. Invariants: the first command is connect, and comes in time; while
//! the session is busy with commands nothing more is read; after the session's end nobody but this task writes.

mod token;

use std::{collections::VecDeque, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use orinoco_actors::{
    CentrifugeSession, CentrifugeSessionArguments, CentrifugeSessionMessage, Close, Command, CommandError, Connected,
    Presence, Request, error_reply, parse_commands,
};
use orinoco_domain::account::UserId;
use orinoco_ports::ClientSocket;
use orinoco_supervision::{Address, ChildStart, Pool, StartChildError};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    WsDeps, WsPolicy, WsTiming,
    connection::{Cause, Connection, End, LOGIN_ENDED, Leave, OVERLOADED, SESSION_END_TIMEOUT, upgraded},
    registry::{Farewell, Place},
};
use crate::http::Viewer;
use token::Refused;

/// What sockets of this protocol need beyond those of the plain mode.
pub struct CentrifugeDeps {
    /// Where a socket's session is started.
    pub sessions: Pool<CentrifugeSession>,
    pub presence: Arc<Presence>,
}

/// For the connect command.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Clients ask for a new token when the old one expires: for so long the socket waits for it.
const REFRESH_GRACE: Duration = Duration::from_secs(15);
/// For a client that was refused to go by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a busy session had no room for.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Serves a socket from its upgrade to its end. What is waited for once is boxed, as this task is there for each idle socket.
pub(super) async fn run(on_upgrade: OnUpgrade, place: Place, deps: Arc<WsDeps>) {
    let Some((stream, begun)) = Box::pin(upgraded(on_upgrade)).await else { return };
    let mut client = Client { connection: Connection::new(stream), texts: Vec::new(), commands: VecDeque::new() };
    let end = match Box::pin(client.begin(begun, &place, &deps)).await {
        Ok(stay) => client.accompany(stay, &deps).await,
        Err(end) => end,
    };
    drop(deps);
    Box::pin(client.connection.close(end)).await;
    // Counts until here.
    drop(place);
}

struct Client {
    connection: Connection,
    /// Read, and not looked at yet.
    texts: Vec<Utf8Bytes>,
    /// Of one text message or a few that came together.
    commands: VecDeque<Command>,
}

/// A session that runs.
struct Stay {
    session: Address<CentrifugeSessionMessage>,
    closed: oneshot::Receiver<Close>,
    user_id: Option<UserId>,
    leave: Leave,
    /// Told when the session has answered the commands that it was given.
    handled: Option<oneshot::Receiver<()>>,
    ping_at: Instant,
    timing: WsTiming,
}

impl Client {
    /// Waits for the connect command, and starts the session.
    async fn begin(&mut self, begun: Bytes, place: &Place, deps: &WsDeps) -> Result<Stay, End> {
        self.connection.feed(&begun, &mut self.texts)?;
        let connect = timeout(CONNECT_TIMEOUT, self.connect_command()).await;
        let (id, token) = connect.unwrap_or(Err(End::Close(Close::STALE)))?;
        let viewer = match token::viewer(&*deps.access, token.as_deref()).await {
            Ok(viewer) => viewer,
            Err(Refused::Expired) => return Err(self.refuse(id, CommandError::TOKEN_EXPIRED, Close::EXPIRED).await),
            Err(Refused::Missing) => {
                return Err(self.refuse(id, CommandError::UNAUTHORIZED, Close::INVALID_TOKEN).await);
            }
            Err(Refused::Invalid) => return Err(End::Close(Close::INVALID_TOKEN)),
            Err(Refused::SeesNothing) => return Err(End::Close(Close::PERMISSION_DENIED)),
        };
        let user_id = viewer.credential.map(|credential| credential.login.user_id);
        if let Some(user_id) = user_id {
            place.identify(user_id);
        }
        let leave = leave(&viewer, deps, place.farewell());
        let (done, closed) = oneshot::channel();
        let policy = deps.policy.get();
        let arguments =
            self.arguments(id, viewer, (place, &policy), deps, done).ok_or(End::Close(Close::SERVER_ERROR))?;
        match deps.centrifuge.sessions.start_child_with(place.session_id(), ChildStart::once(arguments)).await {
            Ok(session) => {
                let timing = policy.timing;
                let ping_at = Instant::now() + timing.ping_interval;
                Ok(Stay { session, closed, user_id, leave, handled: None, ping_at, timing })
            }
            Err(StartChildError::PoolFull { .. }) => Err(End::Close(OVERLOADED)),
            Err(error) => {
                tracing::debug!(%error, "a session did not start");
                Err(End::Close(Close::SERVER_ERROR))
            }
        }
    }

    /// Its id and its token.
    async fn connect_command(&mut self) -> Result<(u32, Option<String>), End> {
        while self.texts.is_empty() {
            self.connection.readable().await?;
            self.connection.read(&mut self.texts)?;
            // Nobody else writes yet. What the client does not take now, it does not get.
            let pongs = self.connection.reader.take_pongs();
            if !pongs.is_empty() {
                self.connection.socket.try_write(&[pongs.into()]).map_err(|_| End::Gone)?;
            }
        }
        self.commands.extend(parse_commands(&self.texts.remove(0)).map_err(End::Close)?);
        match self.commands.pop_front() {
            Some(Command { id, request: Request::Connect { token } }) => Ok((id, token)),
            _ => Err(End::Close(Close::BAD_REQUEST)),
        }
    }

    /// `None` where the machine gives no random bytes.
    fn arguments(
        &self,
        id: u32,
        viewer: Viewer,
        (place, policy): (&Place, &WsPolicy),
        deps: &WsDeps,
        done: oneshot::Sender<Close>,
    ) -> Option<CentrifugeSessionArguments> {
        let user = viewer.credential.map(|credential| credential.login.user_id.0.to_string());
        let connected = Connected {
            id,
            client: client_id()?,
            user: user.unwrap_or_default(),
            ttl_s: token::ttl_s(&viewer),
            ping_s: policy.timing.ping_interval.as_secs().max(1),
        };
        Some(CentrifugeSessionArguments {
            session: place.session_id(),
            connected,
            socket: Arc::clone(&self.connection.socket) as Arc<dyn ClientSocket>,
            view: viewer.view,
            hubs: deps.hubs.clone(),
            partitions: deps.partitions,
            store: Arc::clone(&deps.store),
            presence: Arc::clone(&deps.centrifuge.presence),
            limits: policy.limits,
            done,
        })
    }

    /// Says why, and gives the client time to go by itself: one that sees the close before the reply would not know what to do.
    async fn refuse(&mut self, id: u32, error: CommandError, close: Close) -> End {
        let refuse = async {
            if self.connection.socket.write(error_reply(id, error)).await.is_err() {
                return;
            }
            while self.connection.readable().await.is_ok() {
                self.texts.clear();
                if self.connection.read(&mut self.texts).is_err() {
                    return;
                }
            }
        };
        // One that stays is closed.
        let _ = timeout(LEAVE_TIMEOUT, refuse).await;
        End::Close(close)
    }

    /// Hands over what the client says, until either ends.
    async fn accompany(&mut self, mut stay: Stay, deps: &WsDeps) -> End {
        let end = loop {
            if let Err(end) = self.hand_over(&mut stay, deps).await {
                break end;
            }
            let wake_at = self.wake_at(&stay);
            let step = tokio::select! {
                word = &mut stay.closed => return End::Close(word.unwrap_or(Close::SERVER_ERROR)),
                cause = stay.leave.ended() => Err(End::Close(match cause {
                    Cause::LoginEnded => LOGIN_ENDED,
                    Cause::Shutdown => Close::SHUTDOWN,
                })),
                () = told(&mut stay.handled) => {
                    stay.handled = None;
                    Ok(())
                }
                readable = self.connection.readable(), if stay.handled.is_none() && self.commands.is_empty() => {
                    readable.and_then(|()| self.connection.read(&mut self.texts))
                }
                () = sleep_until(wake_at) => self.check(&mut stay),
            };
            if let Err(end) = step {
                break end;
            }
        };
        Box::pin(dismiss(stay, end)).await;
        end
    }

    /// Gives the session what was read, as far as it has room.
    async fn hand_over(&mut self, stay: &mut Stay, deps: &WsDeps) -> Result<(), End> {
        self.hand_over_pongs(stay);
        for text in std::mem::take(&mut self.texts) {
            self.commands.extend(parse_commands(&text).map_err(End::Close)?);
        }
        if stay.handled.is_some() {
            return Ok(());
        }
        let mut batch = Vec::new();
        while let Some(command) = self.commands.pop_front() {
            match command.request {
                Request::Pong => {}
                Request::Connect { .. } => return Err(End::Close(Close::BAD_REQUEST)),
                Request::Refresh { ref token } => {
                    let refreshed = self.refreshed(command.id, token, stay, deps).await?;
                    if stay.session.try_send(refreshed).is_err_and(|refused| refused.is_full()) {
                        self.commands.push_front(command);
                        break;
                    }
                }
                _ => batch.push(command),
            }
        }
        if !batch.is_empty() {
            let (handled, told) = oneshot::channel();
            match stay.session.try_send(CentrifugeSessionMessage::Commands { commands: batch, handled }) {
                Ok(()) => stay.handled = Some(told),
                Err(refused) if refused.is_full() => {
                    if let CentrifugeSessionMessage::Commands { commands, .. } = refused.into_message() {
                        commands.into_iter().rev().for_each(|command| self.commands.push_front(command));
                    }
                }
                // Its end is on its way.
                Err(_down) => {}
            }
        }
        Ok(())
    }

    fn hand_over_pongs(&mut self, stay: &Stay) {
        if !self.connection.reader.has_pongs() || self.connection.socket.is_blocked() {
            return;
        }
        let pongs = Bytes::from(self.connection.reader.take_pongs());
        if let Err(refused) = stay.session.try_send(CentrifugeSessionMessage::Control(pongs))
            && refused.is_full()
            && let CentrifugeSessionMessage::Control(pongs) = refused.into_message()
        {
            self.connection.reader.put_back_pongs(pongs.into());
        }
    }

    /// Takes a new token of the same user in place of the old one.
    async fn refreshed(
        &self,
        id: u32,
        token: &str,
        stay: &mut Stay,
        deps: &WsDeps,
    ) -> Result<CentrifugeSessionMessage, End> {
        let viewer = token::viewer(&*deps.access, Some(token)).await.map_err(|refused| match refused {
            // Clients come back with another token after this one.
            Refused::Expired => End::Close(Close::EXPIRED),
            Refused::Missing | Refused::Invalid => End::Close(Close::INVALID_TOKEN),
            Refused::SeesNothing => End::Close(Close::PERMISSION_DENIED),
        })?;
        if viewer.credential.map(|credential| credential.login.user_id) != stay.user_id {
            return Err(End::Close(Close::INVALID_TOKEN));
        }
        stay.leave = leave(&viewer, deps, stay.leave.farewell.clone());
        let ttl_s = token::ttl_s(&viewer);
        Ok(CentrifugeSessionMessage::Refreshed { id, view: viewer.view, ttl_s })
    }

    /// When it is to be looked whether the client lives, and may stay.
    fn wake_at(&self, stay: &Stay) -> Instant {
        let mut wake_at = stay.ping_at.min(self.connection.heard_at + stay.timing.idle_timeout);
        if let Some(until) = stay.leave.until {
            wake_at = wake_at.min(until);
        }
        let has_more = !self.commands.is_empty() && stay.handled.is_none();
        if has_more || self.connection.reader.has_pongs() {
            wake_at = wake_at.min(Instant::now() + AGAIN_AFTER);
        }
        wake_at
    }

    /// Pings the client; ends one that has been silent for too long, or whose token has expired.
    fn check(&self, stay: &mut Stay) -> Result<(), End> {
        let now = Instant::now();
        if stay.leave.has_expired() {
            return Err(End::Close(Close::EXPIRED));
        }
        if now >= self.connection.heard_at + stay.timing.idle_timeout {
            return Err(End::Close(Close::NO_PONG));
        }
        if now >= stay.ping_at {
            stay.ping_at = now + stay.timing.ping_interval;
            // Full: much goes out to this client, which is as good as a ping. Down: its end is on its way.
            let _ = stay.session.try_send(CentrifugeSessionMessage::Ping);
        }
        Ok(())
    }
}

/// What may end the socket from outside.
fn leave(viewer: &Viewer, deps: &WsDeps, farewell: Farewell) -> Leave {
    let mut leave = Leave::of(viewer.credential, &*deps.access, farewell);
    leave.until = leave.until.map(|until| until + REFRESH_GRACE);
    leave
}

/// Waits until commands have been answered; pending for ever where none are given.
async fn told(handled: &mut Option<oneshot::Receiver<()>>) {
    match handled {
        // An error: the session has ended, which is told otherwise.
        Some(handled) => drop(handled.await),
        None => std::future::pending().await,
    }
}

/// Tells the session that its client is done, and waits for its end.
async fn dismiss(stay: Stay, end: End) {
    let close = if let End::Close(close) = end { close } else { Close::NORMAL };
    let ended = async {
        // Down: it has ended already.
        let _ = stay.session.send(CentrifugeSessionMessage::Gone(close)).await;
        stay.closed.await
    };
    // A session that hangs is the watchdog's; the client is not made to wait for it.
    let _ = timeout(SESSION_END_TIMEOUT, ended).await;
}

/// A random UUID (RFC 9562, version 4).
fn client_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        let hyphen = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Into memory: it can't fail.
        let _ = write!(id, "{hyphen}{byte:02x}");
    }
    Some(id)
}
