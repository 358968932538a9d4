//! What a fan-out costs at least with tokio: one broadcast channel of frames that are encoded once, and a task for each socket that writes them
//! as they are. No devices, no history, no pings, no limits but the channel's.
//!
//! Run by the benchmark as a process of its own: `figures --floor WEBSOCKET_ADDRESS LINES_ADDRESS`. Each line that comes to the second address
//! is sent to all sockets.

use futures_util::StreamExt;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{accept_async_with_config, tungstenite::protocol::WebSocketConfig};

/// Frames that a socket may be behind.
const BEHIND_MAX: usize = 1_024;
/// What clients send is small.
const READ_BUFFER_BYTES: usize = 512;
/// RFC 6455, section 5.2: FIN and the opcode of a text.
const TEXT: u8 = 0x81;

/// For ever.
///
/// # Errors
/// A port can't be bound, or the lines end.
pub(crate) async fn serve(sockets: &str, lines: &str) -> anyhow::Result<()> {
    let (lines, sockets) = (TcpListener::bind(lines).await?, TcpListener::bind(sockets).await?);
    let (frames, _) = broadcast::channel(BEHIND_MAX);
    let accepting = frames.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = sockets.accept().await {
            tokio::spawn(serve_socket(stream, accepting.subscribe()));
        }
    });
    let mut lines = BufReader::new(lines.accept().await?.0).lines();
    while let Some(line) = lines.next_line().await? {
        // An error says that there is no socket.
        let _ = frames.send(encode(&line)?);
    }
    Ok(())
}

/// Until the client is gone, or was too far behind.
async fn serve_socket(stream: TcpStream, mut frames: broadcast::Receiver<bytes::Bytes>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    loop {
        tokio::select! {
            frame = frames.recv() => socket.get_mut().write_all(&frame?).await?,
            message = socket.next() => match message {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}

/// RFC 6455, section 5.2: a server's frame, with one or three bytes of length.
fn encode(text: &str) -> anyhow::Result<bytes::Bytes> {
    let mut frame = vec![TEXT];
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    Ok(frame.into())
}
