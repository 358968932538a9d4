//! The sending side of a client's connection: writes without waiting, and keeps message boundaries.

use std::{
    io::{self, IoSlice},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use orinoco_ports::ClientSocket;
use tokio::net::TcpStream;

/// Messages of one system call.
const SLICES_MAX: usize = 64;

/// A TCP connection to one client. Invariant: the rest of a message goes out before anything else.
pub(super) struct TcpClient {
    stream: TcpStream,
    /// Of the last message that was taken; empty when all of it is out.
    rest: Mutex<Bytes>,
    /// The kernel took no more at the last try.
    is_blocked: AtomicBool,
}

impl TcpClient {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, rest: Mutex::default(), is_blocked: AtomicBool::new(false) }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
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

    /// How many bytes of `slices` the kernel took; 0 when it takes none now.
    fn offer(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = match self.stream.try_write_vectored(slices) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.is_blocked.store(taken == 0, Ordering::Relaxed);
        Ok(taken)
    }

    /// Offers the rest until it is out (true) or the client takes no more.
    fn offer_rest(&self, rest: &mut Bytes) -> io::Result<bool> {
        while !rest.is_empty() {
            match self.offer(&[IoSlice::new(rest)])? {
                0 => return Ok(false),
                taken => rest.advance(taken),
            }
        }
        // What it is a part of may be freed.
        *rest = Bytes::new();
        Ok(true)
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
        !self.rest().is_empty()
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
