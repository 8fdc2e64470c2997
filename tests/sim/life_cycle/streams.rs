//! Streams: what was sent, and what must and may have arrived of it.

use std::future::poll_fn;
use std::time::Duration;

use corering::buf::IoBuf as _;
use corering::op::{Op, Readiness, Receive, Receiver, Send, SendAll, chain};

use super::Stage;
use super::files::count_or_given_up;
use super::ways::{Fate, any_way, any_way_but_cancel, forget};
use crate::cases::{a_moment, below, pattern, socket_and_peer};

/// How much of a message arrives: all of its bytes are its number.
struct Message {
    number: u8,
    least: usize,
    most: usize,
    /// Nothing between these two.
    all_or_nothing: bool,
}

/// Sends messages in all ways. What arrives are these, in this order.
pub(super) async fn send(stage: Stage) {
    let (socket, mut peer) = socket_and_peer(&stage.host).await.expect("connected");
    let reader = corering::spawn(async move {
        let mut all = Vec::new();
        while let Some(chunk) = peer.recv().await.expect("received") {
            all.extend_from_slice(&chunk);
            if below(3) == 0 {
                a_moment(50).await;
            }
        }
        all
    });
    let mut messages = Vec::new();
    for number in 1..3 + below(15) as u8 {
        let len = 1 + below(if below(10) == 0 { 100_000 } else { 800 }) as usize;
        let buffer = stage.buffers.of(vec![number; len]);
        let message = match below(4) {
            0 => one_send(number, len, any_way(Op::new(Send::new(&socket, buffer))).await),
            1 => cancelled_send(number, len, any_way(Op::new(SendAll::new(&socket, buffer))).await),
            2 if number < 200 => {
                let second = Op::new(SendAll::new(&socket, stage.buffers.of(vec![number + 100; 9])));
                let both = chain((Op::new(SendAll::new(&socket, buffer)), second));
                match crate::cases::poll_and_drop(both, 1 + below(4)).await {
                    Some((first, second)) => {
                        first.0.expect("sent");
                        second.0.expect("sent");
                        messages.push(Message { number, least: len, most: len, all_or_nothing: true });
                        Message { number: number + 100, least: 9, most: 9, all_or_nothing: true }
                    }
                    None => {
                        messages.push(Message { number, least: 0, most: len, all_or_nothing: true });
                        Message { number: number + 100, least: 0, most: 9, all_or_nothing: true }
                    }
                }
            }
            _ => whole_send(number, len, any_way_but_cancel(Op::new(SendAll::new(&socket, buffer))).await),
        };
        messages.push(message);
    }
    poll_fn(|cx| socket.poll_settled(cx)).await;
    socket.close().await.expect("nobody else holds it");
    compare(&reader.await.expect("no panic"), &messages);
}

fn one_send<B>(number: u8, len: usize, fate: Fate<(corering::io::Result<usize>, B)>) -> Message {
    let (least, most) = match fate {
        Fate::Ended((result, _)) => {
            let sent = count_or_given_up(result).unwrap_or(0);
            (sent, sent)
        }
        Fate::Never => (0, 0),
        Fate::Orphaned | Fate::NeverOrOrphaned => (0, len),
    };
    Message { number, least, most, all_or_nothing: false }
}

fn cancelled_send<B>(number: u8, len: usize, fate: Fate<(corering::io::Result<()>, B)>) -> Message {
    let (least, most) = match fate {
        Fate::Ended((result, _)) => match count_or_given_up(result) {
            Some(()) => (len, len),
            None => (0, len),
        },
        Fate::Never => (0, 0),
        Fate::Orphaned | Fate::NeverOrOrphaned => (0, len),
    };
    Message { number, least, most, all_or_nothing: false }
}

fn whole_send<B>(number: u8, len: usize, fate: Fate<(corering::io::Result<()>, B)>) -> Message {
    let (least, most) = match fate {
        Fate::Ended((result, _)) => {
            result.expect("sent");
            (len, len)
        }
        Fate::Orphaned => (len, len),
        Fate::Never => (0, 0),
        Fate::NeverOrOrphaned => (0, len),
    };
    Message { number, least, most, all_or_nothing: true }
}

#[track_caller]
fn compare(arrived: &[u8], messages: &[Message]) {
    let mut rest = arrived;
    for message in messages {
        let run = rest.iter().take_while(|byte| **byte == message.number).count();
        let number = message.number;
        assert!((message.least..=message.most).contains(&run), "message {number}: {run} bytes have arrived");
        let whole = run == 0 || run == message.most;
        assert!(!message.all_or_nothing || whole, "message {number}: {run} of {} bytes have arrived", message.most);
        rest = &rest[run..];
    }
    assert!(rest.is_empty(), "{} bytes of nobody have arrived", rest.len());
}

