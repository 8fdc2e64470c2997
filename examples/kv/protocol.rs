//! The protocol of Redis (RESP2), as far as a server needs it: commands come in, replies go out.
//!
//! A command is an array of byte strings, or a line of words that a person has typed:
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$4\r\nname\r\n        or        GET name\r\n
//! ```

use std::fmt;
use std::ops::Range;

/// No number that is meant has more.
const MOST_DIGITS: usize = 20;
/// An array that is none.
const NULL: &[u8] = b"*-1\r\n";

/// The most that a client may send: what is longer is refused before any memory is taken for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one string.
    pub(crate) string: usize,
    /// Strings of one command.
    pub(crate) strings: usize,
    /// Bytes of one command.
    pub(crate) command: usize,
    /// Bytes of a line, without its end.
    pub(crate) line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { string: 64 << 20, strings: 64 * 1024, command: 128 << 20, line: 64 * 1024 }
    }
}

/// What is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

fn malformed<T>(text: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(text.into()))
}

/// Reads commands. Of one whose end has not come it keeps how far it has got, so that a client that sends it byte by byte
/// costs no more than others.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Where the strings of the command are, from its beginning.
    pub(crate) words: Vec<Range<usize>>,
    /// Strings that are to come, once that is known.
    left: Option<usize>,
    /// Up to where the command has been read.
    at: usize,
}

impl Parser {
    /// Reads the command that `input` begins with, and says how long it is. `None` if there is more to come: then it is to be
    /// asked again with more. An empty command has no words.
    pub(crate) fn parse(&mut self, input: &[u8], limits: Limits) -> Result<Option<usize>, Malformed> {
        if self.at == 0 {
            self.words.clear();
        }
        let parsed = match input.first() {
            None => Ok(None),
            Some(b'*') => self.parse_array(input, limits),
            Some(_) => parse_line(input, &mut self.words, limits),
        };
        if !matches!(parsed, Ok(None)) {
            (self.left, self.at) = (None, 0);
        }
        parsed
    }

    fn parse_array(&mut self, input: &[u8], limits: Limits) -> Result<Option<usize>, Malformed> {
        let mut left = match self.left {
            Some(left) => left,
            None => {
                let null = &input[..input.len().min(NULL.len())];
                if NULL.starts_with(null) {
                    // An empty command, or the beginning of one.
                    return Ok((null.len() == NULL.len()).then_some(NULL.len()));
                }
                let Some((count, at)) = parse_number(input, 1, "the number of strings")? else {
                    return Ok(None);
                };
                if count > limits.strings {
                    let most = limits.strings;
                    return malformed(format!("invalid multibulk length: {count} strings, and {most} are the most"));
                }
                (self.left, self.at) = (Some(count), at);
                count
            }
        };
        while left > 0 {
            let at = self.at;
            match input.get(at) {
                None => return Ok(None),
                Some(b'$') => {}
                Some(other) => return malformed(format!("expected '$', got '{}'", other.escape_ascii())),
            }
            let Some((len, start)) = parse_number(input, at + 1, "the length of a string")? else {
                return Ok(None);
            };
            if len > limits.string {
                return malformed(format!("invalid bulk length: {len} bytes, and {} are the most", limits.string));
            }
            let end = start + len;
            if end > limits.command {
                return malformed(format!("the command is longer than {} bytes", limits.command));
            }
            match input.get(end..end + 2) {
                None => return Ok(None),
                Some(b"\r\n") => {}
                Some(_) => return malformed("a string is longer than its length says"),
            }
            self.words.push(start..end);
            self.at = end + 2;
            left -= 1;
            self.left = Some(left);
        }
        Ok(Some(self.at))
    }
}

/// A number from `start` to the end of the line, and where the next line begins.
fn parse_number(input: &[u8], start: usize, what: &str) -> Result<Option<(usize, usize)>, Malformed> {
    let mut number = 0_usize;
    for (at, byte) in input.iter().enumerate().skip(start) {
        match byte {
            b'0'..=b'9' => match number.checked_mul(10).and_then(|ten| ten.checked_add(usize::from(byte - b'0'))) {
                Some(next) => number = next,
                None => return malformed(format!("{what} is too large")),
            },
            b'\r' if at > start => {
                return match input.get(at + 1) {
                    None => Ok(None),
                    Some(b'\n') => Ok(Some((number, at + 2))),
                    Some(_) => malformed(format!("{what} is followed by no end of line")),
                };
            }
            other => return malformed(format!("{what} has a '{}' in it", other.escape_ascii())),
        }
        if at - start > MOST_DIGITS {
            return malformed(format!("{what} does not end"));
        }
    }
    Ok(None)
}

