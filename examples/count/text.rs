//! Counting as wc counts.

use unicode_width::UnicodeWidthChar;

/// What is counted. Bytes always are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) lines: bool,
    pub(crate) words: bool,
    pub(crate) chars: bool,
    pub(crate) longest: bool,
    /// Characters are UTF-8, not bytes.
    pub(crate) utf8: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) chars: u64,
    pub(crate) bytes: u64,
    pub(crate) longest: u64,
}

/// Counts what comes part by part.
#[derive(Debug)]
pub(crate) struct Counter {
    wanted: Wanted,
    counts: Counts,
    in_word: bool,
    column: u64,
    /// The beginning of a character whose end has not come.
    rest: Vec<u8>,
}

/// So many bytes are looked at together: the sums of each stay below 256.
const BLOCK: usize = 192;

impl Counter {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, counts: Counts::default(), in_word: false, column: 0, rest: Vec::new() }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.counts.bytes += bytes.len() as u64;
        let Wanted { lines, words, chars, longest, utf8 } = self.wanted;
        if longest || (utf8 && (words || chars)) {
            self.add_text(bytes);
            return;
        }
        if words {
            self.add_words(bytes);
        } else if lines {
            self.counts.lines += bytecount::count(bytes, b'\n') as u64;
        }
    }

    pub(crate) fn end(mut self) -> Counts {
        let rest = std::mem::take(&mut self.rest);
        self.one_by_one(&rest, true);
        self.counts.longest = self.counts.longest.max(self.column);
        if !self.wanted.utf8 {
            self.counts.chars = self.counts.bytes;
        }
        self.counts
    }

    /// Lines and words of bytes.
    fn add_words(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            self.add_block(block);
        }
    }

    /// Of a block with nothing in it but blanks and what is printed, words begin where the one follows the other: that
    /// many bytes are compared at once.
    fn add_block(&mut self, block: &[u8]) {
        let mut begins = 0_u8;
        let mut lines = 0_u8;
        let mut strange = 0_u8;
        let first = block.first().is_some_and(|byte| is_printed(*byte));
        for (before, byte) in block.iter().zip(&block[1..]) {
            begins += u8::from(!is_printed(*before) & is_printed(*byte));
        }
        for byte in block {
            lines += u8::from(*byte == b'\n');
            strange |= u8::from(!is_printed(*byte) & !is_blank(*byte));
        }
        self.counts.lines += u64::from(lines);
        if strange == 0 {
            self.counts.words += u64::from(begins) + u64::from(first && !self.in_word);
            self.in_word = block.last().map_or(self.in_word, |byte| is_printed(*byte));
        } else {
            for byte in block {
                // What is neither belongs to what it is in.
                let begins = is_printed(*byte) & !self.in_word;
                self.counts.words += u64::from(begins);
                self.in_word = (self.in_word | begins) & !is_blank(*byte);
            }
        }
    }

    /// Text of UTF-8, and whatever needs columns.
    fn add_text(&mut self, bytes: &[u8]) {
        if self.rest.is_empty() {
            self.text(bytes);
        } else {
            let mut joined = std::mem::take(&mut self.rest);
            joined.extend_from_slice(bytes);
            self.text(&joined);
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        if self.wanted.longest {
            self.one_by_one(bytes, false);
            return;
        }
        let mut blocks = bytes;
        while !blocks.is_empty() {
            let (block, after) = blocks.split_at(blocks.len().min(BLOCK));
            if block.is_ascii() {
                self.add_block(block);
                self.counts.chars += block.len() as u64;
                blocks = after;
                continue;
            }
            // As far as the next character that is ASCII, so that no other is cut.
            let more = after.iter().position(u8::is_ascii).unwrap_or(after.len());
            let (block, after) = blocks.split_at(block.len() + more);
            self.one_by_one(block, !after.is_empty());
            blocks = after;
        }
    }

    /// Character by character. What is at the end and no character may become one, unless it is `whole`.
    fn one_by_one(&mut self, bytes: &[u8], whole: bool) {
        if !self.wanted.utf8 {
            bytes.iter().for_each(|byte| self.one(if byte.is_ascii() { Some(char::from(*byte)) } else { None }));
            return;
        }
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let length = match decode(bytes) {
                Decoded::Character(code, length) => {
                    self.counts.chars += 1;
                    self.one(char::from_u32(code));
                    length
                }
                Decoded::Cut if !whole => {
                    self.rest = bytes.to_vec();
                    return;
                }
                // A byte that begins no character is nothing but a byte.
                Decoded::Cut | Decoded::Wrong => 1,
            };
            bytes = &bytes[length..];
        }
    }

    /// Takes in a character, or a byte that is none.
    fn one(&mut self, character: Option<char>) {
        let Some(character) = character else {
            return;
        };
        match character {
            '\n' | '\r' | '\x0c' => {
                self.counts.lines += u64::from(character == '\n');
                self.counts.longest = self.counts.longest.max(self.column);
                self.column = 0;
                self.in_word = false;
            }
            '\t' => {
                self.column += 8 - self.column % 8;
                self.in_word = false;
            }
            ' ' => {
                self.column += 1;
                self.in_word = false;
            }
            '\x0b' => self.in_word = false,
            other if other.is_control() || is_none(other) => {}
            '\u{2028}' | '\u{2029}' => {}
            other => {
                self.column += width(other);
                if other.is_whitespace() || other == '\u{2060}' {
                    self.in_word = false;
                } else {
                    self.counts.words += u64::from(!self.in_word);
                    self.in_word = true;
                }
            }
        }
    }
}

enum Decoded {
    /// Its number, and its length.
    Character(u32, usize),
    /// What is there could be the beginning of one.
    Cut,
    Wrong,
}

/// The first character, as the C library takes it: what Unicode has given up since, beyond U+10FFFF, is one as well.
fn decode(bytes: &[u8]) -> Decoded {
    let first = bytes[0];
    let (length, least) = match first {
        0..0x80 => return Decoded::Character(u32::from(first), 1),
        0xc2..0xe0 => (2, 0x80),
        0xe0..0xf0 => (3, 0x800),
        0xf0..0xf8 => (4, 0x1_0000),
        0xf8..0xfc => (5, 0x20_0000),
        0xfc..0xfe => (6, 0x400_0000),
        0x80..0xc2 | 0xfe.. => return Decoded::Wrong,
    };
    let mut code = u32::from(first) & (0x7f >> length);
    for position in 1..length {
        match bytes.get(position) {
            Some(byte @ 0x80..0xc0) => code = code << 6 | u32::from(byte & 0x3f),
            Some(_) => return Decoded::Wrong,
            None => return Decoded::Cut,
        }
    }
    let is_surrogate = (0xd800..0xe000).contains(&code);
    if code < least || is_surrogate { Decoded::Wrong } else { Decoded::Character(code, length) }
}

/// Whether Unicode says that it will never be a character.
fn is_none(character: char) -> bool {
    character as u32 & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&character)
}

/// How many columns a character takes on a terminal.
fn width(character: char) -> u64 {
    character.width().unwrap_or(0) as u64
}

fn is_printed(byte: u8) -> bool {
    byte.wrapping_sub(b'!') <= b'~' - b'!'
}

fn is_blank(byte: u8) -> bool {
    (byte == b' ') | (byte.wrapping_sub(b'\t') <= b'\r' - b'\t')
}
