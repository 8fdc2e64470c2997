//! Reading what has no positions: a pipe, a terminal, standard input.
//!
//! What was read of these cannot be read again. So the descriptor keeps what a dropped read has brought, and what
//! somebody has put back, for the next read, whoever asks.
//!
//! ```text
//!  read --> something left? --> what lies ready? --> the ring --> output
//!             ^                                        | dropped, in either window
//!             +----------------------------------------+
//! ```
//!
//! Invariant: a read that was dropped is cancelled, and the next one waits for its end. So what was read first is given
//! first, also the end of the stream, which a terminal tells only once. A read that is under way beside it begins
//! again, so that it does not wait for more while something is left.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::read::{read_into, room_of};
use super::{Completion, Op, Operation, Progress, Submission};
use crate::buf::{IoBufMut, Limit, Room};
use crate::sys::wake::wake_all;

/// What was read of a stream and has not been given to anybody, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Left {
    bytes: Vec<u8>,
    /// So many of them have been given since.
    given: usize,
    /// Behind them is the end of the stream.
    ended: bool,
    /// Each with a number of its own.
    waiting: Vec<(u64, Waker)>,
    next: u64,
}

impl Left {
    /// Puts the next bytes into `room`: how many, and 0 at the end.
    fn put_into(&mut self, room: &mut Room<'_>) -> usize {
        let count = room.put(&self.bytes[self.given..]);
        self.given += count;
        // Who reads the end has had all that is before it.
        self.ended &= count > 0;
        count
    }

    fn is_empty(&self) -> bool {
        self.given == self.bytes.len() && !self.ended
    }
}

impl Descriptor {
    /// Gives back what was read of a stream last: the next [`read_stream`] reads it first.
    pub fn put_back(&self, mut bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.change_left(|left| {
            bytes.extend_from_slice(&left.bytes[left.given..]);
            (left.bytes, left.given) = (bytes, 0);
        });
    }

    /// Whether something was read of the stream and not given to anybody.
    pub fn has_left(&self) -> bool {
        self.left().as_ref().is_some_and(|left| !left.is_empty())
    }

    /// The next of what is left.
    fn take_left(&self, room: &mut Room<'_>) -> Option<usize> {
        let mut left = self.left();
        let left = left.as_mut().filter(|left| !left.is_empty())?;
        let count = left.put_into(room);
        if left.is_empty() {
            (left.bytes, left.given) = (Vec::new(), 0);
        }
        Some(count)
    }

    /// Keeps what a dropped read has brought: no bytes are the end.
    fn leave(&self, bytes: &[u8]) {
        self.change_left(|left| {
            left.bytes.extend_from_slice(bytes);
            left.ended |= bytes.is_empty();
        });
    }

    fn change_left(&self, change: impl FnOnce(&mut Left)) {
        let mut left = self.left();
        let left_now = left.get_or_insert_default();
        change(left_now);
        let waiting: Vec<_> = left_now.waiting.iter().map(|(_, waker)| waker.clone()).collect();
        drop(left);
        wake_all(waiting.into_iter());
    }
}

/// A read under way that begins again when something is left by others.
struct Waits<'a> {
    descriptor: &'a Descriptor,
    number: Option<u64>,
}

impl Waits<'_> {
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut left = self.descriptor.left();
        let left_now = left.get_or_insert_default();
        if !left_now.is_empty() {
            return Poll::Ready(());
        }
        let known = left_now.waiting.iter_mut().find(|(number, _)| Some(*number) == self.number);
        let before = match known {
            Some((_, known)) => Some(std::mem::replace(known, waker)),
            None => {
                self.number = Some(left_now.next);
                left_now.waiting.push((left_now.next, waker));
                left_now.next += 1;
                None
            }
        };
        // A waker may do anything when it is dropped: not with the lock.
        drop(left);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else {
            return;
        };
        let mut left = self.descriptor.left();
        let waiting = left.as_mut().and_then(|left| {
            let at = left.waiting.iter().position(|(other, _)| *other == number)?;
            Some(left.waiting.swap_remove(at))
        });
        // As above.
        drop(left);
        drop(waiting);
    }
}

