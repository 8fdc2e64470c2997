//! Streams: whatever is cut, waits, fails or is dropped, each byte comes once and in its place.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::BufRead;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corering::buf::{IoBuf, IoBufMut};
use corering::fs::{self, File};
use corering::io::prelude::*;
use corering::io::{
    self, BufReader, BufStream, BufWriter, Cursor, ErrorKind, LineWriter, SeekFrom, TooLong, copy, copy_bidirectional,
    copy_buf,
};
use corering::net::{Shutdown, TcpListener, TcpStream};
use futures_core::Stream;

use crate::{Random, clean, folder, found_in, run, soon, turn};

/// Polls that often at most, and then drops.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                // Whatever it waits for: it is polled again.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

/// A stream that brings its bytes in pieces, and has nothing for some polls before each.
struct Pieces {
    bytes: Vec<u8>,
    given: usize,
    /// So many have come: what was put back is there at once.
    come: usize,
    piece: Box<dyn FnMut() -> usize>,
    /// So many polls until the next piece is there.
    wait: usize,
    waits: usize,
    /// Fails once, where so many bytes have been given.
    fails_at: Option<usize>,
}

impl Pieces {
    fn of(bytes: impl Into<Vec<u8>>, piece: usize) -> Self {
        Self {
            bytes: bytes.into(),
            given: 0,
            come: 0,
            piece: Box::new(move || piece),
            wait: 0,
            waits: 0,
            fails_at: None,
        }
    }

    fn waiting(self, waits: usize) -> Self {
        Self { wait: waits, waits, ..self }
    }
}

