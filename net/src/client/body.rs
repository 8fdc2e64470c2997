//! What is sent.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_runtime::io::AsyncRead;
use corering_runtime::time::Instant;
use hyper::body::{Bytes, Frame, SizeHint};

/// So much is given away at a time: that it goes on is seen by that.
const PART: usize = 256 * 1024;

/// The body of a request: nothing, bytes, or what a reader has.
///
/// Bytes can be sent again, where a host sends the request on or had closed its connection; what was read cannot.
///
/// # Examples
///
/// ```
/// use corering_net::client::Body;
///
/// let text = Body::from("hello");
/// let empty = Body::default();
/// let read = Body::reader(corering_runtime::io::Cursor::new("from a file"));
/// # drop((text, empty, read));
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// When a part of it was taken last, for whom it is sent.
    moved: Option<Rc<Cell<Instant>>>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Whole(Bytes),
    Read(Box<dyn Reading>),
}

/// A reader of any kind.
trait Reading {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;
    fn left(&self) -> Option<u64>;
}

impl Body {
    /// What a reader has, to its end. It goes out in chunks (`Transfer-Encoding: chunked`), since nobody knows how
    /// much it is.
    pub fn reader(reader: impl AsyncRead + 'static) -> Self {
        Self::read(reader, None)
    }

    /// So many bytes of a reader: a file's, for one. If it has fewer, the request fails.
    pub fn reader_of(reader: impl AsyncRead + 'static, bytes: u64) -> Self {
        Self::read(reader, Some(bytes))
    }

    fn read(reader: impl AsyncRead + 'static, left: Option<u64>) -> Self {
        Self { kind: Kind::Read(Box::new(Part { reader: Some(reader), read: None, left })), moved: None }
    }

    /// The same once more, if it can be had.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.kind {
            Kind::Empty => Some(Self::default()),
            Kind::Whole(bytes) => Some(bytes.clone().into()),
            Kind::Read(_) => None,
        }
    }

    /// Tells of each part that is taken.
    pub(super) fn watched(mut self, moved: Rc<Cell<Instant>>) -> Self {
        self.moved = Some(moved);
        self
    }
}

struct Part<R> {
    /// While it reads, the future has it.
    reader: Option<R>,
    #[expect(clippy::type_complexity, reason = "a future without a name, and what it gives")]
    read: Option<Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>, R)>>>>,
    left: Option<u64>,
}

impl<R: AsyncRead + 'static> Reading for Part<R> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.left == Some(0) {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if let Some(mut reader) = self.reader.take() {
            let most = self.left.map_or(PART, |left| usize::try_from(left).map_or(PART, |left| left.min(PART)));
            self.read = Some(Box::pin(async move {
                let (result, bytes) = reader.read(Vec::with_capacity(most)).await;
                (result, bytes, reader)
            }));
        }
        let Some(read) = &mut self.read else { return Poll::Ready(Ok(Bytes::new())) };
        let (result, mut bytes, reader) = ready!(read.as_mut().poll(cx));
        self.read = None;
        self.reader = Some(reader);
        if result? == 0 && self.left.is_some() {
            let text = "the reader of the body has ended too soon";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        if let Some(left) = &mut self.left {
            // A buffer may have more room than it was asked for.
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        Poll::Ready(Ok(bytes.into()))
    }

    fn left(&self) -> Option<u64> {
        self.left
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = match &mut self.kind {
            Kind::Empty => return Poll::Ready(None),
            Kind::Whole(bytes) => bytes.split_to(bytes.len().min(PART)),
            Kind::Read(reading) => ready!(reading.poll_part(cx))?,
        };
        if let Some(moved) = &self.moved {
            moved.set(Instant::now());
        }
        if part.is_empty() {
            self.kind = Kind::Empty;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Read(reading) => reading.left() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Read(reading) => reading.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { kind: if bytes.is_empty() { Kind::Empty } else { Kind::Whole(bytes) }, moved: None }
    }
}

macro_rules! bytes {
    ($($from:ty),*) => {
        $(impl From<$from> for Body {
            fn from(bytes: $from) -> Self {
                Bytes::from(bytes).into()
            }
        })*
    };
}

bytes!(&'static str, &'static [u8], String, Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Empty => f.write_str("Body(empty)"),
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Read(_) => f.write_str("Body(a reader)"),
        }
    }
}
