//! What is printed: collected, and written in large pieces.

use std::io::{self, ErrorKind, IsTerminal, Write};

/// So much is collected before it is written.
const ENOUGH: usize = 32 * 1024;

/// Standard output.
pub(crate) struct Output {
    pending: Vec<u8>,
    /// Each line goes out at once.
    terminal: bool,
    state: State,
}

enum State {
    Open,
    /// The reader has gone, or nothing more can be written.
    Closed(Option<io::Error>),
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { pending: Vec::with_capacity(ENOUGH), terminal: io::stdout().is_terminal(), state: State::Open }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match self.state {
            State::Open => self.pending.extend_from_slice(bytes),
            State::Closed(_) => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether it is time to write.
    pub(crate) fn is_due(&self) -> bool {
        self.pending.len() >= if self.terminal { 1 } else { ENOUGH }
    }

    /// What was added, to be written by somebody else.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::replace(&mut self.pending, Vec::with_capacity(ENOUGH))
    }

    /// Writes all that was added, and waits for it.
    pub(crate) fn write(&mut self) {
        let mut output = io::stdout().lock();
        let written = output.write_all(&self.pending).and_then(|()| output.flush());
        self.pending.clear();
        self.written(written);
    }

    /// How it went when something was written.
    pub(crate) fn written(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            // A reader that has gone, as `head` does, is no failure.
            let error = Some(error).filter(|error| error.kind() != ErrorKind::BrokenPipe);
            self.state = State::Closed(error);
        }
    }

    /// Whether nothing can be written any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Why not, if it is not that the reader has gone.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        match &mut self.state {
            State::Open => None,
            State::Closed(error) => error.take(),
        }
    }
}
