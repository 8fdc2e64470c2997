//! Receiving from a socket, so that nothing that has arrived is ever lost.
//!
//! A stream owns its receive ([`Receiver`]): its calls only look whether something has come. A call that is dropped
//! leaves the receive where it is, and the next call finds what it brought.
//!
//! ```text
//!  pooled receive --ENOBUFS--> pooled receive that waits for data first --ENOBUFS--> receive into own memory
//!       |  data                        |  data                                            |  data
//!       v                              v                                                  v
//!     Chunk                          Chunk                                              Chunk
//! ```
//!
//! So a core whose buffers are all taken goes on: nobody gets an error, nobody spins, and a connection that has
//! nothing to say holds no memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use io_uring::{opcode, squeue};

use super::arrivals::Arrivals;
use super::context;
use super::descriptor::{Descriptor, Held};
use super::multishot::MultishotOperation;
use super::read::{no_room, read_into, room_of};
use super::repeat::{Repeat, Repeating};
use super::{Completion, Op, Operation, Progress, Submission};
use crate::buf::{Chunk, IoBufMut};

/// `IORING_RECVSEND_POLL_FIRST`: wait for data before the first attempt.
const POLL_FIRST: u16 = 1;

/// Receives into the room of a buffer; output `(io::Result<usize>, B)`.
///
/// What arrives after its future was dropped goes into the buffer, which is dropped: for a stream that must not lose
/// bytes use a [`Receiver`].
#[derive(Debug)]
pub struct Receive<B> {
    held: Held,
    buffer: B,
    flags: i32,
}

impl<B: IoBufMut> Receive<B> {
    /// Receives from `socket`.
    pub fn new(socket: &Descriptor, buffer: B) -> Self {
        Self { held: Held::to_look(socket), buffer, flags: 0 }
    }

    /// Waits until the buffer is full, the stream ends, or it is cancelled: then what has come by then counts.
    pub fn all(socket: &Descriptor, buffer: B) -> Self {
        Self { flags: libc::MSG_WAITALL, ..Self::new(socket, buffer) }
    }
}

