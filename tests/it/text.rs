//! Text: however its bytes are cut, waited for and given up, each character comes once, and what is no text is named.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use corering::fs::File;
use corering::io::prelude::*;
use corering::io::{self, Cursor, DecodeError, ErrorKind, Newline, TextReader, TextWriter};

use crate::{clean, folder, run};

/// Polls that often at most, and then drops.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        cx.waker().wake_by_ref();
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A stream that brings so many bytes at a time, and has nothing for a poll before each piece.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
    waited: bool,
}

impl<'a> Pieces<'a> {
    fn of(bytes: &'a [u8], piece: usize) -> Self {
        Self { bytes, piece, waited: false }
    }
}

impl AsyncRead for Pieces<'_> {
    async fn read<B: corering::buf::IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        poll_fn(|cx| {
            if std::mem::replace(&mut self.waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.waited = false;
        let count = buffer.fill_from(&self.bytes[..self.piece.min(self.bytes.len())]);
        self.bytes = &self.bytes[count..];
        (Ok(count), buffer)
    }

    fn put_back(&mut self, _: Vec<u8>) {
        unreachable!("a buffer takes all that comes");
    }
}

/// All ways to cut some bytes into equal pieces, and to give up.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    (1..=bytes.len() + 1).flat_map(|piece| [1, usize::MAX].map(|polls| (piece, polls)))
}

async fn all<R: AsyncRead>(mut reader: TextReader<R>, polls: usize) -> io::Result<String> {
    let mut text = String::new();
    loop {
        match polled(polls, reader.read_to_string(&mut text)).await {
            Some(result) => return result.map(|_| text),
            None => assert_eq!(text, "", "what was dropped has taken nothing"),
        }
    }
}

async fn lines<R: AsyncRead>(mut reader: TextReader<R>, polls: usize) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match polled(polls, reader.read_line(&mut line)).await {
            Some(Ok(0)) => return lines,
            Some(result) => drop(result.expect("text")),
            None => assert_eq!(line, "", "what was dropped has taken nothing"),
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
}

const TEXTS: &[&str] = &[
    "",
    "\n",
    "\r",
    "\r\n",
    "one\ntwo",
    "one\r\ntwo\r\n",
    "\r\r\n\n\r\r\na\r",
    "grün\r€\r\n𝄞\n\rend",
    "\u{feff}",
    "\u{feff}marked\r\n\u{feff}not again",
    "\u{feff}\u{feff}twice",
];

#[test]
fn every_end_of_a_line_becomes_the_same_wherever_the_bytes_are_cut() {
    run(async || {
        for text in TEXTS {
            let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
            let universal = unmarked.replace("\r\n", "\n").replace('\r', "\n");
            for (piece, polls) in cuts(text.as_bytes()) {
                let case = format!("{text:?} by {piece}, {polls} polls");
                let reader = || TextReader::with_capacity(4, Pieces::of(text.as_bytes(), piece));
                assert_eq!(all(reader(), polls).await.expect("text"), unmarked, "{case}");
                assert_eq!(all(reader().keep_bom(), polls).await.expect("text"), *text, "{case}");
                assert_eq!(all(reader().universal_newlines(), polls).await.expect("text"), universal, "{case}");
                let expected: Vec<_> = universal.split_inclusive('\n').collect();
                assert_eq!(lines(reader().universal_newlines(), polls).await, expected, "{case}");
            }
        }
    });
}

/// Bytes, and where these are no text: the offset and how many bytes.
const BROKEN: &[(&[u8], u64, usize)] = &[
    (b"\xff", 0, 1),
    (b"good\nb\xffd\n", 6, 1),
    ("€€".as_bytes().split_at(5).0, 3, 2),
    (b"a\xe2\x82\xe2\x82\xacb", 1, 2),
    (b"\xf0\x9f\x98x\xf0\x9f\x98", 0, 3),
    (b"\xef\xbb\xbfmark\xc0\xc0", 7, 1),
    (b"\xef\xbbx", 0, 2),
    (b"\xff\xfea\0", 0, 1),
];