/// Reads up to `most` bytes (and one if that is none) from what has no positions, or from the kernel's own position;
/// none at the end.
///
/// # Errors
///
/// What `read(2)` says.
///
/// # Cancel safety
///
/// Dropped, it is cancelled, and later operations on the descriptor wait for that. What it brings nevertheless is kept,
/// as is what was [put back](Descriptor::put_back): the next one gives it, or one that is under way beside it.
///
/// # Kernel
///
/// `preadv2(2)` with `RWF_NOWAIT` for what lies ready, `IORING_OP_READ` for the rest.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::{Descriptor, read_stream};
/// use std::io::Write;
///
/// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
/// let reader = Descriptor::new(reader.into());
/// corering_runtime::run(async {
///     writer.write_all(b"hello")?;
///     assert_eq!(read_stream(&reader, 100).await?, b"hello");
///     reader.put_back(b"lo".to_vec());
///     assert_eq!(read_stream(&reader, 100).await?, b"lo");
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_stream(descriptor: &Descriptor, most: usize) -> io::Result<Vec<u8>> {
    let begin = || Op::new(ReadStream::new(descriptor, most.max(1)));
    let (mut read, mut waits) = (begin(), Waits { descriptor, number: None });
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(read) = Pin::new(&mut read).poll(cx) {
                return Poll::Ready(read);
            }
            // One that has not begun waits for what was dropped, or gives way to other tasks.
            if !read.is_submitted() || waits.poll_left(cx).is_pending() {
                return Poll::Pending;
            }
            read = begin();
        }
    })
    .await
}

/// A read; output `io::Result<Vec<u8>>`.
#[derive(Debug)]
struct ReadStream {
    held: Held,
    buffer: Limit<Vec<u8>>,
}

impl ReadStream {
    fn new(descriptor: &Descriptor, most: usize) -> Self {
        Self { held: Held::to_change(descriptor), buffer: Vec::with_capacity(most).limit(most) }
    }
}

// SAFETY: the room is that of `buffer`, on the heap, which is not touched while the kernel fills it.
unsafe impl Operation for ReadStream {
    type Output = io::Result<Vec<u8>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn may_end_now(&mut self) -> bool {
        let descriptor = self.held.descriptor();
        descriptor.has_left() || descriptor.may_read_now()
    }

    fn try_now(&mut self) -> Option<i32> {
        let mut room = self.buffer.room();
        let descriptor = self.held.descriptor();
        match descriptor.take_left(&mut room) {
            Some(count) => i32::try_from(count).ok(),
            None => descriptor.read_now(&mut room, u64::MAX),
        }
    }

    /// Where the position of the descriptor is, which moves with it.
    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        opcode::Read::new(self.held.fd(), start, len).offset(u64::MAX).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> Self::Output {
        read_into(&mut self.buffer, completion)?;
        Ok(self.buffer.into_inner())
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }

    /// Behind what is left already, and before whoever waits for this to end goes on.
    fn orphaned(mut self, completion: Completion) {
        if read_into(&mut self.buffer, completion).is_ok() {
            self.held.descriptor().leave(self.buffer.get_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_given_in_order_and_the_end_once_behind_it() {
        let (reader, _writer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let descriptor = Descriptor::new(reader.into());
        let take = |most| {
            let mut buffer = [0; 8];
            let count = descriptor.take_left(&mut buffer.room().truncate(most))?;
            Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        assert_eq!(take(4), None);
        descriptor.leave(b"middle");
        descriptor.leave(b"");
        descriptor.put_back(b"first".to_vec());
        descriptor.put_back(Vec::new());
        let all: Vec<_> = std::iter::from_fn(|| take(4)).collect();
        assert_eq!(all, ["firs", "tmid", "dle", ""]);
        descriptor.put_back(b"again".to_vec());
        assert_eq!((take(8).as_deref(), take(8)), (Some("again"), None));
    }
}