// SAFETY: the room is the buffer's, which is neither moved nor borrowed while the kernel fills it.
unsafe impl<B: IoBufMut> Operation for Receive<B> {
    type Output = (io::Result<usize>, B);

    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        opcode::Recv::new(self.held.fd(), start, len).flags(self.flags).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> Self::Output {
        (read_into(&mut self.buffer, completion), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Receives into a buffer of the core's pool; output `io::Result<Chunk>`, empty at the end of the stream.
#[derive(Debug)]
pub struct ReceivePooled {
    held: Held,
    /// Where the next buffer comes from.
    group: u16,
    sizes: Sizes,
    wait_first: bool,
}

/// Which buffers a receive takes that is done again and again: larger ones as long as they are filled more than usual
/// ones would hold. So what comes in bulk costs a call for each large one, and what does not, no large one.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    usual: u16,
    usual_bytes: u32,
    large: u16,
}

impl ReceivePooled {
    /// Receives from `socket` into a buffer of the pool that fits `bytes` best. `None` outside a runtime, and where
    /// the core has no pool.
    #[inline]
    pub fn new(socket: &Descriptor, bytes: usize) -> Option<Self> {
        let sizes = context::with(|operations| {
            let (usual, large) = (operations.pool(bytes)?, operations.pool(usize::MAX)?);
            Some(Sizes { usual: usual.group(), usual_bytes: usual.size(), large: large.group() })
        })??;
        Some(Self { held: Held::to_look(socket), group: sizes.usual, sizes, wait_first: false })
    }
}

// SAFETY: the kernel picks the buffer itself, so it points to nothing.
unsafe impl Operation for ReceivePooled {
    type Output = io::Result<Chunk>;

    #[inline]
    fn submission(&mut self) -> Submission {
        opcode::Recv::new(self.held.fd(), std::ptr::null_mut(), 0)
            .buf_group(self.group)
            .ioprio(if self.wait_first { POLL_FIRST } else { 0 })
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        if got_buffers(self.group, completion) {
            return Progress::Again;
        }
        if completion.result == -libc::ENOBUFS && self.group != self.sizes.usual {
            self.group = self.sizes.usual;
            return Progress::Again;
        }
        self.held.again_if_interrupted(completion)
    }

    #[inline]
    fn complete(self, completion: Completion) -> io::Result<Chunk> {
        pooled_chunk(self.group, completion)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Whether a receive failed for want of buffers, and there are more now.
#[inline]
pub(super) fn got_buffers(group: u16, completion: Completion) -> bool {
    completion.result == -libc::ENOBUFS
        && context::with(|operations| operations.pool_of(group).is_some_and(|pool| pool.ran_low())) == Some(true)
}

/// The chunk of a completion. Whatever the result is, a buffer that came with it is taken, and so given back.
#[inline]
pub(super) fn pooled_chunk(group: u16, completion: Completion) -> io::Result<Chunk> {
    let chunk = completion.buffer().and_then(|id| {
        let len = completion.result.max(0) as u32;
        context::with(|operations| operations.pool_of(group).and_then(|pool| pool.take(id, len)))?
    });
    completion.to_result()?;
    Ok(chunk.unwrap_or_else(|| Chunk::from(Vec::new())))
}

/// Receives again and again into buffers of the core's pool, one item each; an empty one is the end of the stream.
///
/// It takes in data without being asked. That pays for streams of many messages that are fetched as they come; a
/// [`Receiver`] takes one chunk at a time.
#[derive(Debug)]
pub struct ReceiveMulti {
    held: Held,
    group: u16,
}

impl ReceiveMulti {
    /// Receives from `socket` into buffers of the pool that fits `bytes` best. `None` outside a runtime, and where
    /// the core has no pool.
    pub fn new(socket: &Descriptor, bytes: usize) -> Option<Self> {
        let ReceivePooled { held, group, .. } = ReceivePooled::new(socket, bytes)?;
        Some(Self { held, group })
    }
}

// SAFETY: the kernel picks the buffers itself, so it points to nothing.
unsafe impl MultishotOperation for ReceiveMulti {
    type Item = io::Result<Chunk>;

    fn submission(&mut self) -> Submission {
        opcode::RecvMulti::new(self.held.fd(), self.group).build()
    }

    fn gives_item(&mut self, completion: Completion) -> bool {
        !got_buffers(self.group, completion)
    }

    fn item(&mut self, completion: Completion) -> io::Result<Chunk> {
        pooled_chunk(self.group, completion)
    }

    fn takes_cancel(&mut self) -> bool {
        self.held.takes_cancel()
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// A stream's receive: it stays armed whoever stops waiting for it, and keeps what it brought.
#[derive(Debug)]
pub struct Receiver {
    socket: Descriptor,
    state: State,
    /// What a read did not take of a chunk.
    rest: Option<Chunk>,
    /// What most have not.
    unusual: Option<Box<Unusual>>,
    /// The armed receive was asked to end by [`stop`](Self::stop), which may have been dropped since.
    stopping: bool,
    chunk_bytes: u32,
    /// That has changed since the last receive was made.
    pool_changed: bool,
}

#[derive(Debug, Default)]
struct Unusual {
    /// An error that came while somebody only looked.
    failed: Option<io::Error>,
    /// What receives of whole messages have brought and nobody took.
    arrivals: Arrivals,
}

impl Unusual {
    fn is_quiet(&self) -> bool {
        self.failed.is_none() && self.arrivals.is_quiet()
    }
}

#[derive(Debug)]
enum State {
    Idle,
    Pooled(Repeating<ReceivePooled>),
    Own(Op<Receive<Vec<u8>>>),
}

// SAFETY: it points to nothing.
unsafe impl Repeat for ReceivePooled {
    #[inline]
    fn output(&mut self, completion: Completion) -> io::Result<Chunk> {
        self.held.renew();
        if completion.result != -libc::ENOBUFS {
            self.wait_first = false;
        }
        let filled = completion.result >= 0 && completion.result as u32 >= self.sizes.usual_bytes;
        let group = std::mem::replace(&mut self.group, if filled { self.sizes.large } else { self.sizes.usual });
        pooled_chunk(group, completion)
    }
}

impl Receiver {
    /// For the stream socket `socket`, which nobody else receives from.
    pub fn new(socket: Descriptor) -> Self {
        Self {
            socket,
            state: State::Idle,
            rest: None,
            unusual: None,
            stopping: false,
            chunk_bytes: 0,
            pool_changed: false,
        }
    }

    /// The socket that it receives from.
    pub fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// What receives of whole messages bring to, which may be made once [`stop`](Self::stop) has ended. What such a one
    /// leaves there, the receiver gives.
    pub fn arrivals(&mut self) -> &Arrivals {
        &self.unusual.get_or_insert_default().arrivals
    }

    /// The same, with what lies here put first among them, for a receive of a whole message that is about to be made.
    ///
    /// # Errors
    ///
    /// One that came while somebody only looked.
    pub fn hand_over(&mut self) -> io::Result<&Arrivals> {
        let rest = self.rest.take();
        let unusual = self.unusual.get_or_insert_default();
        if rest.is_none() {
            if let Some(error) = unusual.failed.take() {
                return Err(error);
            }
        }
        let arrivals = &unusual.arrivals;
        if let Some(rest) = rest {
            arrivals.put_back(rest.to_vec());
        }
        Ok(arrivals)
    }

    /// Looks at the next bytes, as [`poll_available`](Self::poll_available) does; an error is told, and the next read
    /// says it, too.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.rest.is_none() && self.failed().is_none() {
            if let Err(error) = ready!(self.poll_available(cx)).map(drop) {
                self.unusual.get_or_insert_default().failed = Some(error);
            }
        }
        Poll::Ready(match self.failed().filter(|_| self.rest.is_none()) {
            Some(error) => Err(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)),
            None => Ok(self.rest.as_deref().unwrap_or_default()),
        })
    }

    fn failed(&self) -> Option<&io::Error> {
        self.unusual.as_ref()?.failed.as_ref()
    }

    /// Copies the next bytes of the stream, which stay; 0 at its end.
    ///
    /// # Errors
    ///
    /// One of the receive, which the next read gets, too.
    pub async fn peek(&mut self, room: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let bytes = ready!(self.poll_peek(cx))?;
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        })
        .await
    }

    /// Waits until the next read gives something at once: bytes, the end, or an error.
    pub async fn readable(&mut self) {
        // An error is kept for the read.
        std::future::poll_fn(|cx| self.poll_peek(cx).map(drop)).await;
    }

    /// All that has arrived and was given to nobody. For when the receiver has been [stopped](Self::stop).
    pub fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = self.rest.take().map_or_else(Vec::new, |chunk| chunk.to_vec());
        let kept = self.unusual.iter().flat_map(|unusual| unusual.arrivals.take_all());
        rest.extend(kept.flat_map(|(bytes, _)| bytes));
        rest
    }

