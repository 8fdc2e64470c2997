//! Connecting to whoever of several addresses answers first: "happy eyeballs" (RFC 8305).
//!
//! ```text
//!   0 ms      first address  -----------------------------> (no answer)
//! 250 ms      second address ----------> connected: it wins, and the others are given up
//! at once, if one has failed: the next
//! ```
//!
//! The families take turns, so that a network that swallows what goes to one of them costs a quarter of a second.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use corering_runtime::op::{Connect, Descriptor, Op};
use corering_runtime::time::{Sleep, sleep};

use crate::addr::Target;

/// So long each attempt is alone, as RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects a socket that `socket` makes to one of the addresses of `target`.
pub(crate) async fn connect(
    target: &Target,
    socket: impl Fn(SocketAddr) -> io::Result<Descriptor>,
) -> io::Result<Descriptor> {
    // The usual case.
    if let Target::Address(address) = target {
        return one(*address, socket(*address)).await;
    }
    let mut race = Race {
        socket,
        left: interleaved(target.addresses().await?).into(),
        attempts: Vec::new(),
        failed: Vec::new(),
        head_start: None,
    };
    match poll_fn(|cx| race.poll(cx)).await {
        Some(socket) => Ok(socket),
        None => Err(none_of(target, race.failed)),
    }
}

/// Connects to one address.
pub(crate) async fn one(address: SocketAddr, socket: io::Result<Descriptor>) -> io::Result<Descriptor> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}"));
    let socket = socket.map_err(named)?;
    Op::new(Connect::new(&socket, address.into())).await.map_err(named)?;
    Ok(socket)
}

struct Race<M> {
    socket: M,
    left: VecDeque<SocketAddr>,
    /// Dropped, they are given up, and their sockets closed.
    attempts: Vec<(SocketAddr, Descriptor, Op<Connect>)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// Of the last attempt; none if it has failed already.
    head_start: Option<Sleep>,
}

impl<M: Fn(SocketAddr) -> io::Result<Descriptor>> Race<M> {
    /// The socket that is connected; none if all have failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Descriptor>> {
        loop {
            let mut at = 0;
            while at < self.attempts.len() {
                let attempt = &mut self.attempts[at].2;
                match Pin::new(attempt).poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(())) => return Poll::Ready(Some(self.attempts.swap_remove(at).1)),
                    Poll::Ready(Err(error)) => {
                        let (address, ..) = self.attempts.remove(at);
                        self.failed.push((address, error));
                        // The next may begin at once.
                        self.head_start = None;
                    }
                }
            }
            if let Some(head_start) = &mut self.head_start {
                if Pin::new(head_start).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            let Some(address) = self.left.pop_front() else {
                return if self.attempts.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            match (self.socket)(address) {
                Ok(socket) => {
                    let attempt = Op::new(Connect::new(&socket, address.into()));
                    self.attempts.push((address, socket, attempt));
                    self.head_start = (!self.left.is_empty()).then(|| sleep(HEAD_START));
                }
                Err(error) => self.failed.push((address, error)),
            }
        }
    }
}

/// The families in turn, each in its own order; that of the first address first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut mixed = Vec::new();
    while !one.is_empty() || !other.is_empty() {
        mixed.extend(one.pop_front());
        mixed.extend(other.pop_front());
    }
    mixed
}

/// The error that names all of them. Its kind is that of the first: those that were tried later are second best.
fn none_of(target: &Target, failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let kind = failed.first().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let mut text = format!("cannot connect to {target}");
    for (at, (address, error)) in failed.iter().enumerate() {
        text += if at == 0 { ": " } else { "; " };
        text += &format!("{address}: {error}");
    }
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns_beginning_with_that_of_the_first() {
        let found = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(interleaved(found), all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        let found = all(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        assert_eq!(interleaved(found.clone()), found);
        assert_eq!(interleaved(Vec::new()), []);
    }

    #[test]
    fn the_error_names_every_address_and_what_was_wrong_with_it() {
        let failed = vec![
            (all(&["[::1]:1"])[0], io::Error::new(io::ErrorKind::ConnectionRefused, "refused")),
            (all(&["1.1.1.1:1"])[0], io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        ];
        let error = none_of(&Target::Name { host: "host".to_owned(), port: 1 }, failed);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "cannot connect to host:1: [::1]:1: refused; 1.1.1.1:1: no answer");
    }
}
