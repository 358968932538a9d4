//! The sending side of a client's connection: writes without waiting, and keeps message boundaries.

use std::{
    io::{self, IoSlice},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use orinoco_ports::ClientSocket;
use rustix::net::Shutdown;
use tokio::net::TcpStream;

use super::encryption::Encryption;
use crate::tls::ClientStream;

/// Messages of one system call.
const SLICES_MAX: usize = 64;

/// A TCP connection to one client, encrypted perhaps. Invariant: the rest of a message goes out before anything else.
pub(super) struct TcpClient {
    stream: TcpStream,
    /// Where the port speaks TLS.
    encryption: Option<Box<Mutex<Encryption>>>,
    /// Of the last message that was taken; empty when all of it is out, or encrypted.
    rest: Mutex<Bytes>,
    /// The kernel took no more at the last try.
    is_blocked: AtomicBool,
}

impl TcpClient {
    pub(super) fn new(stream: ClientStream) -> Self {
        let (stream, encryption) = match stream {
            ClientStream::Plain(stream) => (stream, None),
            ClientStream::Encrypted(stream) => {
                let (stream, connection) = stream.into_inner();
                (stream, Some(Box::new(Mutex::new(Encryption::new(connection)))))
            }
        };
        Self { stream, encryption, rest: Mutex::default(), is_blocked: AtomicBool::new(false) }
    }

    /// Whether there may be something to read.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.encryption().is_some_and(|encryption| encryption.may_hold_bytes()) {
            return Poll::Ready(Ok(()));
        }
        self.stream.poll_read_ready(context)
    }

    /// What the client has sent; 0 at its end.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has come. Else the connection is gone, or the client broke TLS.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.encryption() {
            Some(mut encryption) => encryption.try_read(&self.stream, buffer),
            None => self.stream.try_read(buffer),
        }
    }

    /// Ends this side of the connection: the client sees the end of the stream, and may still send.
    pub(super) fn end_sending(&self) {
        self.end(Shutdown::Write);
    }

    /// Ends the connection. Others may hold the socket for a moment; they find it closed.
    pub(super) fn shut_down(&self) {
        self.end(Shutdown::Both);
    }

    fn end(&self, what: Shutdown) {
        if let Some(mut encryption) = self.encryption() {
            encryption.say_goodbye(&self.stream);
        }
        // Refused where the client has closed already.
        let _ = rustix::net::shutdown(&self.stream, what);
    }

    fn encryption(&self) -> Option<MutexGuard<'_, Encryption>> {
        self.encryption.as_ref().map(|encryption| encryption.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the client takes nothing at present.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Writes a whole message, however long the client takes.
    pub(super) async fn write(&self, message: Bytes) -> io::Result<()> {
        while self.try_write(std::slice::from_ref(&message))? == 0 {
            self.flushed().await?;
        }
        self.flushed_if_rest().await
    }

    async fn flushed_if_rest(&self) -> io::Result<()> {
        if self.has_rest() { self.flushed().await } else { Ok(()) }
    }

    fn rest(&self) -> MutexGuard<'_, Bytes> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of `slices` the kernel took, or TLS for it; 0 when it takes none now.
    fn offer(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered = match self.encryption() {
            Some(mut encryption) => encryption.try_write(&self.stream, slices),
            None => self.stream.try_write_vectored(slices),
        };
        let taken = match offered {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.is_blocked.store(taken == 0, Ordering::Relaxed);
        Ok(taken)
    }

    /// Offers the rest until it is out, encrypted too (true), or the client takes no more.
    fn offer_rest(&self, rest: &mut Bytes) -> io::Result<bool> {
        while !rest.is_empty() {
            match self.offer(&[IoSlice::new(rest)])? {
                0 => return Ok(false),
                taken => rest.advance(taken),
            }
        }
        // What it is a part of may be freed.
        *rest = Bytes::new();
        let Some(mut encryption) = self.encryption() else { return Ok(true) };
        let is_out = encryption.try_flush(&self.stream)?;
        self.is_blocked.store(!is_out, Ordering::Relaxed);
        Ok(is_out)
    }
}

#[async_trait]
impl ClientSocket for TcpClient {
    fn try_write(&self, messages: &[Bytes]) -> io::Result<usize> {
        let mut rest = self.rest();
        if !self.offer_rest(&mut rest)? || messages.is_empty() {
            return Ok(0);
        }
        let messages = &messages[..messages.len().min(SLICES_MAX)];
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, message) in slices.iter_mut().zip(messages) {
            *slice = IoSlice::new(message);
        }
        let mut written = self.offer(&slices[..messages.len()])?;
        for (index, message) in messages.iter().enumerate() {
            if written == 0 {
                return Ok(index);
            }
            if written < message.len() {
                *rest = message.slice(written..);
                return Ok(index + 1);
            }
            written -= message.len();
        }
        Ok(messages.len())
    }

    fn has_rest(&self) -> bool {
        !self.rest().is_empty() || self.encryption().is_some_and(|encryption| encryption.has_rest())
    }

    async fn flushed(&self) -> io::Result<()> {
        loop {
            self.stream.writable().await?;
            if self.offer_rest(&mut self.rest())? {
                self.is_blocked.store(false, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}
