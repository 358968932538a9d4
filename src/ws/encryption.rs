//! TLS of a socket, between messages and the kernel. Nothing here waits, and nothing is copied for a socket that is idle.
//!
//! Invariant: what is encrypted and not out yet is bounded by [`ENCRYPTED_BYTES_MAX`] (and a record), and goes before anything else.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

/// Encrypted bytes that wait for the client, beside what the kernel holds.
const ENCRYPTED_BYTES_MAX: usize = 32 * 1024;
/// Records in a row that hold nothing to read (alerts, new keys), before others have their turn.
const EMPTY_READS_MAX: usize = 16;

pub(super) struct Encryption {
    connection: ServerConnection,
    /// Bytes may lie in memory, so that the kernel's word alone does not count.
    may_hold_bytes: bool,
}

/// The kernel's side of the connection.
struct Kernel<'a>(&'a TcpStream);

impl Read for Kernel<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encryption {
    /// After the handshake.
    pub(super) fn new(mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
        Self { connection, may_hold_bytes: true }
    }

    /// Whether [`Encryption::try_read`] may have something although the kernel has nothing.
    pub(super) fn may_hold_bytes(&self) -> bool {
        self.may_hold_bytes
    }

    /// What the client has sent; 0 at its end.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has come. Else the connection is gone, or the client broke TLS.
    pub(super) fn try_read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        self.may_hold_bytes = true;
        for _ in 0..EMPTY_READS_MAX {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            match self.connection.read_tls(&mut Kernel(stream)) {
                Ok(_) => {}
                Err(error) => {
                    self.may_hold_bytes = false;
                    return Err(error);
                }
            }
            let processed = self.connection.process_new_packets();
            // An alert that says why, or an answer to a new key. What the kernel does not take now goes with what comes next.
            let _ = self.try_flush(stream);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Encrypts as many bytes of `slices` as there is room for, and says how many; none while earlier ones wait for the kernel.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn try_write(&mut self, stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.try_flush(stream)? {
            return Ok(0);
        }
        let taken = self.connection.writer().write_vectored(slices)?;
        self.try_flush(stream)?;
        Ok(taken)
    }

    /// Hands the kernel what is encrypted; false where it does not take all of it now.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn try_flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Kernel(stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether encrypted bytes wait for the kernel.
    pub(super) fn has_rest(&self) -> bool {
        self.connection.wants_write()
    }

    /// Tells the client that nothing more comes (RFC 8446, section 6.1), if it takes that now.
    pub(super) fn say_goodbye(&mut self, stream: &TcpStream) {
        self.connection.send_close_notify();
        let _ = self.try_flush(stream);
    }
}
