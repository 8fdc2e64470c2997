//! A part of a file sent on a socket.
//!
//! ```text
//!            all of the next part is in the page cache          else, or nobody can tell
//!  SendFile ------------ sendfile(2) ------------> out     ring: read --> memory --> sendmsg(2) --> out
//! ```
//!
//! sendfile(2) waits for the disk, and with it the core: so it is asked for what is in memory alone. The rest is read by
//! the ring, and copied once more than it would have to be: that is small beside what the disk takes.
//!
//! Invariant: what counts as sent is with the socket, and nothing else is: no send is in flight.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::{Bound, RangeBounds};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::descriptor::Descriptor;
use super::passing::if_any;
use super::read::Read;
use super::readiness::Readiness;
use super::{Op, poll_share};
use crate::buf::{IoBufMut, Limit};
use crate::driver::{calls, passing_calls};

/// So much of a file goes out at once.
const PART: u64 = 256 * 1024;
/// So much of it is read at once.
const BLOCK: usize = 128 * 1024;
/// So many bytes go by before other tasks have their turn.
const TURN: u64 = 1024 * 1024;

/// Sends a part of a file on a stream socket, in order, without moving any file position; output: how many bytes were
/// sent. They are fewer than the part has if the file ends before.
///
/// # Errors
///
/// What the socket says, or the file. [`sent`](Self::sent) tells how many had gone out before.
///
/// # Cancel safety
///
/// Dropped, what counts as [`sent`](Self::sent) has gone out, and nothing else does later: another one can go on from
/// there.
///
/// # Kernel
///
/// `sendfile(2)` for what is in the page cache, as `cachestat(2)` tells since Linux 6.5; else `IORING_OP_READ` and
/// `sendmsg(2)`. Room is waited for by `IORING_OP_POLL_ADD`. The socket is set to `O_NONBLOCK` until it is given away: for
/// the ring that makes no difference.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::{Descriptor, SendFile};
/// use std::io::Read;
///
/// # let path = std::env::temp_dir().join(format!("corering-send-file-{}", std::process::id()));
/// std::fs::write(&path, "hello, world")?;
/// let file = Descriptor::new(std::fs::File::open(&path)?.into());
/// # std::fs::remove_file(&path)?;
/// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// let ours = Descriptor::new(ours.into());
/// corering_runtime::run(async { SendFile::new(&ours, &file, 7..).await })??;
/// let mut bytes = [0; 5];
/// theirs.read_exact(&mut bytes)?;
/// assert_eq!(&bytes, b"world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent unless it is awaited"]
pub struct SendFile<'a> {
    to: &'a Descriptor,
    file: &'a Descriptor,
    start: u64,
    end: u64,
    sent: u64,
    /// So many bytes have gone since others had their turn.
    in_turn: u64,
    step: Step,
    /// What was read and has not gone out.
    block: Option<Block>,
    way: Way,
    /// Up to here, the file has just been found in the page cache.
    cached_to: u64,
}

#[derive(Debug)]
enum Step {
    Next,
    /// The socket has no room.
    Room(Op<Readiness>),
    /// What is not in the page cache is being read.
    Reading(Op<Read<Limit<Vec<u8>>>>),
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Unknown,
    /// What is cached goes by sendfile(2), if the file was so long when it began.
    Pass {
        file_end: u64,
    },
    /// All is read.
    Copy,
}

/// What was read, and how much of it has gone out.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    gone: usize,
}

impl<'a> SendFile<'a> {
    /// Sends the bytes `part` of `file` on `to`, on which nobody else sends.
    pub fn new(to: &'a Descriptor, file: &'a Descriptor, part: impl RangeBounds<u64>) -> Self {
        let start = match part.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match part.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (step, way) = (Step::Next, Way::Unknown);
        Self { to, file, start, end, sent: 0, in_turn: 0, step, block: None, way, cached_to: 0 }
    }