impl AsyncRead for Pieces {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        poll_fn(|cx| {
            if self.wait == 0 || self.given < self.come {
                return Poll::Ready(());
            }
            self.wait -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        if self.fails_at.take_if(|at| *at <= self.given).is_some() {
            return (Err(ErrorKind::TimedOut.into()), buffer);
        }
        if self.given == self.come {
            self.wait = self.waits;
            self.come = self.bytes.len().min(self.come + (self.piece)());
        }
        let count = buffer.fill_from(&self.bytes[self.given..self.come]);
        self.given += count;
        (Ok(count), buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        let before = self.given - bytes.len();
        assert_eq!(self.bytes[before..self.given], bytes, "what was read last is put back");
        self.given = before;
    }
}

/// A stream to write to that is as bad as a kernel: a write has landed as soon as it is polled, but how much of it is known
/// only later, and a write that is dropped keeps that for itself.
#[derive(Clone, Debug)]
struct Landing {
    landed: Rc<RefCell<Vec<u8>>>,
    random: Rc<RefCell<Random>>,
    fails: u64,
    flushed: Rc<Cell<usize>>,
}

impl Landing {
    fn new(seed: u64, fails: u64) -> Self {
        let random = Rc::new(RefCell::new(Random::new(seed)));
        Self { landed: Rc::default(), random, fails, flushed: Rc::default() }
    }

    async fn wait(&self) {
        let mut left = self.random.borrow_mut().below(3);
        poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl AsyncWrite for Landing {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        if self.fails > 0 && self.random.borrow_mut().below(self.fails) == 0 {
            self.wait().await;
            return (Err(ErrorKind::StorageFull.into()), buffer);
        }
        let bytes = buffer.as_slice();
        let count = 1 + self.random.borrow_mut().below(bytes.len() as u64) as usize;
        self.landed.borrow_mut().extend_from_slice(&bytes[..count]);
        self.wait().await;
        (Ok(count), buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.wait().await;
        self.flushed.set(self.landed.borrow().len());
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await
    }
}

/// Text with all that lines are made of.
const TEXTS: &[&str] = &[
    "",
    "\n",
    "\r\n",
    "one",
    "one\n",
    "one\ntwo",
    "one\r\ntwo\r\n",
    "\n\n\r\r\n\ra\r",
    "grün\n€\n𝄞\r\nend",
    "a line that is longer than all buffers\nx\n",
];

/// All ways to cut a text into equal pieces, with buffers that are too small, and such that are not.
fn splits(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let pieces = 1..=text.len() + 1;
    pieces.flat_map(|piece| [1, 2, 3, 5, 8, 64].map(|capacity| (piece, capacity)))
}

/// How a reader is asked until its end: what each call gave.
type Calls<T> = Vec<io::Result<T>>;

async fn lines_read(mut reader: impl AsyncBufRead, polls: usize) -> Calls<String> {
    let mut calls = Vec::new();
    loop {
        let mut line = String::from("> ");
        match polled(polls, reader.read_line(&mut line)).await {
            None => assert_eq!(line, "> ", "a call that is dropped has taken nothing"),
            Some(Ok(0)) => return calls,
            Some(result) => calls.push(result.map(|count| {
                assert_eq!(count + 2, line.len());
                line[2..].to_owned()
            })),
        }
    }
}

async fn parts_read(mut reader: impl AsyncBufRead, delimiter: u8, polls: usize) -> Calls<Vec<u8>> {
    let mut calls = Vec::new();
    loop {
        let mut part = Vec::new();
        match polled(polls, reader.read_until(delimiter, &mut part)).await {
            None => assert!(part.is_empty(), "a call that is dropped has taken nothing"),
            Some(Ok(0)) => return calls,
            Some(result) => calls.push(result.map(|count| {
                assert_eq!(count, part.len());
                part
            })),
        }
    }
}

#[test]
fn every_buffered_reader_gives_what_that_of_the_standard_library_gives() {
    run(async || {
        for text in TEXTS {
            let mut model = text.as_bytes();
            let mut expected = Vec::new();
            let mut line = String::new();
            while model.read_line(&mut line).expect("text") > 0 {
                expected.push(std::mem::take(&mut line));
            }
            let expected_lines: Vec<String> = BufRead::lines(text.as_bytes()).map(|line| line.expect("text")).collect();
            let expected_parts: Vec<Vec<u8>> =
                BufRead::split(text.as_bytes(), b'o').map(|part| part.expect("read")).collect();
            for (piece, capacity) in splits(text) {
                // Waits, and how often it is polled before it is dropped.
                for (waits, polls) in [(0, usize::MAX), (1, usize::MAX), (1, 1), (2, 1), (3, 2)] {
                    let reader =
                        || BufReader::with_capacity(capacity, Pieces::of(text.as_bytes(), piece).waiting(waits));
                    let case = format!("{text:?} by {piece}, buffer {capacity}, waits {waits}, polls {polls}");
                    let read = lines_read(reader(), polls).await.into_iter().map(|line| line.expect("text"));
                    assert_eq!(read.collect::<Vec<_>>(), expected, "read_line: {case}");

                    let read = parts_read(reader(), b'\n', polls).await.into_iter().map(|part| part.expect("read"));
                    assert_eq!(read.collect::<Vec<_>>().concat(), text.as_bytes(), "read_until: {case}");

                    let (mut lines, mut read) = (reader().lines(), Vec::new());
                    while let Some(line) = loop {
                        if let Some(line) = polled(polls, lines.next_line()).await {
                            break line.expect("text");
                        }
                    } {
                        read.push(line);
                    }
                    assert_eq!(read, expected_lines, "lines: {case}");

                    let (mut parts, mut read) = (reader().split(b'o'), Vec::new());
                    while let Some(part) = loop {
                        if let Some(part) = polled(polls, parts.next_segment()).await {
                            break part.expect("read");
                        }
                    } {
                        read.push(part);
                    }
                    assert_eq!(read, expected_parts, "split: {case}");
                }
            }
        }
    });
}

#[test]
fn lines_are_a_stream_that_any_poll_goes_on_with() {
    run(async || {
        let mut lines = BufReader::new(Pieces::of("one\ntwo\r\nthree", 2).waiting(2)).lines();
        let mut read = Vec::new();
        loop {
            // By turns as a stream, and by a call that is dropped.
            let line = poll_fn(|cx| match pin!(&mut lines).poll_next(cx) {
                Poll::Pending => {
                    cx.waker().wake_by_ref();
                    Poll::Ready(None)
                }
                Poll::Ready(line) => Poll::Ready(Some(line)),
            });
            match line.await {
                Some(Some(line)) => read.push(line.expect("text")),
                Some(None) => break,
                None => {
                    if let Some(Ok(Some(line))) = polled(1, lines.next_line()).await {
                        read.push(line);
                    }
                }
            }
        }
        assert_eq!(read, ["one", "two", "three"]);
        assert_eq!(lines.into_inner().get_ref().given, 14);
    });
}

#[test]
fn every_way_to_read_gives_all_bytes_once_wherever_it_is_dropped() {
    let text = "all the bytes of a stream, once, and in order";
    run(async || {
        for piece in 1..=text.len() {
            for (waits, polls) in [(0, 9), (1, 1), (2, 1), (3, 2)] {
                let pieces = || Pieces::of(text, piece).waiting(waits);
                let case = format!("by {piece}, waits {waits}, polls {polls}");

                let mut reader = pieces();
                let (mut first, mut second) = (None, None);
                while first.is_none() {
                    first = polled(polls, reader.read_exact([0; 7])).await;
                }
                while second.is_none() {
                    second = polled(polls, reader.read_to_string(String::from("> "))).await;
                }
                let ((first_read, first), (second_read, second)) = (first.expect("read"), second.expect("read"));
                first_read.expect("there");
                assert_eq!(second_read.expect("text"), text.len() - 7, "{case}");
                assert_eq!((first, &second[2..]), (*b"all the", &text[7..]), "{case}");

                let mut reader = pieces().take(9).chain(Cursor::new("|")).chain(pieces().take(3));
                let mut all = None;
                while all.is_none() {
                    all = polled(polls, reader.read_to_end(b"> ".to_vec())).await;
                }
                let (read, all) = all.expect("read");
                assert_eq!((read.expect("read"), &all[..]), (13, &b"> all the b|all"[..]), "{case}");

                let mut reader = BufReader::with_capacity(4, pieces());
                let mut all = Vec::new();
                for count in (1..).take_while(|count| count * (count + 1) / 2 <= text.len()) {
                    let mut part = vec![b'?'; count];
                    while polled(polls, reader.read_exact(&mut part)).await.map(|read| read.expect("there")).is_none() {
                        assert!(part.iter().all(|byte| *byte == b'?'), "a call that is dropped has taken nothing");
                    }
                    all.extend(part);
                }
                let (left, mut part) = (text.len() - all.len(), vec![0; text.len()]);
                let error = loop {
                    if let Some(read) = polled(polls, reader.read_exact(&mut part)).await {
                        break read.expect_err("there is not so much");
                    }
                };
                assert_eq!((error.kind(), reader.buffer().len()), (ErrorKind::UnexpectedEof, left));
                let mut owned = None;
                while owned.is_none() {
                    owned = polled(polls, AsyncRead::read(&mut reader, Vec::with_capacity(2))).await;
                }
                all.extend(owned.expect("read").1);
                let before = all.len();
                let mut rest = Vec::new();
                while polled(polls, reader.read_to_end(&mut rest)).await.map(|read| read.expect("read")).is_none() {}
                all.extend(rest);
                assert_eq!((before, std::str::from_utf8(&all).expect("text")), (text.len() - left + left.min(2), text));
            }
        }
    });
}

#[test]
fn an_error_loses_nothing() {
    let text = "first\nsecond\nthird";
    run(async || {
        for at in 0..=text.len() {
            for capacity in [1, 4, 64] {
                let pieces = || Pieces { fails_at: Some(at), ..Pieces::of(text, 3) };
                let calls = lines_read(BufReader::with_capacity(capacity, pieces()), 9).await;
                let failed = calls.iter().filter(|line| line.is_err()).count();
                let lines: Vec<_> = calls.into_iter().flatten().collect();
                assert_eq!((lines.concat().as_str(), failed), (text, 1), "at {at}");

                let mut pieces = pieces();
                let (read, nothing) = pieces.read_to_string(String::new()).await;
                assert_eq!((read.expect_err("fails").kind(), nothing.as_str()), (ErrorKind::TimedOut, ""));
                let (read, all) = pieces.read_to_string(nothing).await;
                assert_eq!((read.expect("read"), all.as_str()), (text.len(), text), "at {at}");
            }
        }
    });
}

#[test]
fn what_is_no_text_loses_nothing() {
    let bytes = b"good\nb\xffd\ngood again\n";
    run(async || {
        for piece in 1..=bytes.len() {
            let mut reader = BufReader::with_capacity(4, Pieces::of(*bytes, piece));
            let mut line = String::new();
            assert_eq!(reader.read_line(&mut line).await.expect("text"), 5);
            for _ in 0..2 {
                assert_eq!(reader.read_line(&mut line).await.expect_err("no text").kind(), ErrorKind::InvalidData);
            }
            assert_eq!(line, "good\n");
            let mut part = Vec::new();
            reader.read_until(b'\n', &mut part).await.expect("read");
            assert_eq!(part, b"b\xffd\n");
            assert_eq!(reader.read_line(&mut line).await.expect("text"), 11);
            assert_eq!(line, "good\ngood again\n");

            let mut reader = BufReader::with_capacity(4, Pieces::of(*bytes, piece));
            let mut text = String::new();
            for expected in [5, 4, 11, 0] {
                assert_eq!(reader.read_line_lossy(&mut text).await.expect("read"), expected);
            }
            assert_eq!(text, "good\nb\u{fffd}d\ngood again\n");

            let mut lines = BufReader::with_capacity(4, Pieces::of(*bytes, piece)).lines();
            assert_eq!(lines.next_line().await.expect("text").as_deref(), Some("good"));
            for _ in 0..2 {
                assert_eq!(lines.next_line().await.expect_err("no text").kind(), ErrorKind::InvalidData);
            }
            let mut lines = lines.lossy();
            assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("b\u{fffd}d"));
            assert_eq!(lines.next_line().await.expect("read").as_deref(), Some("good again"));
            assert_eq!(lines.next_line().await.expect("read"), None);

            let mut reader = BufReader::with_capacity(4, Pieces::of(*bytes, piece));
            let mut text = String::new();
            assert_eq!(reader.read_to_string(&mut text).await.expect_err("no text").kind(), ErrorKind::InvalidData);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.expect("read");
            assert_eq!((all.as_slice(), text.as_str()), (&bytes[..], ""));
        }
    });
}

#[test]
fn a_line_beyond_the_limit_is_an_error_that_names_it_and_loses_nothing() {
    run(async || {
        let text = "12345\n123456789\n12345";
        for piece in 1..=text.len() {
            let mut reader = BufReader::with_capacity(2, Pieces::of(text, piece));
            let mut line = String::new();
            assert_eq!(reader.read_line_limited(&mut line, 5).await.expect("short enough"), 6);
            for _ in 0..2 {
                let error = reader.read_line_limited(&mut line, 5).await.expect_err("too long");
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                assert_eq!(error.to_string(), "a line is longer than 5 bytes, which is the limit");
                let too_long = error.get_ref().and_then(|error| error.downcast_ref::<TooLong>());
                assert_eq!(too_long.map(TooLong::limit), Some(5));
            }
            let mut part = Vec::new();
            let error = reader.read_until_limited(b'7', &mut part, 5).await.expect_err("too far");
            assert_eq!(error.to_string(), "there is no '7' within 5 bytes, which is the limit");
            assert_eq!(reader.read_until_limited(b'7', &mut part, 6).await.expect("near enough"), 7);
            assert_eq!((line.as_str(), &part[..]), ("12345\n", &b"1234567"[..]));
            assert_eq!(reader.skip_until(b'\n').await.expect("there"), 3);
            assert_eq!(reader.read_line_limited(&mut line, 5).await.expect("short enough"), 5);
            assert_eq!(reader.skip_until(b'\n').await.expect("the end"), 0);
            assert_eq!(line, "12345\n12345");

            let mut lines = BufReader::with_capacity(2, Pieces::of(text, piece)).lines().limit(5);
            assert_eq!(lines.next_line().await.expect("short enough").as_deref(), Some("12345"));
            lines.next_line().await.expect_err("too long");
            lines.get_mut().expect("idle").skip_until(b'\n').await.expect("there");
            assert_eq!(lines.next_line().await.expect("short enough").as_deref(), Some("12345"));
        }
    });
}

#[test]
fn an_endless_line_with_a_limit_takes_little_memory() {
    run(async || {
        let mut reader = BufReader::new(io::repeat(b'x'));
        let mut line = String::new();
        reader.read_line_limited(&mut line, 100_000).await.expect_err("endless");
        assert!(reader.buffer().len() < 400_000, "{} bytes were read", reader.buffer().len());
    });
}

#[test]
fn whatever_is_dropped_a_buffered_writer_writes_each_byte_once_and_in_order() {
    run(async || {
        for seed in 0..400 {
            let fails = [0, 5][seed as usize % 2];
            let landing = Landing::new(seed, fails);
            let mut random = Random::new(seed + 1_000_000);
            let mut writer = BufWriter::with_capacity(1 + random.below(12) as usize, landing.clone());
            let mut expected = Vec::new();
            for number in 0..60_u8 {
                let message = vec![number; 1 + random.below(20) as usize];
                let polls = 1 + random.below(3) as usize;
                let taken = match random.below(5) {
                    0 => {
                        // Of this one it does not matter whether it ends.
                        let _ = polled(polls, writer.flush()).await;
                        false
                    }
                    // Taken when it is first polled, also if it is large and goes straight.
                    1 => {
                        while polled(polls, writer.settled()).await.is_none_or(|settled| settled.is_err()) {}
                        match polled(1, AsyncWrite::write_all(&mut writer, message.clone())).await {
                            None | Some((Ok(()), _)) => true,
                            Some((Err(_), back)) => {
                                assert_eq!(back, message, "what was large, and the rest of it is not the writer's");
                                let part = landing.landed.borrow().len() - expected.len();
                                expected.extend_from_slice(&message[..part]);
                                false
                            }
                        }
                    }
                    2 if fails == 0 => {
                        let (taken, back) = AsyncWrite::write_all(&mut writer, message.clone()).await;
                        assert_eq!(back, message);
                        taken.is_ok()
                    }
                    _ => polled(polls, writer.write_all(&message)).await.is_some_and(|taken| taken.is_ok()),
                };
                if taken {
                    expected.extend(message);
                }
                let landed = landing.landed.borrow();
                assert!(expected.starts_with(&landed), "seed {seed}: {landed:?} of {expected:?}");
            }
            let mut ended = false;
            while !ended {
                ended = polled(2, writer.shutdown()).await.is_some_and(|ended| ended.is_ok());
            }
            assert_eq!(*landing.landed.borrow(), expected, "seed {seed}");
            assert_eq!((landing.flushed.get(), writer.unwritten()), (expected.len(), 0));
        }
    });
}

#[test]
fn a_line_writer_writes_lines_as_soon_as_they_are_complete() {
    run(async || {
        for seed in 0..100 {
            let landing = Landing::new(seed, 0);
            let mut random = Random::new(seed + 1_000_000);
            let mut writer = LineWriter::with_capacity(64, landing.clone());
            let mut written = Vec::new();
            for _ in 0..30 {
                let bytes = b"ab\ncd";
                let start = random.below(5) as usize;
                let part = &bytes[start..start + random.below(6 - start as u64) as usize];
                if random.below(2) == 0 {
                    writer.write_all(part).await.expect("written");
                } else {
                    AsyncWrite::write_all(&mut writer, part.to_vec()).await.0.expect("written");
                }
                written.extend_from_slice(part);
                let lines = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                assert!(landing.landed.borrow().len() >= lines, "seed {seed}");
            }
            while polled(1, writer.flush()).await.is_none() {}
            assert_eq!(*landing.landed.borrow(), written);
        }
    });
}

#[test]
fn a_writer_that_could_not_flush_comes_back_with_what_is_left() {
    run(async || {
        let landing = Landing::new(7, 1);
        let mut writer = BufWriter::new(landing.clone());
        writer.write_all(b"hello").await.expect("room");
        let (error, mut writer) = writer.into_inner().await.expect_err("it fails always").into_parts();
        assert_eq!((error.kind(), writer.unwritten()), (ErrorKind::StorageFull, 5));
        writer.get_mut().expect("idle").fails = 0;
        writer.into_inner().await.expect("it does not fail any more");
        assert_eq!(*landing.landed.borrow(), b"hello");
    });
}

#[test]
fn a_copy_that_is_dropped_anywhere_goes_on_and_loses_nothing() {
    let bytes: Vec<u8> = (0..2000_u32).map(|number| number as u8).collect();
    run(async || {
        for seed in 0..60 {
            for polls in 1..6 {
                let mut random = Random::new(seed + 1_000_000);
                let piece = Box::new(move || 1 + random.below(90) as usize);
                let mut reader = Pieces { piece, ..Pieces::of(bytes.clone(), 0) }.waiting(seed as usize % 3);
                let landing = Landing::new(seed, 0);
                let mut writer = BufWriter::with_capacity(50, landing.clone());
                if seed % 2 == 0 {
                    while polled(polls, copy(&mut reader, &mut writer))
                        .await
                        .map(|copied| copied.expect("no error"))
                        .is_none()
                    {}
                } else {
                    let mut reader = BufReader::with_capacity(70, reader);
                    while polled(polls, copy_buf(&mut reader, &mut writer))
                        .await
                        .map(|copied| copied.expect("no error"))
                        .is_none()
                    {}
                }
                assert_eq!(*landing.landed.borrow(), bytes, "seed {seed}, {polls} polls");
                assert_eq!(landing.flushed.get(), bytes.len());
            }
        }
    });
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
    let (server, _) = soon(listener.accept()).await.expect("a connection");
    listener.close().await.expect("closed");
    (client, server)
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

#[test]
fn a_proxy_that_is_dropped_again_and_again_loses_nothing_and_ends_each_direction() {
    const LENGTH: usize = 300_000;
    clean(async || {
        let (mut client, mut left) = connected().await;
        let (mut right, mut server) = connected().await;
        let asks = corering::spawn(async move {
            let question = noise(LENGTH, 1);
            for part in question.chunks(7000) {
                client.write_all(part.to_vec()).await.0.expect("sent");
            }
            client.shutdown(Shutdown::Write).await.expect("ended");
            // Only now the other side answers.
            let (read, answer) = client.read_to_end(Vec::new()).await;
            assert!(read.expect("received") == LENGTH && answer == noise(LENGTH, 2));
            client.close().await.expect("closed");
        });
        let answers = corering::spawn(async move {
            let (read, question) = server.read_to_end(Vec::new()).await;
            assert!(read.expect("received") == LENGTH && question == noise(LENGTH, 1));
            server.write_all(noise(LENGTH, 2)).await.0.expect("sent");
            server.close().await.expect("closed");
        });
        let proxy = async {
            let mut random = Random::new(3);
            loop {
                let polls = 1 + random.below(5) as usize;
                if let Some(copied) = polled(polls, copy_bidirectional(&mut left, &mut right)).await {
                    return copied.expect("no error");
                }
                if random.below(4) == 0 {
                    turn().await;
                }
            }
        };
        soon(proxy).await;
        left.close().await.expect("closed");
        right.close().await.expect("closed");
        soon(asks).await.expect("as expected");
        soon(answers).await.expect("as expected");
    });
}

#[test]
fn a_copy_into_a_file_that_is_dropped_goes_on_behind_what_it_wrote() {
    const LENGTH: usize = 400_000;
    clean(async || {
        let folder = folder();
        for seed in 0..8 {
            let bytes = noise(LENGTH, seed + 1);
            let (from, to) = (folder.join("from"), folder.join("to"));
            fs::write(&from, bytes.clone()).await.expect("written");
            let mut reader = File::open(&from).await.expect("opened");
            let mut writer = File::create(&to).await.expect("made");
            let mut random = Random::new(seed + 1);
            while polled(1 + random.below(3) as usize, copy(&mut reader, &mut writer))
                .await
                .map(|copied| copied.expect("no error"))
                .is_none()
            {}
            assert_eq!((reader.position(), writer.position()), (LENGTH as u64, LENGTH as u64));
            writer.close().await.expect("closed");
            assert!(found_in(&to) == bytes, "seed {seed}");
            reader.close().await.expect("closed");
        }
    });
}

#[test]
fn a_buffered_file_that_is_dropped_in_every_flush_holds_what_was_written() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = noise(100_000, 5);
        let mut writer = BufWriter::with_capacity(1000, File::create(&path).await.expect("made"));
        for part in bytes.chunks(333) {
            while polled(1, writer.write_all(part)).await.map(|taken| taken.expect("room")).is_none() {}
            let _ = polled(1, writer.flush()).await;
        }
        let file = soon(writer.into_inner()).await.expect("written");
        assert_eq!(file.position(), bytes.len() as u64);
        file.close().await.expect("closed");
        assert!(found_in(&path) == bytes);
    });
}

#[test]
fn a_file_is_sought_with_and_without_buffers() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = noise(10_000, 6);
        fs::write(&path, bytes.clone()).await.expect("written");
        let mut file = File::open(&path).await.expect("opened");
        assert_eq!(file.seek(SeekFrom::End(0)).await.expect("sought"), 10_000);
        assert_eq!(file.seek(SeekFrom::Current(-10)).await.expect("sought"), 9_990);
        for wrong in [SeekFrom::Current(-9_991), SeekFrom::End(-10_001), SeekFrom::Start(1 << 63)] {
            assert_eq!(file.seek(wrong).await.expect_err("before the start").kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.stream_position().await.expect("known"), 9_990);
        let (read, _) = file.read_exact(Vec::with_capacity(11)).await;
        assert_eq!(read.expect_err("there are 10").kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.seek(SeekFrom::Start(0)).await.expect("sought"), 0);

        let (read, part) = file.read_exact_at([0; 100], 50).await;
        read.expect("there");
        assert_eq!(part[..], bytes[50..150]);
        let (read, rest) = file.read_to_end_at(b"> ".to_vec(), 9_000).await;
        assert_eq!((read.expect("read"), &rest[2..]), (1_000, &bytes[9_000..]));

        // A buffered reader is where it would be without its buffer.
        let mut reader = BufReader::with_capacity(512, file);
        let mut model = std::io::Cursor::new(bytes);
        let mut random = Random::new(9);
        for _ in 0..300 {
            let to = match random.below(4) {
                0 => SeekFrom::Start(random.below(10_000)),
                1 => SeekFrom::End(-(random.below(10_000) as i64)),
                _ => SeekFrom::Current(random.below(600) as i64 - 300),
            };
            let expected = std::io::Seek::seek(&mut model, to);
            match (reader.seek(to).await, expected) {
                (Ok(position), Ok(expected)) => assert_eq!(position, expected, "{to:?}"),
                (found, expected) => assert!(found.is_err() && expected.is_err(), "{to:?}: {found:?}, {expected:?}"),
            }
            let (mut found, mut expected) = ([0; 40], [0; 40]);
            let short = random.below(41) as usize;
            let count = std::io::Read::read(&mut model, &mut expected[..short]).expect("memory");
            reader.read_exact(&mut found[..count]).await.expect("there");
            assert_eq!(found, expected);
            assert_eq!(reader.stream_position().await.expect("known"), model.position());
        }
        reader.into_inner().close().await.expect("closed");
    });
}