fn place(error: &io::Error) -> (u64, usize) {
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let error = error.get_ref().and_then(|error| error.downcast_ref::<DecodeError>()).expect("what is no text");
    (error.offset(), error.bytes())
}

#[test]
fn what_is_no_text_is_named_by_its_offset_again_and_again_until_it_is_passed_over() {
    run(async || {
        for (bytes, offset, count) in BROKEN {
            let replaced = String::from_utf8_lossy(bytes);
            let replaced = replaced.strip_prefix('\u{feff}').unwrap_or(&replaced);
            for (piece, polls) in cuts(bytes) {
                let case = format!("{bytes:?} by {piece}, {polls} polls");
                let mut reader = TextReader::with_capacity(4, Pieces::of(bytes, piece));
                let mut text = String::new();
                for _ in 0..2 {
                    let error = loop {
                        if let Some(result) = polled(polls, reader.read_to_string(&mut text)).await {
                            break result.expect_err("no text");
                        }
                    };
                    assert_eq!((place(&error), text.as_str()), ((*offset, *count), ""), "{case}");
                }
                assert_eq!(all(reader.lossy(), polls).await.expect("read"), replaced, "{case}");
                let reader = TextReader::with_capacity(4, Pieces::of(bytes, piece)).lossy();
                assert_eq!(all(reader, polls).await.expect("read"), replaced, "{case}");
            }
        }
    });
}

#[test]
fn the_lines_before_what_is_no_text_are_given() {
    run(async || {
        let bytes = b"one\ntwo\nthr\xe9e\nfour\n";
        for piece in 1..=bytes.len() {
            let mut lines = TextReader::new(Pieces::of(bytes, piece)).lines();
            for expected in ["one", "two"] {
                assert_eq!(lines.next_line().await.expect("text").as_deref(), Some(expected));
            }
            for _ in 0..2 {
                assert_eq!(place(&lines.next_line().await.expect_err("no text")), (11, 1));
            }
            let mut rest = String::new();
            lines.into_inner().lossy().read_to_string(&mut rest).await.expect("read");
            assert_eq!(rest, "thr\u{fffd}e\nfour\n");
        }
    });
}

#[test]
fn characters_are_counted_and_not_bytes() {
    run(async || {
        let text = "a€𝄞\r\nü";
        for (piece, polls) in cuts(text.as_bytes()) {
            for chars in 0..=7 {
                let mut reader = TextReader::with_capacity(4, Pieces::of(text.as_bytes(), piece)).universal_newlines();
                let mut into = String::from(">");
                let count = loop {
                    match polled(polls, reader.read_chars(chars, &mut into)).await {
                        Some(count) => break count.expect("text"),
                        None => assert_eq!(into, ">"),
                    }
                };
                let expected: String = "a€𝄞\nü".chars().take(chars).collect();
                assert_eq!((count, &into[1..]), (expected.chars().count(), expected.as_str()), "by {piece}");
                let rest: String = "a€𝄞\nü".chars().skip(chars).collect();
                assert_eq!(all(reader, polls).await.expect("text"), rest);
            }
        }
    });
}

#[test]
fn a_limit_counts_as_in_any_reader_and_a_line_that_is_too_long_is_kept() {
    run(async || {
        let mut reader = TextReader::new(Cursor::new("short\rthis is long\rend")).universal_newlines();
        let mut line = String::new();
        assert_eq!(reader.read_line_limited(&mut line, 5).await.expect("short"), 6);
        reader.read_line_limited(&mut line, 5).await.expect_err("long");
        assert_eq!(reader.read_line_limited(&mut line, 12).await.expect("allowed"), 13);
        assert_eq!(line, "short\nthis is long\n");
    });
}

