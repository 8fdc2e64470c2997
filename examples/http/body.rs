//! The body of an answer. It lives as long as the request is under way, and then writes its line in the log.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering::fs::Chunks;
use corering::io;
use corering::time::{Duration, Instant, Sleep, sleep_until};
use futures_core::Stream;
use hyper::StatusCode;
use hyper::body::{Bytes, Frame, SizeHint};

use crate::connection::Moves;
use crate::log::Line;

/// Between two lines of `/stream`.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) enum Content {
    Whole(Bytes),
    /// So many bytes of a file.
    File(Chunks, u64),
    /// So many lines are still to come.
    Lines {
        all: u32,
        left: u32,
        next: Sleep,
    },
}

impl Content {
    pub(crate) fn lines(all: u32) -> Self {
        Self::Lines { all, left: all, next: sleep_until(Instant::now()) }
    }

    /// How many bytes it has, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::File(_, left) => Some(*left),
            Self::Lines { .. } => None,
        }
    }
}

pub(crate) struct Body {
    content: Content,
    under_way: UnderWay,
}

/// A request that is under way.
pub(crate) struct UnderWay {
    pub(crate) moves: Rc<Moves>,
    pub(crate) line: Option<Line>,
}

impl UnderWay {
    pub(crate) fn answer(mut self, status: StatusCode, content: Content) -> Body {
        if let Some(line) = &mut self.line {
            line.status = Some(status);
        }
        Body { content, under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.moves.note();
    }
}

impl Content {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(match self {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::File(_, 0) => None,
            Self::File(chunks, left) => match ready!(Pin::new(chunks).poll_next(cx)) {
                Some(Ok(block)) => {
                    *left = left.saturating_sub(block.len() as u64);
                    // Not copied: what is sent is the memory that the file was read into.
                    Some(Ok(Bytes::from_owner(block)))
                }
                Some(Err(error)) => Some(Err(error)),
                // Its length has been promised, so the connection has to end here.
                None => Some(Err(io::Error::other("a file was cut while it was sent"))),
            },
            Self::Lines { left: 0, .. } => None,
            Self::Lines { all, left, next } => {
                ready!(Pin::new(&mut *next).poll(cx));
                next.reset(Instant::now() + PAUSE);
                *left -= 1;
                Some(Ok(Bytes::from(format!("line {} of {all}\n", *all - *left))))
            }
        })
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = ready!(self.content.poll_bytes(cx));
        self.under_way.moves.note();
        if let (Some(Ok(bytes)), Some(line)) = (&bytes, &mut self.under_way.line) {
            line.bytes += bytes.len() as u64;
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Lines { left, .. } => *left == 0,
            Content::Whole(_) | Content::File(..) => self.content.len() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.content.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
