//! What is written and sent later.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corering_runtime::op::{Op, SendAll};

use crate::connection::Sender;

/// One part is being sent while the next one gathers. Invariant: nothing gathers while nothing is being sent, so what was
/// taken is always on its way.
pub(super) struct Behind {
    most: usize,
    gathered: Vec<u8>,
    sending: Option<Op<SendAll<Vec<u8>>>>,
    /// The memory of what was sent last.
    spare: Vec<u8>,
    failure: Option<io::Error>,
}

impl Behind {
    pub(super) fn new(most: usize) -> Self {
        Self { most, gathered: Vec::new(), sending: None, spare: Vec::new(), failure: None }
    }

    /// Takes as much of `parts` as there is room for.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        sender: &Sender,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Whether that is over or not: there may be room.
        let _ = self.poll_sent(cx, sender);
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        let before = self.gathered.len();
        for part in parts {
            let room = self.most - self.gathered.len();
            self.gathered.extend_from_slice(&part[..part.len().min(room)]);
        }
        let count = self.gathered.len() - before;
        if count == 0 && parts.iter().any(|part| !part.is_empty()) {
            return Poll::Pending;
        }
        let _ = self.poll_sent(cx, sender);
        Poll::Ready(Ok(count))
    }

    /// Waits until all that was taken has been sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, sender: &Sender) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx, sender));
        Poll::Ready(self.failure.take().map_or(Ok(()), Err))
    }

    /// Sends on, until all has been sent or one has failed.
    fn poll_sent(&mut self, cx: &mut Context<'_>, sender: &Sender) -> Poll<()> {
        loop {
            if let Some(sending) = &mut self.sending {
                let (sent, mut memory) = ready!(Pin::new(sending).poll(cx));
                self.sending = None;
                memory.clear();
                self.spare = memory;
                if let Err(error) = sent {
                    // What comes after a gap is of no use to anybody.
                    self.gathered.clear();
                    self.failure = Some(error);
                    return Poll::Ready(());
                }
            }
            if self.gathered.is_empty() {
                return Poll::Ready(());
            }
            let spare = std::mem::take(&mut self.spare);
            let bytes = std::mem::replace(&mut self.gathered, spare);
            self.sending = Some(Op::new(SendAll::new(&sender.0, bytes)));
        }
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind")
            .field("most", &self.most)
            .field("gathered", &self.gathered.len())
            .field("is_sending", &self.sending.is_some())
            .finish_non_exhaustive()
    }
}