#[test]
fn text_is_written_with_the_ends_of_lines_and_the_mark_that_were_asked_for() {
    run(async || {
        for (newline, end) in [(Newline::Lf, "\n"), (Newline::CrLf, "\r\n"), (Newline::Cr, "\r")] {
            for capacity in [1, 4, 100] {
                let mut writer = TextWriter::with_capacity(capacity, Vec::new()).newline(newline).with_bom();
                for text in ["", "one\n", "", "grün\n\n", "end"] {
                    writer.write_str(text).await.expect("written");
                }
                let expected = format!("\u{feff}one{end}grün{end}{end}end");
                let written = writer.into_inner().await.expect("written");
                assert_eq!(String::from_utf8(written).expect("text"), expected);
            }
        }
        let mut writer = TextWriter::new(Vec::new()).line_buffered();
        writer.write_str("one\ntw").await.expect("written");
        assert_eq!((writer.get_ref().expect("idle").as_slice(), writer.unwritten()), (&b"one\ntw"[..], 0));
        writer.write_str("o").await.expect("written");
        assert_eq!((writer.get_ref().expect("idle").len(), writer.unwritten()), (6, 1));
    });
}

/// A stream to write to that takes a byte at a time, and each only at the second poll.
#[derive(Debug, Default)]
struct Slow(Vec<u8>);

impl AsyncWrite for Slow {
    async fn write<B: corering::buf::IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.0.push(buffer.as_slice()[0]);
        (Ok(1), buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn text_of_a_dropped_write_goes_out_once_or_not_at_all() {
    run(async || {
        for polls in 1..6 {
            let mut writer = TextWriter::with_capacity(4, Slow::default()).newline(Newline::CrLf);
            writer.write_str("full").await.expect("written");
            // The mark waits for room, too.
            let mut writer = writer.with_bom();
            for part in 0..20 {
                let text = format!("{part}\n");
                while polled(polls, writer.write_str(&text)).await.is_none() {}
            }
            let written = writer.into_inner().await.expect("written");
            let expected: String = (0..20).map(|part| format!("{part}\r\n")).collect();
            assert_eq!(String::from_utf8(written.0).expect("text"), format!("full\u{feff}{expected}"), "{polls} polls");
        }
    });
}

#[test]
fn a_stream_that_goes_on_after_its_end_is_read_on() {
    run(async || {
        let reader = || TextReader::new(Cursor::new(b"one".to_vec()));
        #[cfg(feature = "encoding")]
        let readers = [reader(), reader().encoding(io::Encoding::for_label(b"latin1").expect("an encoding"))];
        #[cfg(not(feature = "encoding"))]
        let readers = [reader()];
        for mut reader in readers {
            let mut text = String::new();
            for _ in 0..2 {
                reader.read_to_string(&mut text).await.expect("text");
            }
            reader.get_mut().get_mut().extend_from_slice(b" two");
            reader.read_to_string(&mut text).await.expect("text");
            assert_eq!(text, "one two");
        }
    });
}

#[test]
fn a_file_of_text_is_what_was_written() {
    clean(async || {
        let folder = folder();
        let path = folder.join("text");
        let mut writer = TextWriter::new(File::create(&path).await.expect("made")).newline(Newline::CrLf).with_bom();
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number} ends in €")).collect();
        for line in &lines {
            writer.write_str(line).await.expect("written");
            writer.write_str("\n").await.expect("written");
        }
        writer.into_inner().await.expect("written").close().await.expect("closed");
        let mut read = TextReader::new(File::open(&path).await.expect("there")).universal_newlines().lines();
        for line in &lines {
            assert_eq!(read.next_line().await.expect("text").as_ref(), Some(line));
        }
        assert_eq!(read.next_line().await.expect("text"), None);
    });
}

#[cfg(feature = "encoding")]
mod encodings {
    use super::*;
    use corering::io::{EncodeError, Encoding};

    fn named(label: &str) -> &'static Encoding {
        Encoding::for_label(label.as_bytes()).expect("an encoding")
    }

    #[test]
    fn what_was_written_is_read_wherever_it_is_cut() {
        let text = "一行目\nzwei Zeilen\n\nende 終";
        run(async || {
            for label in ["utf-8", "utf-16le", "utf-16be", "gb18030", "shift_jis", "iso-2022-jp", "euc-jp"] {
                let encoding = named(label);
                let mut writer = TextWriter::new(Vec::new()).encoding(encoding).newline(Newline::CrLf);
                for part in text.split_inclusive([' ', '行', 'e']) {
                    writer.write_str(part).await.expect("written");
                }
                let bytes = writer.into_inner().await.expect("written");
                if label == "iso-2022-jp" {
                    assert!(bytes.ends_with(b"\x1b(B"), "the text ends in the first state");
                }
                for (piece, polls) in cuts(&bytes) {
                    let case = format!("{label} by {piece}, {polls} polls");
                    let reader = || TextReader::with_capacity(4, Pieces::of(&bytes, piece)).encoding(encoding);
                    assert_eq!(all(reader(), polls).await.expect("text"), text.replace('\n', "\r\n"), "{case}");
                    assert_eq!(all(reader().universal_newlines(), polls).await.expect("text"), text, "{case}");
                }
            }
        });
    }

