//! The keys and their values, and what commands do to them.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::protocol::{Replies, command};

/// A value, and when it ends: in ms since 1970, so that it means the same after a start.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    ends_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: HashMap<Rc<[u8]>, Entry>,
    /// When keys end, the next one first. One that was set anew meanwhile is found out then.
    ends: BinaryHeap<Reverse<(u64, Rc<[u8]>)>>,
    now_ms: Cell<u64>,
    /// The keys that have ended and were removed since somebody asked, as the commands that do it again. Without these a
    /// log would bring them back for whoever comes next.
    pub(crate) ended: Vec<u8>,
}

/// What a command has changed: it goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Nothing,
    /// The command itself says it all.
    AsAsked,
    /// The log was told otherwise already.
    Logged,
}

impl Store {
    pub(crate) fn new() -> Self {
        let store = Self::default();
        store.look_at_clock();
        store
    }

    /// While what happened in the past is done again nothing ends by itself: that is said by the log, too.
    pub(crate) fn stop_clock(&self) {
        self.now_ms.set(0);
    }

    /// For commands that come together one look is enough.
    pub(crate) fn look_at_clock(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.now_ms.set(now.map_or(0, |now| now.as_millis() as u64));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes what has ended, a few at a time, and says when the next one will.
    pub(crate) fn remove_ended(&mut self, most: usize) -> Option<Duration> {
        self.look_at_clock();
        let now = self.now_ms.get();
        for _ in 0..most {
            let Reverse((ends, _)) = self.ends.peek()?;
            if *ends > now {
                return Some(Duration::from_millis(ends - now));
            }
            if let Some(Reverse((_, key))) = self.ends.pop() {
                self.remove_if_ended(&key);
            }
        }
        self.ends.peek().map(|_| Duration::ZERO)
    }

    fn remove_if_ended(&mut self, key: &[u8]) {
        let now = self.now_ms.get();
        let ended = |entry: &Entry| entry.ends_ms.is_some_and(|ends| ends <= now);
        if self.entries.get(key).is_some_and(ended) {
            self.entries.remove(key);
            command(&mut self.ended, &[b"DEL", key]);
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Entry> {
        let now = self.now_ms.get();
        self.entries.get(key).filter(|entry| entry.ends_ms.is_none_or(|ends| ends > now))
    }

    fn set(&mut self, key: &[u8], value: &[u8], ends_ms: Option<u64>) {
        if let Some(ends) = ends_ms {
            self.ends_at(key, ends);
        }
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.value.clear();
                entry.value.extend_from_slice(value);
                entry.ends_ms = ends_ms;
            }
            None => {
                self.entries.insert(key.into(), Entry { value: value.to_vec(), ends_ms });
            }
        }
    }

    fn ends_at(&mut self, key: &[u8], ends_ms: u64) {
        // Of keys that are set anew again and again most are of no use.
        if self.ends.len() > 2 * self.entries.len() + 1000 {
            let ends = |(key, entry): (&Rc<[u8]>, &Entry)| entry.ends_ms.map(|ends| Reverse((ends, key.clone())));
            self.ends = self.entries.iter().filter_map(ends).collect();
        }
        self.ends.push(Reverse((ends_ms, key.into())));
    }

    /// All that there is, as the commands that make it.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, entry) in &self.entries {
            command(&mut out, &[b"SET", key, &entry.value]);
            if let Some(ends) = entry.ends_ms {
                command(&mut out, &[b"PEXPIREAT", key, ends.to_string().as_bytes()]);
            }
        }
        out
    }

    /// Does a command, and answers it. What it changes otherwise than the command says goes to `log`.
    pub(crate) fn execute(&mut self, words: &[&[u8]], replies: &mut Replies, log: &mut Vec<u8>) -> Changed {
        let Some((name, arguments)) = words.split_first() else {
            return Changed::Nothing;
        };
        let mut upper = [0; 16];
        let name = match upper.get_mut(..name.len()) {
            Some(upper) => {
                upper.copy_from_slice(name);
                upper.make_ascii_uppercase();
                &*upper
            }
            None => name,
        };
        match (name, arguments) {
            (b"GET", [key]) => {
                match self.get(key) {
                    Some(entry) => replies.bytes(&entry.value),
                    None => replies.nothing(),
                }
                Changed::Nothing
            }
            (b"SET", [key, value]) => {
                self.set(key, value, None);
                replies.simple("OK");
                Changed::AsAsked
            }
            (b"SET", [key, value, unit, number]) => self.set_for(key, value, unit, number, replies, log),
            (b"DEL", keys @ [_, ..]) => {
                let mut removed = 0;
                for key in keys {
                    self.remove_if_ended(key);
                    removed += i64::from(self.entries.remove(*key).is_some());
                }
                replies.number(removed);
                if removed > 0 { Changed::AsAsked } else { Changed::Nothing }
            }
            (b"EXISTS", keys @ [_, ..]) => {
                replies.number(keys.iter().filter(|key| self.get(key).is_some()).count() as i64);
                Changed::Nothing
            }
            (b"INCR", [key]) => self.add(key, 1, replies),
            (b"DECR", [key]) => self.add(key, -1, replies),
            (b"INCRBY", [key, by]) => match number(by) {
                Some(by) => self.add(key, by, replies),
                None => refused(replies, "ERR value is not an integer or out of range"),
            },
            (b"EXPIRE" | b"PEXPIRE" | b"PEXPIREAT", [key, time]) => self.expire(name, key, time, replies, log),
            (b"PERSIST", [key]) => {
                self.remove_if_ended(key);
                let had = self.entries.get_mut(*key).and_then(|entry| entry.ends_ms.take()).is_some();
                replies.number(i64::from(had));
                if had { Changed::AsAsked } else { Changed::Nothing }
            }
            (b"TTL" | b"PTTL", [key]) => {
                let left = self.get(key).map(|entry| entry.ends_ms.map(|ends| (ends - self.now_ms.get()) as i64));
                replies.number(match left {
                    None => -2,
                    Some(None) => -1,
                    Some(Some(left)) if name == b"TTL" => left.saturating_add(500) / 1000,
                    Some(Some(left)) => left,
                });
                Changed::Nothing
            }
            (b"DBSIZE", []) => {
                self.remove_ended(usize::MAX);
                replies.number(self.len() as i64);
                Changed::Nothing
            }
            (b"FLUSHALL" | b"FLUSHDB", []) => {
                self.entries.clear();
                self.ends.clear();
                replies.simple("OK");
                Changed::AsAsked
            }
            (b"PING", []) => {
                replies.simple("PONG");
                Changed::Nothing
            }
            (b"PING" | b"ECHO", [text]) => {
                replies.bytes(text);
                Changed::Nothing
            }
            // What redis-cli and redis-benchmark ask first.
            (b"COMMAND" | b"CONFIG", _) => {
                replies.array(0);
                Changed::Nothing
            }
            (b"SELECT", [b"0"]) => {
                replies.simple("OK");
                Changed::Nothing
            }
            (
                b"GET" | b"SET" | b"DEL" | b"EXISTS" | b"INCR" | b"DECR" | b"INCRBY" | b"EXPIRE" | b"PEXPIRE"
                | b"PEXPIREAT" | b"PERSIST" | b"TTL" | b"PTTL" | b"DBSIZE" | b"FLUSHALL" | b"FLUSHDB" | b"PING"
                | b"ECHO",
                _,
            ) => {
                let name = name.escape_ascii().to_string().to_lowercase();
                refused(replies, format!("ERR wrong number of arguments for '{name}' command"))
            }
            _ => refused(replies, format!("ERR unknown command '{}'", words[0].escape_ascii())),
        }
    }

    fn set_for(
        &mut self,
        key: &[u8],
        value: &[u8],
        unit: &[u8],
        count: &[u8],
        replies: &mut Replies,
        log: &mut Vec<u8>,
    ) -> Changed {
        let ms = match (unit.to_ascii_uppercase().as_slice(), number(count)) {
            (b"EX", Some(count)) if count > 0 => count.checked_mul(1000),
            (b"PX", Some(count)) if count > 0 => Some(count),
            (b"EX" | b"PX", _) => None,
            _ => return refused(replies, "ERR syntax error"),
        };
        let Some(ends) = ms.and_then(|ms| self.now_ms.get().checked_add_signed(ms)) else {
            return refused(replies, "ERR invalid expire time in 'set' command");
        };
        self.set(key, value, Some(ends));
        command(log, &[b"SET", key, value]);
        command(log, &[b"PEXPIREAT", key, ends.to_string().as_bytes()]);
        replies.simple("OK");
        Changed::Logged
    }

    fn add(&mut self, key: &[u8], by: i64, replies: &mut Replies) -> Changed {
        self.remove_if_ended(key);
        let before = self.get(key).map_or(Some(0), |entry| number(&entry.value));
        let Some(before) = before else {
            return refused(replies, "ERR value is not an integer or out of range");
        };
        let Some(sum) = before.checked_add(by) else {
            return refused(replies, "ERR increment or decrement would overflow");
        };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(sum).as_bytes();
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.value.clear();
                entry.value.extend_from_slice(digits);
            }
            None => self.set(key, digits, None),
        }
        replies.number(sum);
        Changed::AsAsked
    }

    fn expire(&mut self, name: &[u8], key: &[u8], time: &[u8], replies: &mut Replies, log: &mut Vec<u8>) -> Changed {
        let now = self.now_ms.get();
        let ends = number(time).and_then(|time| match name {
            b"EXPIRE" => time.checked_mul(1000).and_then(|ms| now.checked_add_signed(ms)),
            b"PEXPIRE" => now.checked_add_signed(time),
            _ => u64::try_from(time).ok(),
        });
        let Some(ends) = ends else {
            return refused(replies, "ERR value is not an integer or out of range");
        };
        self.remove_if_ended(key);
        let Some(entry) = self.entries.get_mut(key) else {
            replies.number(0);
            return Changed::Nothing;
        };
        entry.ends_ms = Some(ends);
        self.ends_at(key, ends);
        command(log, &[b"PEXPIREAT", key, ends.to_string().as_bytes()]);
        replies.number(1);
        Changed::Logged
    }
}

