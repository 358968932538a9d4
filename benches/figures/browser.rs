//! Browsers by the thousand: WebSockets that count frames and keep nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use orinoco_testkit::poll_until;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Handshakes at a time.
const OPENING_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 4_096;
const OPENING_TIME_MAX: Duration = Duration::from_secs(30);

/// RFC 6455, section 5.2: opcodes.
const OPCODE_TEXT: u8 = 0x1;
const OPCODE_CLOSE: u8 = 0x8;

/// What a socket says first, and how texts are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Nothing; each text frame is one.
    Plain,
    /// Centrifuge's JSON: a connect command; messages of one text frame are parted by newlines.
    Centrifuge,
}

const CENTRIFUGE_CONNECT: &[u8] = br#"{"id":1,"connect":{}}"#;
const MESSAGE_SEPARATOR: u8 = b'\n';

/// Open sockets; closed when dropped.
pub(crate) struct Crowd {
    counts: Arc<Counts>,
    _sockets: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    texts: AtomicUsize,
    ended: AtomicUsize,
}

impl Crowd {
    /// Opens `count` sockets that see all devices.
    ///
    /// # Errors
    /// One was refused.
    pub(crate) async fn open(address: &str, count: usize) -> anyhow::Result<Self> {
        Self::open_with(Protocol::Plain, address, count).await
    }

    /// As [`open`](Self::open), of a server that speaks so.
    ///
    /// # Errors
    /// One was refused.
    pub(crate) async fn open_with(protocol: Protocol, address: &str, count: usize) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (mut sockets, mut opening) = (JoinSet::new(), JoinSet::new());
        for number in 0..count {
            if opening.len() == OPENING_MAX {
                begin_counting(protocol, opening.join_next().await, &mut sockets, &counts)?;
            }
            let address = address.to_owned();
            opening.spawn(async move {
                let opened = tokio::time::timeout(OPENING_TIME_MAX, handshake(protocol, &address)).await;
                opened.context("no answer")?.with_context(|| format!("socket {number}"))
            });
        }
        while !opening.is_empty() {
            begin_counting(protocol, opening.join_next().await, &mut sockets, &counts)?;
        }
        Ok(Self { counts, _sockets: sockets })
    }

    /// Text frames received by all together.
    pub(crate) fn texts(&self) -> usize {
        self.counts.texts.load(Ordering::Relaxed)
    }

    /// Waits until all together have received `count` text frames.
    ///
    /// # Errors
    /// A socket was closed, or the deadline passed.
    pub(crate) async fn wait_for_texts(&self, count: usize, deadline: Duration) -> anyhow::Result<()> {
        let what = format!("{count} frames");
        let waited = poll_until(deadline, &what, async || {
            let ended = self.counts.ended.load(Ordering::Relaxed);
            match ended {
                0 => (self.texts() >= count).then_some(Ok(())),
                ended => Some(Err(anyhow::anyhow!("{ended} sockets were closed"))),
            }
        });
        waited.await.with_context(|| format!("{} came", self.texts()))??;
        ensure!(self.texts() == count, "{} frames came in place of {count}", self.texts());
        Ok(())
    }
}

type Opened = Option<Result<anyhow::Result<(TcpStream, Vec<u8>)>, tokio::task::JoinError>>;

fn begin_counting(
    protocol: Protocol,
    opened: Opened,
    sockets: &mut JoinSet<()>,
    counts: &Arc<Counts>,
) -> anyhow::Result<()> {
    let (stream, begun) = opened.context("no handshake is under way")?.context("a handshake panicked")??;
    let counts = Arc::clone(counts);
    sockets.spawn(async move {
        // Broken off or closed: both are one too few.
        let _ = count_texts(protocol, stream, &begun, &counts).await;
        counts.ended.fetch_add(1, Ordering::Relaxed);
    });
    Ok(())
}

/// RFC 6455, section 4.1; the key is its example. Yields what came after the head as well.
async fn handshake(protocol: Protocol, address: &str) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            ensure!(received.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&received[..end]));
            if protocol == Protocol::Centrifuge {
                stream.write_all(&masked_text(CENTRIFUGE_CONNECT)).await?;
            }
            return Ok((stream, received.split_off(end + 4)));
        }
        ensure!(received.len() < HEAD_BYTES_MAX, "a head without an end");
        if stream.read_buf(&mut received).await? == 0 {
            bail!("closed in the handshake");
        }
    }
}

/// RFC 6455, section 5.3: a client's short frame, by the mask that changes nothing.
fn masked_text(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 126, "a short text");
    let mut frame = vec![0x80 | OPCODE_TEXT, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

async fn count_texts(protocol: Protocol, stream: TcpStream, begun: &[u8], counts: &Counts) -> anyhow::Result<()> {
    let mut frames = Frames { holds_many: protocol == Protocol::Centrifuge, ..Frames::default() };
    counts.texts.fetch_add(frames.texts(begun)?, Ordering::Relaxed);
    loop {
        stream.readable().await?;
        // On the stack, and only while there is something: an idle socket has no buffer.
        let mut bytes = [0; 8_192];
        match stream.try_read(&mut bytes) {
            Ok(0) => bail!("broken off"),
            Ok(length) => counts.texts.fetch_add(frames.texts(&bytes[..length])?, Ordering::Relaxed),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
    }
}

/// Where frames begin in a stream of a server's bytes, which are not masked (RFC 6455, section 5.2).
#[derive(Default)]
struct Frames {
    header: [u8; 10],
    header_length: usize,
    payload_left: usize,
    /// Whether a text frame may hold several messages.
    holds_many: bool,
}

impl Frames {
    /// How many text frames begin in these bytes, and how many more messages in them.
    ///
    /// # Errors
    /// A close frame.
    fn texts(&mut self, mut bytes: &[u8]) -> anyhow::Result<usize> {
        let mut texts = 0;
        loop {
            let skipped = self.payload_left.min(bytes.len());
            if self.holds_many {
                texts += bytes[..skipped].iter().filter(|byte| **byte == MESSAGE_SEPARATOR).count();
            }
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let Some((first, rest)) = bytes.split_first() else { return Ok(texts) };
            self.header[self.header_length] = *first;
            self.header_length += 1;
            bytes = rest;
            let Some(payload) = self.payload_length() else { continue };
            match self.header[0] & 0x0f {
                OPCODE_TEXT => texts += 1,
                OPCODE_CLOSE => bail!("closed"),
                _ => {}
            }
            (self.header_length, self.payload_left) = (0, payload);
        }
    }

    /// `None` until the header is whole.
    fn payload_length(&self) -> Option<usize> {
        let length = |end: usize| -> Option<usize> {
            let bytes = (self.header_length == end).then_some(&self.header[2..end])?;
            Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        };
        match (self.header_length, self.header[1] & 0x7f) {
            (0 | 1, _) => None,
            (_, 126) => length(4),
            (_, 127) => length(10),
            (_, short) => Some(usize::from(short)),
        }
    }
}