    #[test]
    fn a_mark_says_what_it_is() {
        run(async || {
            for (label, said) in [("utf-16be", "utf-16le"), ("utf-16le", "utf-16be"), ("utf-8", "latin1")] {
                let mut writer = TextWriter::new(Vec::new()).encoding(named(label)).with_bom();
                writer.write_str("grün").await.expect("written");
                let bytes = writer.into_inner().await.expect("written");
                for (piece, polls) in cuts(&bytes) {
                    let reader = || TextReader::new(Pieces::of(&bytes, piece));
                    assert_eq!(all(reader().encoding(named(said)), polls).await.expect("text"), "grün", "{label}");
                    for reader in
                        [reader().encoding(named(label)).keep_bom(), reader().keep_bom().encoding(named(label))]
                    {
                        assert_eq!(all(reader, polls).await.expect("text"), "\u{feff}grün", "{label}");
                    }
                }
            }
        });
    }

    #[test]
    fn what_is_no_text_is_named_by_its_offset_in_other_encodings() {
        let broken: &[(&str, &[u8], u64, usize, &str)] = &[
            ("shift_jis", b"ab\x81\x20c", 2, 1, "ab\u{fffd} c"),
            ("euc-jp", b"abc\xff", 3, 1, "abc\u{fffd}"),
            ("utf-16le", b"a\0\0\xd8b\0", 2, 2, "a\u{fffd}b"),
            ("utf-16le", b"a\0b", 2, 1, "a\u{fffd}"),
            ("gb18030", b"\x81\x30\x81", 0, 3, "\u{fffd}"),
        ];
        run(async || {
            for (label, bytes, offset, count, replaced) in broken {
                for (piece, polls) in cuts(bytes) {
                    let case = format!("{label} {bytes:?} by {piece}, {polls} polls");
                    let mut reader = TextReader::new(Pieces::of(bytes, piece)).encoding(named(label));
                    for _ in 0..2 {
                        let error = loop {
                            if let Some(result) = polled(polls, reader.read_to_string(&mut String::new())).await {
                                break result.expect_err("no text");
                            }
                        };
                        assert_eq!(place(&error), (*offset, *count), "{case}");
                    }
                    assert_eq!(all(reader.lossy(), polls).await.expect("read"), *replaced, "{case}");
                }
            }
        });
    }

    #[test]
    fn what_an_encoding_does_not_have_is_named_or_replaced() {
        run(async || {
            let mut writer = TextWriter::new(Vec::new()).encoding(named("iso-2022-jp"));
            writer.write_str("日").await.expect("written");
            let before = writer.unwritten();
            let error = writer.write_str("本ü日").await.expect_err("there is no ü");
            let error = error.get_ref().and_then(|error| error.downcast_ref::<EncodeError>()).expect("named");
            assert_eq!((error.character(), writer.unwritten()), ('ü', before), "nothing was taken");
            let bytes = writer.into_inner().await.expect("written");
            assert_eq!(
                all(TextReader::new(Cursor::new(&bytes[..])).encoding(named("iso-2022-jp")), 1).await.expect("text"),
                "日"
            );

            let mut writer = TextWriter::new(Vec::new()).lossy_encoding(named("iso-2022-jp"));
            writer.write_str("本ü日ü").await.expect("written");
            let bytes = writer.into_inner().await.expect("written");
            let read = all(TextReader::new(Cursor::new(&bytes[..])).encoding(named("iso-2022-jp")), 1).await;
            assert_eq!(read.expect("text"), "本?日?");
        });
    }
}