#[test]
fn lines_of_a_connection_survive_timeouts() {
    clean(async || {
        let (mut client, server) = connected().await;
        let mut stream = BufStream::new(server);
        let sends = corering::spawn(async move {
            for part in ["fir", "st\nsec", "ond", "\nth", "ird"] {
                client.write_all(part).await.0.expect("sent");
                turn().await;
            }
            client.shutdown(Shutdown::Write).await.expect("ended");
            let (read, answer) = client.read_to_end(Vec::new()).await;
            read.expect("received");
            assert_eq!(answer, b"first\nsecond\nthird\n");
            client.close().await.expect("closed");
        });
        let mut random = Random::new(11);
        loop {
            let mut line = String::new();
            let read = loop {
                if let Some(read) = polled(1 + random.below(2) as usize, stream.read_line(&mut line)).await {
                    break read.expect("received");
                }
                turn().await;
            };
            if read == 0 {
                break;
            }
            stream.write_all(line.trim_end().as_bytes()).await.expect("taken");
            stream.write_all(b"\n").await.expect("taken");
            let _ = polled(1, stream.flush()).await;
        }
        soon(stream.shutdown()).await.expect("ended");
        soon(sends).await.expect("as expected");
        soon(stream.into_inner()).await.expect("flushed").close().await.expect("closed");
    });
}