/// Where in a stream of the [pattern] the next byte may come from.
struct Position {
    possible: Vec<usize>,
    /// As many bytes may have gone to receives that were given up.
    given_up: usize,
}

impl Position {
    #[track_caller]
    fn receive(&mut self, bytes: &[u8]) {
        let given_up = std::mem::take(&mut self.given_up);
        let mut ends = Vec::new();
        for start in &self.possible {
            for start in *start..=start + given_up {
                if bytes == pattern(start, bytes.len()) {
                    ends.push(start + bytes.len());
                }
            }
        }
        ends.sort_unstable();
        ends.dedup();
        assert!(!ends.is_empty(), "{} bytes that do not follow {:?} and {given_up}", bytes.len(), self.possible);
        self.possible = ends;
    }

    #[track_caller]
    fn end(&self, sent: usize) {
        let reached = self.possible.iter().any(|end| (*end..=end + self.given_up).contains(&sent));
        assert!(reached, "it ends at {:?} of {sent}, and {} are given up", self.possible, self.given_up);
    }
}

/// Sends so many bytes of the pattern in pieces, then ends the stream.
async fn send_pattern(mut peer: corering::net::TcpStream, bytes: usize) {
    let mut sent = 0;
    while sent < bytes {
        let len = (1 + below(150) as usize).min(bytes - sent);
        peer.write_all(pattern(sent, len)).await.0.expect("sent");
        sent += len;
        a_moment(60).await;
    }
    peer.close().await.expect("closed");
}

/// Receives in all ways: what a receive that was dropped took is lost with it, and nothing else.
pub(super) async fn receive(stage: Stage) {
    let (socket, peer) = socket_and_peer(&stage.host).await.expect("connected");
    let bytes = 200 + below(1_500) as usize;
    let sender = corering::spawn(send_pattern(peer, bytes));
    let mut position = Position { possible: vec![0], given_up: 0 };
    loop {
        let room = 1 + below(60) as usize;
        let buffer = stage.buffers.empty(room);
        let receive = if below(4) == 0 { Receive::all(&socket, buffer) } else { Receive::new(&socket, buffer) };
        let op = Op::new(receive);
        if stage.may_forget && below(20) == 0 {
            forget(op).await;
            position.given_up += room;
            // It takes what comes, whenever that is: this one is over.
            drop(any_way(Op::new(Readiness::of(&socket, libc::POLLIN))).await);
            break;
        }
        if below(8) == 0 {
            socket.cancel_all();
        }
        match any_way(op).await {
            Fate::Ended((result, buffer)) => match count_or_given_up(result) {
                Some(0) => {
                    position.end(bytes);
                    break;
                }
                Some(count) => {
                    assert_eq!(buffer.as_slice().len(), count);
                    position.receive(buffer.as_slice());
                }
                None => assert!(buffer.as_slice().is_empty(), "it has received, and says that it has not"),
            },
            Fate::Never => {}
            Fate::Orphaned | Fate::NeverOrOrphaned => {
                // So that what it takes is not mixed with what the next one takes.
                while socket.has_orphans() {
                    a_moment(20).await;
                }
                position.given_up += room;
            }
        }
    }
    if below(2) == 0 {
        sender.abort();
    }
    drop(socket);
    drop(sender.await);
}

/// Receives from a stream that owns its receive: nothing is lost, whatever is dropped.
pub(super) async fn receive_what_is_owned(stage: Stage) {
    let (socket, peer) = socket_and_peer(&stage.host).await.expect("connected");
    let bytes = 200 + below(2_000) as usize;
    let sender = corering::spawn(send_pattern(peer, bytes));
    let mut receiver = Receiver::new(socket.clone());
    let (mut received, mut held) = (0, Vec::new());
    loop {
        match below(12) {
            0 => receiver.stop().await,
            1 => receiver.set_chunk_bytes(1 + below(300) as usize),
            2 => held.clear(),
            3 => drop(any_way(Op::new(Readiness::of(&socket, libc::POLLIN))).await),
            _ => {}
        }
        let limit = Duration::from_micros(below(120));
        let Ok(chunk) = corering::timeout(limit, poll_fn(|cx| receiver.poll_chunk(cx))).await else { continue };
        let Some(chunk) = chunk.expect("received") else { break };
        assert_eq!(chunk[..], pattern(received, chunk.len()), "from {received} on");
        received += chunk.len();
        // Some are kept, so that the pool runs low.
        held.push(chunk);
        held.truncate(8);
    }
    assert_eq!(received, bytes);
    sender.await.expect("no panic");
}
