//! The whole of a world's kernels: hosts, rings, requests, network and clock. One thread owns it.
//!
//! ```text
//! Ring::enter --> take_in --> begin --> attempt --> post            at once, in the order of submission
//!                                |         |
//!                                |         +--> Polling --readiness--> Due --next enter--> attempt ..
//!                                +--> Queued --a worker is free--> Running --its time is over--> Due --> post
//! advance_to(t): network, then workers, in the order of time
//! ```
//!
//! Invariant: a request is in `requests` from when it is taken in until its final completion has been posted, and
//! holds the open file that it is about; so nothing is closed or used again under it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::IpAddr;

use slab::Slab;

use super::chime::Chime;
use super::host::{self, File, Host, Open};
use super::kernel::Kernel;
use super::net::{Network, SocketId};
use super::place::Bell;
use super::queues::Queues;
use super::request::Pending;
use super::trace::{Step, Trace, What};
use super::{Answer, Errno, HostId};
use crate::sys::random::Random;

/// The clock does not begin at 0, which stands for a clock that runs.
pub(crate) const BEGINNING_NS: u64 = 1_000_000_000_000;

pub(crate) struct State {
    pub(crate) now_ns: u64,
    /// Draws orders and liberties.
    pub(crate) random: Random,
    /// Draws what programs ask for.
    pub(super) for_programs: Random,
    /// Nothing is drawn: what happens first comes first.
    pub(crate) in_order: bool,
    pub(crate) kernel: Kernel,
    pub(crate) hosts: Vec<Host>,
    pub(super) rings: Vec<Queues>,
    pub(super) opens: Slab<Open>,
    pub(super) sockets: BTreeMap<SocketId, usize>,
    pub(crate) network: Network,
    pub(super) requests: Slab<Pending>,
    pub(super) numbers: u64,
    /// Open bells, to be looked at.
    pub(super) bells: Vec<Bell>,
    events: BinaryHeap<Reverse<Event>>,
    event_numbers: u64,
    pub(crate) trace: Trace,
    fatal: Option<String>,
    changed: Vec<SocketId>,
}

/// Something that a request is to do at its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_ns: u64,
    /// Of several at the same time: drawn, or else in the order of their making.
    tie: u64,
    number: u64,
    request: usize,
    /// So that an event of a request that is over does not hit another.
    of: u64,
}