#[test]
fn several_buffers_are_read_and_written_in_turn() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let mut file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
        file.write_vectored_all_at(vec!["hello", "", ", ", "world"], 0).await.0.expect("written");
        let (read, parts) =
            AsyncRead::read_vectored(&mut file, vec![Vec::with_capacity(3), Vec::with_capacity(100)]).await;
        assert_eq!((read.expect("read"), parts[1].as_slice()), (12, &b"lo, world"[..]));
        assert_eq!(file.position(), 12);
        file.close().await.expect("closed");

        let mut memory = Vec::new();
        memory.write_vectored_all(vec!["", "one", "two"]).await.0.expect("written");
        let (read, parts) =
            AsyncRead::read_vectored(&mut Cursor::new(memory), vec![Vec::new(), Vec::with_capacity(4)]).await;
        assert_eq!((read.expect("read"), parts[1].as_slice()), (4, &b"onet"[..]));
        let (read, _) = io::empty().read_vectored(vec![Vec::new()]).await;
        assert_eq!(read.expect_err("no room").kind(), ErrorKind::InvalidInput);
        let mut sink = io::sink();
        assert_eq!(copy(&mut io::repeat(1).take(70_000), &mut sink).await.expect("copied"), 70_000);
    });
}

#[test]
fn a_waker_of_a_call_that_is_gone_may_be_woken() {
    // The write that is kept holds the waker of whoever was dropped.
    let mut writer = BufWriter::new(Landing::new(1, 0));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(pin!(writer.write_all(b"hello")).poll(&mut cx).is_ready());
    for _ in 0..50 {
        let _ = pin!(writer.flush()).poll(&mut cx);
    }
    assert_eq!(writer.unwritten(), 0);
}
