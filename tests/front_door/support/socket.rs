//! A browser: a plain WebSocket client.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use super::{Frame, within};

pub(crate) struct Socket(WebSocketStream<TcpStream>);

/// What the daemon says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Text(String),
    /// Close code; `None`: the connection broke off.
    Closed(Option<u16>),
}

impl Socket {
    /// # Errors
    /// The HTTP status in place of 101; 0 where there was none.
    pub(crate) async fn open(address: &str, query: &str) -> Result<Self, u16> {
        Self::open_as(address, query, "").await
    }

    /// With an access token, where it is not empty.
    ///
    /// # Errors
    /// As [`Socket::open`].
    pub(crate) async fn open_as(address: &str, query: &str, token: &str) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).await.map_err(|_| 0_u16)?;
        Self::handshake(stream, address, query, token).await
    }

    /// Tries these addresses, which go on for ever, until it is let in at one.
    pub(crate) async fn open_again(addresses: &mut impl Iterator<Item = &String>, query: &str) -> Self {
        within("a socket", async {
            loop {
                let address = addresses.next().unwrap();
                if let Ok(socket) = Self::open(address, query).await {
                    return socket;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// With so small a receive buffer that a client that does not read is soon felt.
    pub(crate) async fn open_narrow(address: &str, query: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(address.parse::<SocketAddr>().unwrap()).await.unwrap();
        Self::handshake(stream, address, query, "").await.unwrap()
    }

    async fn handshake(stream: TcpStream, address: &str, query: &str, token: &str) -> Result<Self, u16> {
        let mut request = format!("ws://{address}/ws{query}").into_client_request().unwrap();
        if !token.is_empty() {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        match within("a handshake", client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    /// The next text, or the end.
    pub(crate) async fn next(&mut self) -> Said {
        // Pings don't extend the deadline.
        within("a message", self.next_whenever()).await
    }

    /// The same, without a deadline.
    pub(crate) async fn next_whenever(&mut self) -> Said {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Said::Text(text.to_string()),
                Some(Ok(Message::Close(close))) => return Said::Closed(close.map(|close| close.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Said::Closed(None),
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Said::Text(text) => text,
            Said::Closed(code) => panic!("closed with {code:?}"),
        }
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        Frame::parse(&self.text().await)
    }

    /// Frames of one device up to and with this offset; those of other devices are passed over.
    pub(crate) async fn frames_until(&mut self, device: &str, offset: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame.device == device {
                let reached = frame.offset >= offset;
                frames.push(frame);
                if reached {
                    return frames;
                }
            }
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Closes in order.
    pub(crate) async fn close(mut self) {
        // It may be closed already.
        let _ = self.0.close(None).await;
        while let Said::Text(_) = self.next().await {}
    }
}