    /// How many bytes have gone out.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn has_sent(&mut self, count: usize) {
        self.sent += count as u64;
        self.in_turn += count as u64;
    }

    fn wait_for_room(&mut self) {
        // What is cached may be given up before there is room.
        self.cached_to = 0;
        self.step = Step::Room(Op::new(Readiness::of(self.to, libc::POLLOUT)));
    }

    /// How far from `at` on the file can be passed without waiting: 0 if it has to be read.
    fn passes(&mut self, at: u64) -> u64 {
        if let Way::Unknown = self.way {
            let waits = self.to.set_at_once().is_err() || calls::is_direct(self.file.as_fd());
            self.way = match calls::stat(self.file.as_fd(), libc::STATX_SIZE) {
                Ok(stat) if !waits => Way::Pass { file_end: stat.stx_size },
                Ok(_) | Err(_) => Way::Copy,
            };
        }
        let Way::Pass { file_end } = self.way else {
            return 0;
        };
        if at < self.cached_to {
            return self.cached_to - at;
        }
        let part = self.end.min(file_end).saturating_sub(at).min(PART);
        if part == 0 {
            return 0;
        }
        match passing_calls::is_cached(self.file.as_fd(), at, part) {
            // What is being read ahead counts as cached before it is there.
            Ok(true) if self.is_there(at) && self.is_there(at + part - 1) => {
                self.cached_to = at + part;
                part
            }
            Ok(_) => 0,
            Err(_) => {
                self.way = Way::Copy;
                0
            }
        }
    }

    /// Whether a byte of the file can be had without waiting for it.
    fn is_there(&self, at: u64) -> bool {
        let mut byte = Vec::with_capacity(1);
        calls::read_now(self.file.as_fd(), &mut byte.room(), at).is_ok()
    }

    /// True when all has gone out, or the file has ended.
    fn send_next(&mut self) -> io::Result<bool> {
        let at = self.start.saturating_add(self.sent);
        if at >= self.end {
            return Ok(true);
        }
        if let Some(block) = &mut self.block {
            match self.to.send_now(&[IoSlice::new(&block.bytes[block.gone..])])? {
                Some(sent) => {
                    block.gone += sent;
                    if block.gone == block.bytes.len() {
                        self.block = None;
                    }
                    self.has_sent(sent);
                }
                None => self.wait_for_room(),
            }
            return Ok(false);
        }
        let part = self.passes(at);
        if part == 0 {
            let room = BLOCK.min(usize::try_from(self.end - at).unwrap_or(BLOCK));
            let buffer = Vec::with_capacity(room).limit(room);
            self.step = Step::Reading(Op::new(Read::at(self.file, buffer, at)));
            return Ok(false);
        }
        match if_any(passing_calls::send_file(self.to.as_fd(), self.file.as_fd(), at, part as usize)) {
            // It has become shorter.
            Ok(Some(0)) => return Ok(true),
            Ok(Some(sent)) => self.has_sent(sent),
            Ok(None) => self.wait_for_room(),
            // Not every file system can, and not every socket.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
                self.way = Way::Copy;
            }
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        ready!(self.to.poll_settled(cx));
        ready!(self.file.poll_settled(cx));
        loop {
            match &mut self.step {
                Step::Next => {}
                Step::Room(room) => {
                    ready!(Pin::new(room).poll(cx))?;
                    self.step = Step::Next;
                }
                Step::Reading(read) => {
                    let (read, bytes) = ready!(Pin::new(read).poll(cx));
                    self.step = Step::Next;
                    if read? == 0 {
                        return Poll::Ready(Ok(self.sent));
                    }
                    self.block = Some(Block { bytes: bytes.into_inner(), gone: 0 });
                }
            }
            if self.in_turn >= TURN {
                self.in_turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(poll_share(cx));
            if self.send_next()? {
                return Poll::Ready(Ok(self.sent));
            }
        }
    }
}

impl Future for SendFile<'_> {
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_all(cx)
    }
}
