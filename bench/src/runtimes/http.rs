//! HTTP/1.1 by hyper, with the same service for every runtime.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::task;
use bytes::Bytes;
use corering::net::{CoreTimer, PollStream};
use corering::op::{Descriptor, Op, Readiness};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

/// How much is written behind at most.
const BEHIND: usize = 64 * 1024;

async fn answer(_: Request<Incoming>, body: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(body)))
}

pub(crate) fn serve_by_tokio(listener: TcpListener, bytes: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    super::tokio::local()?.block_on(async {
        let body = Bytes::from(vec![b'x'; bytes]);
        let listener = ::tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            let service = service_fn(move |request| answer(request, body.clone()));
            task::spawn_local(
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    })
}

pub(crate) fn serve(how: &str, listener: TcpListener, bytes: usize) -> io::Result<()> {
    let how = how.to_owned();
    corering::run(async move {
        let body = Bytes::from(vec![b'x'; bytes]);
        let listener = corering::net::TcpListener::from_std(listener);
        let timer = CoreTimer::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            let service = service_fn(move |request| answer(request, body.clone()));
            let mut builder = http1::Builder::new();
            builder.timer(timer);
            match how.as_str() {
                "corering-behind" => {
                    let stream = PollStream::new(stream).write_behind(BEHIND);
                    corering::spawn(builder.serve_connection(stream, service));
                }
                "corering-ready" => {
                    corering::spawn(builder.serve_connection(Ready::new(stream)?, service));
                }
                _ => {
                    corering::spawn(builder.serve_connection(PollStream::new(stream), service));
                }
            }
        }
    })?
}

/// A connection that is read when the ring says that it is ready, as runtimes on epoll do it.
struct Ready {
    socket: Descriptor,
    input: Option<Op<Readiness>>,
    output: Option<Op<Readiness>>,
}

impl Ready {
    fn new(stream: corering::net::TcpStream) -> io::Result<Self> {
        let own = std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned()?;
        Ok(Self { socket: Descriptor::new(own), input: None, output: None })
    }
}

fn poll_ready(
    socket: &Descriptor,
    waiting: &mut Option<Op<Readiness>>,
    events: libc::c_short,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let ready = waiting.get_or_insert_with(|| Op::new(Readiness::of(socket, events)));
    ready!(Pin::new(ready).poll(cx))?;
    *waiting = None;
    Poll::Ready(Ok(()))
}

impl Read for Ready {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut room: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.input.is_some() {
                ready!(poll_ready(&this.socket, &mut this.input, libc::POLLIN, cx))?;
            }
            // SAFETY: nothing but what the kernel has written is said to be initialised.
            let place = unsafe { room.as_mut() };
            let (start, len) = (place.as_mut_ptr(), place.len());
            // SAFETY: room for as many bytes, borrowed exclusively.
            let count = unsafe { libc::recv(this.socket.as_raw_fd(), start.cast(), len, libc::MSG_DONTWAIT) };
            if let Ok(count) = usize::try_from(count) {
                // SAFETY: the kernel has written as many.
                unsafe { room.advance(count) };
                return Poll::Ready(Ok(()));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Poll::Ready(Err(error));
            }
            ready!(poll_ready(&this.socket, &mut this.input, libc::POLLIN, cx))?;
        }
    }
}

impl Write for Ready {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.output.is_some() {
                ready!(poll_ready(&this.socket, &mut this.output, libc::POLLOUT, cx))?;
            }
            if let Some(count) = this.socket.send_now(parts)? {
                return Poll::Ready(Ok(count));
            }
            ready!(poll_ready(&this.socket, &mut this.output, libc::POLLOUT, cx))?;
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}