impl State {
    pub(crate) fn new(seed: u64, in_order: bool) -> Self {
        let mut random = Random::new(seed);
        let mut network = Network::new(random.fork());
        network.set_in_order(in_order);
        Self {
            now_ns: BEGINNING_NS,
            for_programs: random.fork(),
            random,
            in_order,
            kernel: if in_order { Kernel::plain() } else { Kernel::new() },
            hosts: Vec::new(),
            rings: Vec::new(),
            opens: Slab::new(),
            sockets: BTreeMap::new(),
            network,
            requests: Slab::new(),
            numbers: 0,
            bells: Vec::new(),
            events: BinaryHeap::new(),
            event_numbers: 0,
            trace: Trace::new(),
            fatal: None,
            changed: Vec::new(),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// How many requests have been taken in.
    pub(crate) fn operations(&self) -> u64 {
        self.numbers
    }

    /// A number for the program.
    pub(crate) fn draw(&mut self) -> u64 {
        self.for_programs.next()
    }

    /// What a core draws the order of its tasks from.
    pub(crate) fn draw_for_core(&mut self) -> u64 {
        self.random.next()
    }

    /// Whether the kernel does something that it may do.
    pub(super) fn takes_liberty(&mut self, liberty: impl Fn(&Kernel) -> f64) -> bool {
        self.random.chance(liberty(&self.kernel))
    }

    /// The run cannot go on. The first reason counts.
    pub(crate) fn fail(&mut self, reason: String) {
        self.fatal.get_or_insert(reason);
    }

    pub(crate) fn fatal(&mut self) -> Option<String> {
        if self.fatal.is_none() && self.bells().any(Chime::was_touched_from_outside) {
            self.fail(
                "a task was woken from another thread: a world has only one; use tasks of its own instead of threads"
                    .to_owned(),
            );
        }
        self.fatal.clone()
    }

    fn bells(&self) -> impl Iterator<Item = &Chime> {
        self.bells.iter().filter_map(|bell| match &self.opens.get(bell.open)?.file {
            File::Bell { chime, .. } => Some(chime),
            File::Socket(_) | File::Disk { .. } => None,
        })
    }

    pub(crate) fn note(&mut self, place: Option<(u16, u16)>, what: What) {
        let at_ns = self.now_ns - BEGINNING_NS;
        self.trace.add(Step { at_ns, place, what });
    }

    // Hosts and what is open on them.

    pub(crate) fn add_host(&mut self, name: String, address: IpAddr) -> HostId {
        let id = HostId(self.hosts.len() as u16);
        self.network.add_host(id, address);
        self.hosts.push(Host::new(name, address));
        id
    }

    pub(crate) fn host(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[usize::from(id.0)]
    }

    /// Opens a file for a program; the number is what it knows it by.
    pub(super) fn open(&mut self, host: HostId, file: File) -> Answer<i32> {
        let most = self.host(host).most_descriptors;
        self.open_below(host, file, most)
    }

    /// What the runtime itself needs is there whatever the host's limit is.
    pub(super) fn open_unlimited(&mut self, host: HostId, file: File) -> i32 {
        self.open_below(host, file, usize::MAX).unwrap_or(-1)
    }

    fn open_below(&mut self, host: HostId, file: File, most: usize) -> Answer<i32> {
        let socket = match &file {
            File::Socket(socket) => Some(*socket),
            File::Disk { .. } | File::Bell { .. } => None,
        };
        let open = self.opens.insert(Open { host, references: 1, file, waiting: Vec::new(), locked: None });
        match self.host(host).install(open, most) {
            Ok(place) => {
                if let Some(socket) = socket {
                    self.sockets.insert(socket, open);
                }
                Ok(host::number(host, place))
            }
            Err(error) => {
                let open = self.opens.remove(open);
                self.close_file(host, &open.file);
                Err(error)
            }
        }
    }

    /// What a number of the program's stands for.
    pub(super) fn find(&mut self, host: HostId, number: i32) -> Answer<usize> {
        match host::place(number) {
            Some((owner, place)) if owner == host => self.host(host).installed(place),
            Some((owner, _)) => {
                let text = format!(
                    "host '{}' uses a descriptor of host '{}': what is open on a machine stays there",
                    self.hosts[usize::from(host.0)].name,
                    self.hosts.get(usize::from(owner.0)).map_or("?", |owner| owner.name.as_str())
                );
                self.fail(text);
                Err(Errno(libc::EBADF))
            }
            None if number >= 0 => {
                self.fail(format!(
                    "descriptor {number} of the real system was used in a simulated world: open sockets and files \
                     there with corering's own"
                ));
                Err(Errno(libc::EBADF))
            }
            None => Err(Errno(libc::EBADF)),
        }
    }

    /// The program gives a number back.
    pub(super) fn close(&mut self, host: HostId, number: i32) -> Answer<()> {
        let (_, place) = host::place(number).filter(|(owner, _)| *owner == host).ok_or(Errno(libc::EBADF))?;
        let open = self.host(host).uninstall(place)?;
        self.release(open);
        Ok(())
    }

    pub(super) fn release(&mut self, open: usize) {
        let file = &mut self.opens[open];
        file.references -= 1;
        if file.references > 0 {
            return;
        }
        let Open { host, file, .. } = self.opens.remove(open);
        self.close_file(host, &file);
    }

    pub(super) fn close_file(&mut self, host: HostId, file: &File) {
        match file {
            File::Socket(socket) => {
                self.sockets.remove(socket);
                self.network.close(*socket, self.now_ns);
                self.look_at_network();
            }
            File::Disk { inode, .. } => {
                let inode = *inode;
                self.host(host).disk.close(inode);
            }
            File::Bell { .. } => {}
        }
    }

    // Time.

    /// When something happens next by itself.
    pub(crate) fn next_event_ns(&self) -> Option<u64> {
        let own = self.events.peek().map(|event| event.0.at_ns);
        [own, self.network.next_event_ns()].into_iter().flatten().min()
    }

    /// Lets time pass, and what is due by then happen.
    pub(crate) fn advance_to(&mut self, to_ns: u64) {
        loop {
            let next = self.next_event_ns().filter(|next| *next <= to_ns);
            self.now_ns = self.now_ns.max(next.unwrap_or(to_ns));
            if next.is_none() {
                return;
            }
            self.network.advance(self.now_ns);
            self.look_at_network();
            while let Some(Reverse(event)) = self.events.peek().copied() {
                if event.at_ns > self.now_ns {
                    break;
                }
                self.events.pop();
                if self.requests.get(event.request).is_some_and(|request| request.number == event.of) {
                    self.time_has_come(event.request);
                }
            }
        }
    }

    /// A core has run.
    pub(crate) fn pass_turn(&mut self) {
        let ns = self.random.within(self.kernel.turn_ns.clone());
        self.advance_to(self.now_ns + ns);
    }

    /// Has a request be looked at again after that time.
    pub(super) fn in_ns(&mut self, after_ns: u64, request: usize) {
        let tie = if self.in_order { 0 } else { self.random.next() };
        self.event_numbers += 1;
        let of = self.requests[request].number;
        let number = self.event_numbers;
        self.events.push(Reverse(Event { at_ns: self.now_ns.saturating_add(after_ns), tie, number, request, of }));
    }

    /// Requests on sockets whose readiness has changed try again.
    pub(crate) fn look_at_network(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        self.network.take_changed(&mut changed);
        for socket in changed.drain(..) {
            if let Some(open) = self.sockets.get(&socket) {
                self.wake_waiting(*open);
            }
        }
        self.changed = changed;
    }

    /// Whoever has rung a bell will be heard.
    pub(crate) fn look_at_bells(&mut self) {
        for at in 0..self.bells.len() {
            let open = self.bells[at].open;
            let Some(File::Bell { chime, seen }) = self.opens.get_mut(open).map(|open| &mut open.file) else {
                continue;
            };
            let rung = chime.rung();
            if rung == *seen {
                continue;
            }
            *seen = rung;
            for at in 0..self.opens[open].waiting.len() {
                let request = self.opens[open].waiting[at];
                let delay = self.random.within(self.kernel.wake_ns.clone());
                self.in_ns(delay, request);
            }
        }
    }
}
