//! Rooms: who is in, and what is said to whom.
//!
//! Invariant: nothing waits here. A message is put to each member at once, or, if that member has fallen too far behind,
//! not at all, and the member is dropped: so one who does not read holds nobody up, and holds no more memory than its
//! queue has room for. The text of a message is there once, however many it goes to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use corering::sync::Event;
use serde::Serialize;
use tungstenite::Utf8Bytes;

/// How long names may be, in characters.
const NAME: usize = 32;

/// All rooms that somebody is in.
pub(crate) struct Rooms {
    rooms: RefCell<HashMap<String, Rc<Room>>>,
    /// How many messages a member may fall behind.
    behind: usize,
}

#[derive(Default)]
struct Room {
    members: RefCell<BTreeMap<String, Rc<Member>>>,
}

/// What waits for a member.
#[derive(Default)]
struct Member {
    waiting: RefCell<VecDeque<Utf8Bytes>>,
    news: Event,
    is_lost: Cell<bool>,
}

/// What members are told.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Told<'a> {
    Here(Vec<&'a str>),
    Joined(&'a str),
    Left(&'a str),
    Said { from: &'a str, text: &'a str },
}

/// A member's place in a room, until it is dropped.
pub(crate) struct Seat {
    rooms: Rc<Rooms>,
    room: Rc<Room>,
    room_name: String,
    name: String,
    member: Rc<Member>,
}

/// Whether that is a name of a room, or of somebody.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME && !text.chars().any(char::is_control)
}

impl Rooms {
    pub(crate) fn new(behind: usize) -> Self {
        Self { rooms: RefCell::default(), behind }
    }

    /// A place in a room, which is made for the first. `None`, if somebody there has that name.
    pub(crate) fn enter(self: &Rc<Self>, room_name: &str, name: &str) -> Option<Seat> {
        let room = Rc::clone(self.rooms.borrow_mut().entry(room_name.to_owned()).or_default());
        if room.members.borrow().contains_key(name) {
            return None;
        }
        room.tell(&Told::Joined(name), self.behind);
        let member = Rc::<Member>::default();
        room.members.borrow_mut().insert(name.to_owned(), Rc::clone(&member));
        let here = text_of(&Told::Here(room.members.borrow().keys().map(String::as_str).collect()));
        member.tell(&here, self.behind);
        let (room_name, name) = (room_name.to_owned(), name.to_owned());
        Some(Seat { rooms: Rc::clone(self), room, room_name, name, member })
    }
}

impl Room {
    fn tell(&self, told: &Told<'_>, behind: usize) {
        let text = text_of(told);
        for member in self.members.borrow().values() {
            member.tell(&text, behind);
        }
    }
}

impl Member {
    fn tell(&self, text: &Utf8Bytes, behind: usize) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < behind {
            waiting.push_back(text.clone());
        } else {
            self.is_lost.set(true);
        }
        drop(waiting);
        self.news.set();
    }
}

impl Seat {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Says something to all in the room, oneself among them.
    pub(crate) fn say(&self, text: &str) {
        self.room.tell(&Told::Said { from: &self.name, text }, self.rooms.behind);
    }

    /// Waits until there is something to take.
    pub(crate) async fn news(&self) {
        self.member.news.wait().await;
    }

    /// What has been said since.
    pub(crate) fn take(&self) -> VecDeque<Utf8Bytes> {
        self.member.news.clear();
        self.member.waiting.take()
    }

    /// Whether something was not kept for this member, since too much waited for it already.
    pub(crate) fn is_lost(&self) -> bool {
        self.member.is_lost.get()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.members.borrow_mut().remove(&self.name);
        if self.room.members.borrow().is_empty() {
            self.rooms.rooms.borrow_mut().remove(&self.room_name);
        } else {
            self.room.tell(&Told::Left(&self.name), self.rooms.behind);
        }
    }
}

fn text_of(told: &Told<'_>) -> Utf8Bytes {
    serde_json::to_string(told).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")).into()
}