fn parse_line(input: &[u8], words: &mut Vec<Range<usize>>, limits: Limits) -> Result<Option<usize>, Malformed> {
    // With its end, it has two bytes more.
    let most = limits.line + 2;
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(most)]) else {
        if input.len() >= most {
            return malformed(format!("too big inline request: no end of line within {} bytes", limits.line));
        }
        return Ok(None);
    };
    let mut start = None;
    for (at, byte) in input[..end].iter().enumerate() {
        match (byte.is_ascii_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    words.extend(start.map(|from| from..end));
    Ok(Some(end + 1))
}

/// What is answered.
pub(crate) struct Replies(pub(crate) Vec<u8>);

impl Replies {
    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub(crate) fn error(&mut self, text: impl fmt::Display) {
        // A reply is one line, whatever the client has sent.
        let text: String = text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.line(b'-', text.as_bytes());
    }

    pub(crate) fn number(&mut self, number: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(b':', digits.format(number).as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut digits = itoa::Buffer::new();
        self.line(b'$', digits.format(bytes.len()).as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn nothing(&mut self) {
        self.0.extend_from_slice(b"$-1\r\n");
    }

    pub(crate) fn array(&mut self, count: usize) {
        let mut digits = itoa::Buffer::new();
        self.line(b'*', digits.format(count).as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(text);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Writes a command as a client sends it.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    let mut replies = Replies(std::mem::take(out));
    replies.array(words.len());
    for word in words {
        replies.bytes(word);
    }
    *out = replies.0;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(input: &[u8]) -> Result<Option<(Vec<&[u8]>, usize)>, Malformed> {
        let mut parser = Parser::default();
        let len = parser.parse(input, Limits::default())?;
        Ok(len.map(|len| (parser.words.into_iter().map(|word| &input[word]).collect(), len)))
    }

    #[test]
    fn commands_are_arrays_or_lines() {
        assert_eq!(parsed(b"*2\r\n$3\r\nGET\r\n$2\r\na\n\r\nrest").unwrap(), Some((vec![&b"GET"[..], b"a\n"], 21)));
        assert_eq!(parsed(b" GET  a \r\nrest").unwrap(), Some((vec![&b"GET"[..], b"a"], 10)));
        assert_eq!(parsed(b"PING\n").unwrap(), Some((vec![&b"PING"[..]], 5)));
        for empty in [&b"\r\n"[..], b"*0\r\n", b"*-1\r\n"] {
            assert_eq!(parsed(empty).unwrap(), Some((vec![], empty.len())));
        }
    }

    #[test]
    fn what_is_no_command_is_refused_and_what_is_too_long_before_it_has_come() {
        for wrong in [
            &b"*x\r\n"[..],
            b"*1\r\n+x\r\n",
            b"*1\r\n$-2\r\n",
            b"*1\r\n$-1\r\n\r\n",
            b"*-2\r\n",
            b"*1\r\n$1\r\nxy\r\n",
            b"*1\rx",
            b"*99999999999999999999999\r\n",
            b"*65537\r\n",
            b"*1\r\n$67108865\r\n",
            b"*1\r\n$0000000000000000000000001\r\n",
        ] {
            assert!(parsed(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(parsed(&[b'x'; 70_000]).is_err());
        assert!(parsed(&[b'x'; 60_000]).unwrap().is_none());
    }

    /// A line of the greatest length, and an array that is none: each of their beginnings waits for the rest.
    #[test]
    fn what_is_cut_anywhere_is_what_it_would_be_whole() {
        let longest = [&vec![b'x'; Limits::default().line][..], b"\r\n"].concat();
        for whole in [&longest[..], NULL, b"*0\r\n", b"*1\r\n$1\r\nx\r\n"] {
            assert_eq!(parsed(whole).unwrap().map(|(_, len)| len), Some(whole.len()));
            for cut in (0..whole.len()).rev().take(10) {
                assert_eq!(parsed(&whole[..cut]), Ok(None), "{cut} of {} bytes", whole.len());
            }
        }
    }

    proptest! {
        #[test]
        fn every_command_is_read_back_wherever_it_is_cut(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let mut bytes = Vec::new();
            command(&mut bytes, &words);
            let mut parser = Parser::default();
            for cut in 0..bytes.len() {
                prop_assert_eq!(parsed(&bytes[..cut]).unwrap(), None);
                prop_assert_eq!(parser.parse(&bytes[..cut], Limits::default()).unwrap(), None);
            }
            prop_assert_eq!(parser.parse(&bytes, Limits::default()).unwrap(), Some(bytes.len()));
            let found: Vec<&[u8]> = parser.words.iter().map(|word| &bytes[word.clone()]).collect();
            prop_assert_eq!(&found, &words);
            let len = bytes.len();
            bytes.extend_from_slice(b"*1\r\n");
            prop_assert_eq!(parsed(&bytes).unwrap(), Some((words, len)));
        }

        #[test]
        fn whatever_comes_is_a_command_or_more_or_an_error(bytes in prop::collection::vec(prop::sample::select(b"*$-+1290\r\n GETx\0\xff".to_vec()), 0..100)) {
            if let Ok(Some((words, len))) = parsed(&bytes) {
                prop_assert!(len <= bytes.len() && len > 0);
                prop_assert!(words.iter().map(|word| word.len()).sum::<usize>() <= len);
            }
        }
    }
}
