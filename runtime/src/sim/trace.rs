//! What has happened, step by step: the last steps to be read, all of them as one number to be compared.

use std::collections::VecDeque;
use std::fmt;

/// How many steps are kept to be read.
const KEPT: usize = 256;

/// One step of the world.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Since the world began.
    pub(crate) at_ns: u64,
    /// Which core of which host; `None` for what is outside of them.
    pub(crate) place: Option<(u16, u16)>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A request was taken in: its name, its number, how many bytes it is about, and what it is asked of.
    Taken { name: &'static str, number: u64, size: u64, of: Object },
    /// A completion was posted.
    Posted { name: &'static str, number: u64, result: i32, flags: u32 },
    /// A core ran. That is part of the hash, and not shown.
    Turn,
    /// Somebody outside did something.
    Control(String),
}

/// What a request is asked of.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Nothing,
    /// A place in the host's table of descriptors.
    Descriptor(i32),
    /// A place in the ring's table.
    Direct(u32),
    Path(Box<str>),
}

pub(crate) struct Trace {
    last: VecDeque<Step>,
    hash: u64,
    steps: u64,
    closed: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { last: VecDeque::with_capacity(KEPT), hash: 0xcbf2_9ce4_8422_2325, steps: 0, closed: false }
    }

    /// The run is over: what its end brings about is no part of it.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn add(&mut self, step: Step) {
        if self.closed {
            return;
        }
        self.steps += 1;
        self.mix(step.at_ns);
        self.mix(step.place.map_or(u64::MAX, |(host, core)| u64::from(host) << 16 | u64::from(core)));
        match &step.what {
            What::Taken { name, number, size, of } => {
                self.mix_text(name);
                self.mix(*number);
                self.mix(*size);
                match of {
                    Object::Nothing => {}
                    Object::Descriptor(number) => self.mix(*number as u64),
                    Object::Direct(place) => self.mix(u64::from(*place)),
                    Object::Path(path) => self.mix_text(path),
                }
            }
            What::Posted { name, number, result, flags } => {
                self.mix_text(name);
                self.mix(*number);
                self.mix(u64::from(*result as u32) << 32 | u64::from(*flags));
            }
            What::Turn => {}
            What::Control(text) => self.mix_text(text),
        }
        if matches!(step.what, What::Turn) {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// One number for all steps so far: different ones give different numbers, but for a chance of one in 2^64.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The last steps, oldest first.
    pub(crate) fn last(&self, most: usize) -> impl Iterator<Item = &Step> {
        self.last.iter().skip(self.last.len().saturating_sub(most))
    }

    /// FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo), by words, with the high half folded down.
    fn mix(&mut self, word: u64) {
        let mixed = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3 | 1 << 63);
        self.hash = mixed ^ mixed >> 32;
    }

    fn mix_text(&mut self, text: &str) {
        for word in text.as_bytes().chunks(8) {
            self.mix(word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Taken { name, number, size, of } => {
                write!(f, "{name} #{number}")?;
                if *size > 0 {
                    write!(f, " of {size} bytes")?;
                }
                match of {
                    Object::Nothing => Ok(()),
                    Object::Descriptor(number) => write!(f, " on descriptor {number}"),
                    Object::Direct(place) => write!(f, " on direct descriptor {place}"),
                    Object::Path(path) => write!(f, " of {path}"),
                }
            }
            What::Posted { name, number, result, flags } => {
                write!(f, "{name} #{number} -> ")?;
                if *result < 0 {
                    write!(f, "{}", std::io::Error::from_raw_os_error(-result))?;
                } else {
                    write!(f, "{result}")?;
                }
                if flags & super::F_MORE != 0 { f.write_str(", more") } else { Ok(()) }
            }
            What::Turn => f.write_str("runs"),
            What::Control(text) => f.write_str(text),
        }
    }
}
