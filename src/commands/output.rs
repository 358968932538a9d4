//! The standard output of a command.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Writes lines; a reader that went away is no panic, but an error that ends the command quietly.
pub struct Output {
    writer: Box<dyn Write + Send>,
    is_terminal: bool,
}

/// Nobody reads the output any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct OutputClosed;

impl Output {
    #[must_use]
    pub fn stdout() -> Self {
        Self { writer: Box::new(io::stdout()), is_terminal: io::stdout().is_terminal() }
    }

    /// To a writer of the caller's, as to a file.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer), is_terminal: false }
    }

    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Columns and rows, where this is a terminal that knows them.
    #[must_use]
    pub fn terminal_size(&self) -> Option<(usize, usize)> {
        let size = if self.is_terminal { rustix::termios::tcgetwinsize(io::stdout()).ok()? } else { return None };
        (size.ws_col > 0 && size.ws_row > 0).then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// # Errors
    /// [`OutputClosed`], or what the system says.
    pub fn line(&mut self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// One JSON object on one line.
    ///
    /// # Errors
    /// [`OutputClosed`], or what the system says.
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(&format!("{}\n", serde_json::to_string(value)?))
    }

    /// Text as it is, at once.
    ///
    /// # Errors
    /// [`OutputClosed`], or what the system says.
    pub fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputClosed.into(),
            _ => anyhow::Error::from(error).context("the output can't be written"),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a command wrote.
    #[derive(Default, Clone)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn output(&self) -> Output {
            Output::to(self.clone())
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told_from_other_errors() {
        assert!(Output::to(Gone).line("x").unwrap_err().is::<OutputClosed>());
    }
}