fn refused(replies: &mut Replies, text: impl std::fmt::Display) -> Changed {
    replies.error(text);
    Changed::Nothing
}

/// A whole number as Redis writes it: without a plus, spaces, or zeros before it.
fn number(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    let mut digits = itoa::Buffer::new();
    (digits.format(number).as_bytes() == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(store: &mut Store, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (mut replies, mut log) = (Replies(Vec::new()), Vec::new());
        store.execute(&words, &mut replies, &mut log);
        String::from_utf8(replies.0).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn commands_answer_as_redis_does() {
        let mut store = Store::new();
        for (line, expected) in [
            ("get a", "$-1|"),
            ("SET a 1", "+OK|"),
            ("GET a", "$1|1|"),
            ("INCR a", ":2|"),
            ("INCRBY a -5", ":-3|"),
            ("DECR new", ":-1|"),
            ("SET a 9223372036854775807", "+OK|"),
            ("INCR a", "-ERR increment or decrement would overflow|"),
            ("SET a 01", "+OK|"),
            ("INCR a", "-ERR value is not an integer or out of range|"),
            ("EXISTS a b new", ":2|"),
            ("TTL a", ":-1|"),
            ("TTL b", ":-2|"),
            ("EXPIRE a 100", ":1|"),
            ("TTL a", ":100|"),
            ("PERSIST a", ":1|"),
            ("TTL a", ":-1|"),
            ("EXPIRE b 100", ":0|"),
            ("EXPIRE a -1", ":1|"),
            ("GET a", "$-1|"),
            ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command|"),
            ("SET a 1 EX 10", "+OK|"),
            ("TTL a", ":10|"),
            ("SET a 2", "+OK|"),
            ("TTL a", ":-1|"),
            ("SET a 1 NX 10", "-ERR syntax error|"),
            ("DEL a b new", ":2|"),
            ("DBSIZE", ":0|"),
            ("PING", "+PONG|"),
            ("PING x", "$1|x|"),
            ("GET", "-ERR wrong number of arguments for 'get' command|"),
            ("NOPE x", "-ERR unknown command 'NOPE'|"),
        ] {
            assert_eq!(said(&mut store, line), expected, "{line}");
        }
    }

    #[test]
    fn ends_of_keys_that_are_set_anew_take_no_room() {
        let mut store = Store::new();
        for _ in 0..10_000 {
            said(&mut store, "SET a 1 EX 1000");
        }
        assert!(store.ends.len() < 2000, "{}", store.ends.len());
        assert_eq!(said(&mut store, "TTL a"), ":1000|");
    }

    #[test]
    fn a_key_that_has_ended_begins_anew_and_that_is_logged() {
        let mut store = Store::new();
        said(&mut store, "SET a 5 PX 10");
        store.now_ms.set(store.now_ms.get() + 100);
        assert_eq!(said(&mut store, "INCR a"), ":1|");
        assert_eq!(said(&mut store, "TTL a"), ":-1|");
        assert_eq!(store.ended, b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
    }

    #[test]
    fn a_snapshot_makes_the_same_again() {
        let mut store = Store::new();
        for line in ["SET a 1", "SET b 2 PX 100000", "INCR c"] {
            said(&mut store, line);
        }
        let (snapshot, mut again) = (store.snapshot(), Store::new());
        let (mut parser, mut at) = (crate::protocol::Parser::default(), 0);
        while let Some(len) = parser.parse(&snapshot[at..], Default::default()).unwrap() {
            let found: Vec<&[u8]> = parser.words.iter().map(|word| &snapshot[at..][word.clone()]).collect();
            again.execute(&found, &mut Replies(Vec::new()), &mut Vec::new());
            at += len;
        }
        for line in ["GET a", "GET b", "GET c", "TTL b", "DBSIZE"] {
            assert_eq!(said(&mut again, line), said(&mut store, line), "{line}");
        }
    }
}