    /// From the next receive on, takes buffers of the pool that fits `bytes` best. At first it is the smallest.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.pool_changed = true;
    }

    /// The next bytes of the stream; `None` at its end.
    #[inline]
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Ok(Some(rest)));
        }
        if self.unusual.is_some() {
            if let Some(received) = ready!(self.poll_unusual(cx)) {
                return Poll::Ready(received);
            }
        }
        loop {
            let received = match &mut self.state {
                State::Idle => {
                    self.state = match ReceivePooled::new(&self.socket, self.chunk_bytes as usize) {
                        Some(receive) => State::Pooled(Repeating::new(receive)),
                        None => self.own_memory(),
                    };
                    continue;
                }
                State::Pooled(receive) => {
                    if self.pool_changed && !receive.is_armed() {
                        (self.state, self.pool_changed) = (State::Idle, false);
                        continue;
                    }
                    ready!(receive.poll(cx, None))
                }
                State::Own(receive) => {
                    let (received, bytes) = ready!(Pin::new(receive).poll(cx));
                    self.state = State::Idle;
                    received.map(|_| Chunk::from(bytes))
                }
            };
            let stopped = std::mem::take(&mut self.stopping);
            return Poll::Ready(match received {
                Ok(chunk) if chunk.is_empty() => Ok(None),
                Ok(chunk) => Ok(Some(chunk)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.without_buffers();
                    continue;
                }
                Err(error) if stopped && error.raw_os_error() == Some(libc::ECANCELED) => continue,
                Err(error) => Err(error),
            });
        }
    }

    /// What somebody else has met, or left.
    #[cold]
    fn poll_unusual(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Option<Chunk>>>> {
        let Some(Unusual { failed, arrivals }) = self.unusual.as_deref_mut() else {
            return Poll::Ready(None);
        };
        ready!(arrivals.poll_free(cx));
        // What came along with them is closed: nobody asked for it.
        if let Some(kept) = arrivals.take() {
            return Poll::Ready(Some(Ok(Some(Chunk::from(kept.bytes)))));
        }
        Poll::Ready(failed.take().map(Err))
    }

    /// Fills the room of `buffer` with the next bytes of the stream: how many, and 0 at its end.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut impl IoBufMut) -> Poll<io::Result<usize>> {
        if buffer.room().is_empty() {
            return Poll::Ready(Err(no_room()));
        }
        let Some(mut chunk) = ready!(self.poll_chunk(cx))? else {
            return Poll::Ready(Ok(0));
        };
        let count = buffer.fill_from(&chunk);
        if count < chunk.len() {
            chunk.advance(count);
            self.rest = Some(chunk);
        }
        Poll::Ready(Ok(count))
    }

    /// What has arrived and nobody has taken: at least a byte, or nothing at the end of the stream. It stays until
    /// [`consume`](Self::consume) takes it.
    #[inline]
    pub fn poll_available(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.rest.is_none() {
            self.rest = ready!(self.poll_chunk(cx))?;
        }
        Poll::Ready(Ok(self.rest.as_deref().unwrap_or_default()))
    }

    /// Takes the first `count` bytes of what [`poll_available`](Self::poll_available) has shown.
    ///
    /// # Panics
    ///
    /// If it has not shown so many.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        let shown = self.rest.as_ref().map_or(0, |rest| rest.len());
        assert!(count <= shown, "{count} bytes were taken of {shown} that were there");
        match &mut self.rest {
            Some(rest) if count < shown => rest.advance(count),
            Some(_) | None => self.rest = None,
        }
    }

    /// Takes back the bytes that were read last: the next read gets them first.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if let Some(rest) = self.rest.take() {
            bytes.extend_from_slice(&rest);
        }
        self.rest = Some(Chunk::from(bytes));
    }

    /// Whether all that has arrived is still with the kernel, and nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        let armed = match &self.state {
            State::Idle => false,
            State::Pooled(receive) => receive.is_armed(),
            State::Own(receive) => receive.is_submitted(),
        };
        !armed && self.rest.is_none() && self.unusual.as_ref().is_none_or(|unusual| unusual.is_quiet())
    }

    /// The next read fails with an error that somebody has taken from the socket.
    pub(super) fn put_back_error(&mut self, error: io::Error) {
        self.unusual.get_or_insert_default().failed = Some(error);
    }

    /// Whether it receives from `socket`.
    pub fn is_of(&self, socket: &Descriptor) -> bool {
        self.socket.is(socket)
    }

    /// Ends the receive that is armed, and waits for that. What it still brought stays with the receiver.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may not have ended the receive; nothing is lost, and it can be called again.
    pub async fn stop(&mut self) {
        match &self.state {
            State::Pooled(receive) if receive.is_armed() => receive.ask_to_cancel(),
            State::Own(receive) if receive.is_submitted() => receive.ask_to_cancel(),
            State::Idle | State::Pooled(_) | State::Own(_) => {
                self.state = State::Idle;
                return;
            }
        }
        self.stopping = true;
        std::future::poll_fn(|cx| self.poll_stopped(cx)).await;
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let received = match &mut self.state {
            State::Idle => return Poll::Ready(()),
            State::Pooled(receive) => ready!(receive.poll(cx, Some(-libc::ECANCELED))),
            State::Own(receive) => {
                let (received, bytes) = ready!(receive.poll_as(cx, Some(-libc::ECANCELED)));
                received.map(|_| Chunk::from(bytes))
            }
        };
        (self.state, self.stopping) = (State::Idle, false);
        if let Ok(chunk) = received {
            self.keep(chunk);
        }
        Poll::Ready(())
    }

    /// An empty chunk is the end of the stream, which the next receive finds again.
    fn keep(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.rest.get_or_insert(chunk);
        }
    }

    /// The kernel had no buffer: wait for data first, and if then there is still none, bring one.
    #[cold]
    fn without_buffers(&mut self) {
        let mut waited = true;
        if let State::Pooled(receive) = &mut self.state {
            receive.change(|receive| waited = std::mem::replace(&mut receive.wait_first, true));
        }
        if waited {
            self.state = self.own_memory();
        }
    }

    fn own_memory(&self) -> State {
        let bytes = context::with(|operations| operations.pool(self.chunk_bytes as usize).map(|pool| pool.size()))
            .flatten()
            .map_or((self.chunk_bytes as usize).max(4096), |size| size as usize);
        State::Own(Op::new(Receive::new(&self.socket, Vec::with_capacity(bytes))))
    }
}
