//! The frames of a WebSocket: tungstenite's protocol between what has come and what is to go. It does no I/O by itself, so
//! the session does that as it wants to.

use std::io::{ErrorKind, Read, Write};

use corering::io;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// How much is taken of what has come at a time.
const READ: usize = 4096;

/// Both directions.
pub(crate) struct Frames {
    context: WebSocketContext,
    memory: Memory,
}

/// What the protocol takes for a connection.
#[derive(Default)]
struct Memory {
    came: Vec<u8>,
    taken: usize,
    going: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let left = &self.came[self.taken..];
        if left.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = left.len().min(room.len());
        room[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.going.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why no more is read.
pub(crate) enum Stop {
    /// Both sides have said goodbye.
    Closed,
    /// The other side does not keep to the protocol: what to say to that.
    Fault(CloseCode, String),
}

impl Frames {
    /// On a connection that has been upgraded, and on which `rest` has come since.
    pub(crate) fn new(rest: &[u8], message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Self { context, memory: Memory { came: rest.to_vec(), ..Memory::default() } }
    }

    /// Takes what has come.
    pub(crate) fn take_in(&mut self, bytes: &[u8]) {
        self.memory.came.drain(..self.memory.taken);
        self.memory.taken = 0;
        self.memory.came.extend_from_slice(bytes);
    }

    /// The next message that is whole. Pings are answered by the way.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Stop> {
        match self.context.read(&mut self.memory) {
            Ok(message) => Ok(Some(message)),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Err(Stop::Closed),
            // Whoever has been told goodbye may still be talking.
            Err(Error::Protocol(ProtocolError::ReceivedAfterClosing)) => Err(Stop::Closed),
            Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size })) => {
                Err(Stop::Fault(CloseCode::Size, format!("{size} bytes are more than {max_size}")))
            }
            Err(Error::Utf8(_)) => Err(Stop::Fault(CloseCode::Invalid, "this is not UTF-8".to_owned())),
            Err(error) => Err(Stop::Fault(CloseCode::Protocol, error.to_string())),
        }
    }

    /// Queues a message.
    pub(crate) fn put(&mut self, message: Message) {
        // It fails only for whom goodbye has been said to, who gets no more.
        drop(self.context.write(&mut self.memory, message));
        drop(self.context.flush(&mut self.memory));
    }

    /// Says goodbye. A reason has room for some hundred bytes.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        let end = (0..=reason.len().min(120)).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        let frame = CloseFrame { code, reason: reason[..end].into() };
        drop(self.context.close(&mut self.memory, Some(frame)));
    }

    /// What is to go out.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.memory.going)
    }
}
