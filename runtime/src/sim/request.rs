//! A request's life, from when it is taken in until its final completion has been posted.

use super::host::{Call, File};
use super::memory;
use super::queues::Queues;
use super::state::State;
use super::submission::{Change, Linked, Named, Receiving, Request, Sending, Submission, Target, Which};
use super::trace::{Object, What};
use super::{Errno, F_MORE, F_NOTIF, HostId};
use crate::ring::Completion;
use io_uring::squeue::Entry;

/// `IORING_NOTIF_USAGE_ZC_COPIED`.
const NOTIF_USAGE_ZC_COPIED: i32 = i32::MIN;
/// How many requests one call that does not wait lets go on (K1).
const AT_ONCE: usize = 20;

pub(super) struct Pending {
    /// Never used again.
    pub(super) number: u64,
    pub(super) ring: usize,
    pub(super) host: HostId,
    pub(super) name: &'static str,
    pub(super) submission: Submission,
    /// What it is about.
    pub(super) open: Option<usize>,
    pub(super) stage: Stage,
    /// The request that begins when this one has ended.
    next: Option<usize>,
    /// Bytes that have been transferred.
    pub(super) done: usize,
    /// A connect has been begun.
    pub(super) begun: bool,
    /// What the network still reads from the program's memory, as it was when it was sent.
    lent: Option<Vec<u8>>,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for the request that it is linked to.
    Linked,
    /// It waits until its file is ready.
    Polling,
    /// It goes on at the next enter.
    Due,
    /// It begins at the next enter.
    ToBegin,
    /// It waits for a worker.
    Queued,
    /// It is being done, and cannot be stopped.
    Running,
    /// It has been done; the answer is to be posted.
    Ended { result: i32 },
    /// Its result has been posted; the network still has its bytes.
    Notifying,
}

/// What came of an attempt.
pub(super) enum Outcome {
    Ended {
        result: i32,
        flags: u32,
    },
    /// Its file has to become ready first.
    Waits,
    /// It is not over, and goes on at the next enter.
    Again,
    /// A worker has to do it.
    Worker,
    /// The disk does it, in that time.
    Disk {
        ns: u64,
    },
}

impl Outcome {
    pub(super) fn of(answer: Result<i32, Errno>) -> Self {
        Outcome::Ended { result: answer.unwrap_or_else(|error| -error.0), flags: 0 }
    }
}

impl State {
    /// One call into the kernel: takes submissions in, and lets a part of what is due go on. `most` bounds the latter
    /// when the call has waited (K2).
    pub(super) fn enter(&mut self, ring: usize, most: Option<usize>) -> Result<(), Errno> {
        let host = self.rings[ring].host;
        if let Some(error) = self.host(host).take_failure(Call::Enter) {
            return Err(error);
        }
        let refusal = self.refusal();
        let queued = self.rings[ring].submitted.len();
        let take = match refusal {
            Some(_) if queued > 0 => self.random.below(queued as u64) as usize,
            _ => queued,
        };
        self.take_in(ring, take);
        let due = self.rings[ring].due.len();
        self.rings[ring].flag_lies = false;
        let mut most = most.unwrap_or(AT_ONCE).min(due);
        if most > 1 && self.kernel.deferred > 0.0 && !self.in_order && self.random.chance(0.5) {
            most = 1 + self.random.below(most as u64) as usize;
        }
        for _ in 0..most {
            let queue = &mut self.rings[ring].due;
            let next = match self.in_order {
                true => queue.pop_front(),
                false => queue.swap_remove_back(self.random.below(queue.len() as u64) as usize),
            };
            let Some(request) = next else {
                break;
            };
            self.go_on(request);
        }
        self.rings[ring].flush();
        self.post_a_stranger(ring);
        if !self.in_order && self.rings[ring].due.is_empty() && most > 0 && self.random.chance(0.1) {
            self.rings[ring].flag_lies = true;
        }
        refusal.map_or(Ok(()), Err)
    }

    fn post_a_stranger(&mut self, ring: usize) {
        if self.takes_liberty(|kernel| kernel.strangers) {
            let user_data = self.rings[ring].past.stranger(&mut self.random);
            let result = self.random.below(8_192) as i32 - 4_096;
            self.rings[ring].post(Completion { user_data, result, flags: 0 });
        }
    }

    /// The error with which the kernel is not able to take all in, now and then.
    fn refusal(&mut self) -> Option<Errno> {
        if self.takes_liberty(|kernel| kernel.interrupted) {
            return Some(Errno(libc::EINTR));
        }
        if self.takes_liberty(|kernel| kernel.refused) {
            return Some(Errno(if self.random.chance(0.5) { libc::EAGAIN } else { libc::EBUSY }));
        }
        None
    }

    /// Takes in that many submissions, and what is linked to the last.
    fn take_in(&mut self, ring: usize, count: usize) {
        let mut taken = 0;
        // The first and the last of the chain that is being taken in.
        let mut chain: Option<(usize, usize)> = None;
        while taken < count || chain.is_some() {
            let Some(entry) = self.rings[ring].submitted.pop_front() else {
                break;
            };
            taken += 1;
            let Some((request, linked)) = self.accept_submission(ring, &entry) else {
                continue;
            };
            if let Some((_, last)) = chain {
                self.requests[last].next = Some(request);
            }
            let first = chain.map_or(request, |(first, _)| first);
            chain = Some((first, request));
            if linked == Linked::No {
                self.begin(first);
                chain = None;
            }
        }
        if let Some((first, _)) = chain {
            self.begin(first);
        }
    }

    fn accept_submission(&mut self, ring: usize, entry: &Entry) -> Option<(usize, Linked)> {
        let submission = match Submission::decode(entry) {
            Ok(submission) => submission,
            Err(what) => {
                self.fail(format!("the simulated kernel does not know {what}: run what needs it on the real one"));
                let user_data = entry.get_user_data();
                self.rings[ring].post(Completion { user_data, result: -libc::EINVAL, flags: 0 });
                return None;
            }
        };
        let Queues { host, core, .. } = self.rings[ring];
        self.numbers += 1;
        let number = self.numbers;
        let (name, size) = (submission.name(), submission.areas().iter().map(|area| area.len as u64).sum());
        let of = submission.object();
        self.note(Some((host.0, core)), What::Taken { name, number, size, of });
        let linked = submission.linked;
        if self.kernel.strangers > 0.0 {
            self.rings[ring].past.submitted(submission.user_data);
        }
        let request = self.requests.insert(Pending {
            number,
            ring,
            host,
            name,
            submission,
            open: None,
            stage: Stage::Linked,
            next: None,
            done: 0,
            begun: false,
            lent: None,
            cancelled: false,
        });
        Some((request, linked))
    }

    /// A request's turn has come.
    fn begin(&mut self, request: usize) {
        let (ring, host) = (self.requests[request].ring, self.requests[request].host);
        if self.rings[ring].dead {
            self.end(request, -libc::ECANCELED, 0);
            return;
        }
        if let Request::Cancel(which) = self.requests[request].submission.request {
            let result = self.cancel(ring, which, request);
            self.end(request, result, 0);
            return;
        }
        if let Some(target) = self.requests[request].submission.target() {
            match self.resolve(ring, host, target) {
                Ok(open) => {
                    self.opens[open].references += 1;
                    self.requests[request].open = Some(open);
                }
                Err(error) => {
                    self.end(request, -error.0, 0);
                    return;
                }
            }
        }
        if !self.rings[ring].knows_memory_of(&self.requests[request].submission) {
            self.end(request, -libc::EFAULT, 0);
            return;
        }
        let submission = &self.requests[request].submission;
        if submission.in_worker && matches!(submission.request, Request::Open { .. }) {
            match self.planned_failure(request) {
                Some(error) => self.end(request, -error.0, 0),
                None => self.hand_to_worker(request),
            }
            return;
        }
        if submission.poll_first {
            self.poll(request);
        } else if matches!(submission.request, Request::Close { .. } | Request::Put { .. } | Request::Nop { .. })
            || !self.takes_liberty(|kernel| kernel.deferred)
        {
            self.try_it(request);
        } else {
            self.later(request);
        }
    }

    fn later(&mut self, request: usize) {
        self.requests[request].stage = Stage::Due;
        let ring = self.requests[request].ring;
        self.rings[ring].due.push_back(request);
    }

    fn resolve(&mut self, ring: usize, host: HostId, target: Target) -> Result<usize, Errno> {
        match target {
            Target::Descriptor(number) => self.find(host, number),
            Target::Direct(place) => {
                self.rings[ring].direct.get(place as usize).copied().flatten().ok_or(Errno(libc::EBADF))
            }
        }
    }

    /// Tries it, and does what the attempt says.
    fn try_it(&mut self, request: usize) {
        match self.attempt(request) {
            Outcome::Ended { result, flags } => self.end(request, result, flags),
            Outcome::Waits => self.poll(request),
            Outcome::Again => self.later(request),
            Outcome::Worker => self.hand_to_worker(request),
            Outcome::Disk { ns } => {
                self.requests[request].stage = Stage::Running;
                self.in_ns(ns, request);
            }
        }
    }

    /// Waits until the file is ready; it may have become so meanwhile.
    fn poll(&mut self, request: usize) {
        let Some(open) = self.requests[request].open else {
            return;
        };
        self.requests[request].stage = Stage::Polling;
        self.opens[open].waiting.push(request);
        if self.requests[request].submission.poll_first && !self.requests[request].begun && self.is_ready(request) {
            self.wake_waiting(open);
        }
    }

    /// The file may be ready: whoever waits for that looks again, at its ring's next enter.
    pub(super) fn wake_waiting(&mut self, open: usize) {
        for request in std::mem::take(&mut self.opens[open].waiting) {
            if self.is_ready(request) {
                self.later(request);
            } else {
                self.opens[open].waiting.push(request);
            }
        }
    }

    fn hand_to_worker(&mut self, request: usize) {
        self.requests[request].stage = Stage::Queued;
        let delay = self.random.within(self.kernel.worker_ns.clone());
        self.in_ns(delay, request);
    }

    pub(super) fn time_has_come(&mut self, request: usize) {
        match self.requests[request].stage {
            Stage::Queued => {
                self.requests[request].stage = Stage::Running;
                let ns = self.work_ns(request);
                self.in_ns(ns, request);
            }
            Stage::Running => {
                let result = if self.takes_liberty(|kernel| kernel.worker_interrupted) {
                    if self.random.chance(0.5) { -libc::EINTR } else { -libc::EAGAIN }
                } else {
                    self.perform(request).unwrap_or_else(|error| -error.0)
                };
                self.requests[request].stage = Stage::Ended { result };
                let ring = self.requests[request].ring;
                self.rings[ring].due.push_back(request);
            }
            Stage::Notifying => {
                let ring = self.requests[request].ring;
                self.rings[ring].due.push_back(request);
            }
            Stage::Polling => {
                if let Some(open) = self.requests[request].open {
                    self.wake_waiting(open);
                }
            }
            Stage::Linked | Stage::Due | Stage::ToBegin | Stage::Ended { .. } => {}
        }
    }

    /// A request that was due goes on.
    fn go_on(&mut self, request: usize) {
        let pending = &mut self.requests[request];
        match pending.stage {
            Stage::ToBegin => self.begin(request),
            Stage::Ended { result } => self.end(request, result, 0),
            Stage::Notifying => {
                let now = Some(memory::load_all(pending.submission.areas()));
                if pending.lent != now {
                    let text = "the buffer of a SEND_ZC was changed or given back before its notification had come";
                    self.fail(text.to_owned());
                }
                // It may have copied it all the same, and says so.
                let copied = !self.in_order && self.random.chance(0.5);
                self.end(request, if copied { NOTIF_USAGE_ZC_COPIED } else { 0 }, F_NOTIF);
            }
            Stage::Due if pending.cancelled => {
                // What it has done counts (K15).
                let result = if pending.done > 0 { pending.done as i32 } else { -libc::ECANCELED };
                self.end(request, result, 0);
            }
            Stage::Due => {
                pending.begun |= pending.submission.poll_first;
                self.try_it(request);
            }
            Stage::Linked | Stage::Polling | Stage::Queued | Stage::Running => {
                unreachable!("only what is due goes on")
            }
        }
    }

    /// Posts a completion that is not the last. False if there is no more to come, since the queue is full (K14).
    pub(super) fn post_one_of_many(&mut self, request: usize, result: i32, flags: u32) -> bool {
        let ring = self.requests[request].ring;
        if self.rings[ring].is_full() || self.takes_liberty(|kernel| kernel.multishots_ended) {
            return false;
        }
        self.post(request, result, flags | F_MORE);
        true
    }

    fn post(&mut self, request: usize, result: i32, flags: u32) {
        let Pending { number, name, ring, ref submission, .. } = self.requests[request];
        let user_data = submission.user_data;
        let Queues { host, core, .. } = self.rings[ring];
        self.note(Some((host.0, core)), What::Posted { name, number, result, flags });
        self.rings[ring].post(Completion { user_data, result, flags });
    }

    /// The final completion. What the request held is let go of, and what is linked to it begins.
    pub(super) fn end(&mut self, request: usize, result: i32, flags: u32) {
        let pending = &self.requests[request];
        let zero_copy =
            matches!(pending.submission.request, Request::Send { how: Sending { zero_copy: true, .. }, .. });
        if zero_copy && result >= 0 && pending.stage != Stage::Notifying {
            self.post(request, result, flags | F_MORE);
            let lent = memory::load_all(self.requests[request].submission.areas());
            let pending = &mut self.requests[request];
            (pending.stage, pending.lent) = (Stage::Notifying, Some(lent));
            let delay = self.random.within(self.kernel.worker_ns.clone());
            self.in_ns(delay, request);
            return;
        }
        if !(pending.submission.skip_success && result >= 0) {
            self.post(request, result, flags);
        }
        let pending = self.requests.remove(request);
        if let Some(open) = pending.open {
            self.opens[open].waiting.retain(|waiting| *waiting != request);
            self.release(open);
        }
        if let Some(next) = pending.next {
            let goes_on = match pending.submission.linked {
                Linked::Always => true,
                Linked::IfDone => pending.submission.is_whole(result),
                Linked::No => false,
            };
            if goes_on {
                self.requests[next].stage = Stage::ToBegin;
                self.rings[pending.ring].due.push_back(next);
            } else {
                self.end_chain(next);
            }
        }
    }

    /// A chain that was broken: the rest is cancelled, in order.
    fn end_chain(&mut self, first: usize) {
        let mut next = Some(first);
        while let Some(request) = next {
            next = self.requests[request].next.take();
            self.end(request, -libc::ECANCELED, 0);
        }
    }

    /// Cancels; returns what the cancel itself says (K33).
    pub(super) fn cancel(&mut self, ring: usize, which: Which, asking: usize) -> i32 {
        let host = self.rings[ring].host;
        let open = match which {
            Which::AllOf(target) => match self.resolve(ring, host, target) {
                Ok(open) => Some(open),
                Err(error) => return -error.0,
            },
            Which::One(_) | Which::All => None,
        };
        let matching: Vec<usize> = self
            .requests
            .iter()
            .filter(|(request, pending)| *request != asking && pending.ring == ring)
            .filter(|(_, pending)| match which {
                Which::One(user_data) => pending.submission.user_data == user_data,
                Which::AllOf(_) => pending.open.is_some() && pending.open == open,
                Which::All => true,
            })
            .map(|(request, _)| request)
            .collect();
        let mut found = 0;
        let mut answer = -libc::ENOENT;
        for request in matching {
            match self.cancel_one(request) {
                0 => {
                    found += 1;
                    if matches!(which, Which::One(_)) {
                        return 0;
                    }
                }
                error => answer = error,
            }
        }
        if matches!(which, Which::One(_)) || found == 0 { answer } else { found }
    }

    fn cancel_one(&mut self, request: usize) -> i32 {
        let pending = &mut self.requests[request];
        let ring = pending.ring;
        match pending.stage {
            Stage::Polling => {
                pending.cancelled = true;
                pending.stage = Stage::Due;
                if let Some(open) = pending.open {
                    self.opens[open].waiting.retain(|waiting| *waiting != request);
                }
                self.rings[ring].due.push_back(request);
                0
            }
            // Data may be there; it stays where it is (K15).
            Stage::Due => {
                pending.cancelled = true;
                0
            }
            Stage::Queued => {
                pending.stage = Stage::Ended { result: -libc::ECANCELED };
                self.rings[ring].due.push_back(request);
                0
            }
            Stage::Running => -libc::EALREADY,
            Stage::Linked | Stage::ToBegin | Stage::Ended { .. } | Stage::Notifying => -libc::ENOENT,
        }
    }

    /// The host of a ring has lost its power: nothing more happens, and nothing of a program's is touched any more.
    pub(super) fn kill_ring(&mut self, ring: usize) {
        self.rings[ring].dead = true;
        self.rings[ring].due.clear();
        let left: Vec<usize> =
            self.requests.iter().filter(|(_, pending)| pending.ring == ring).map(|(request, _)| request).collect();
        for request in left {
            let Pending { submission, open, .. } = self.requests.remove(request);
            if let Some(open) = open {
                self.opens[open].waiting.retain(|waiting| *waiting != request);
                self.release(open);
            }
            let Submission { user_data, skip_success, .. } = submission;
            if !skip_success {
                self.rings[ring].post(Completion { user_data, result: -libc::ECANCELED, flags: 0 });
            }
        }
        for open in std::mem::take(&mut self.rings[ring].direct).into_iter().flatten() {
            self.release(open);
        }
    }

    /// Whether the kernel may still touch that memory, for a request that a program has made.
    pub(crate) fn is_in_flight(&self, area: super::memory::Area) -> bool {
        self.requests.iter().any(|(_, pending)| pending.submission.areas().iter().any(|used| used.overlaps(area)))
    }

    /// The error that this kind of call shall end with.
    pub(super) fn planned_failure(&mut self, request: usize) -> Option<Errno> {
        let pending = &self.requests[request];
        let file = pending.open.map(|open| &self.opens[open].file);
        let call = match (&pending.submission.request, file) {
            (Request::Open { .. }, _) => Call::Open,
            (Request::Read { .. }, Some(File::Socket(_))) | (Request::Receive { .. }, _) => Call::Receive,
            (Request::Write { .. }, Some(File::Socket(_))) | (Request::Send { .. }, _) => Call::Send,
            (Request::Read { .. }, _) => Call::Read,
            (Request::Write { .. }, _) => Call::Write,
            (Request::Sync { .. }, _) => Call::Sync,
            (Request::Truncate { .. }, _) => Call::Truncate,
            (Request::Close { .. }, _) => Call::Close,
            (Request::Stat { .. } | Request::GetAttribute { .. }, _) => Call::Stat,
            (Request::Allocate { .. }, _) => Call::Truncate,
            (Request::SyncRange { .. }, _) => Call::Sync,
            (Request::Accept { .. }, _) => Call::Accept,
            (Request::Connect { .. }, _) => Call::Connect,
            (Request::Change(_) | Request::SetAttribute { .. }, _) => Call::Rename,
            (
                Request::Nop { .. }
                | Request::Put { .. }
                | Request::Advise { .. }
                | Request::Poll { .. }
                | Request::Cancel(_),
                _,
            ) => {
                return None;
            }
        };
        let host = self.requests[request].host;
        self.host(host).take_failure(call)
    }
}

impl Submission {
    /// What it is asked of, for those who read.
    fn object(&self) -> Object {
        let target = match &self.request {
            Request::Open { name, .. } | Request::Stat { name, .. } => return named(name),
            Request::Change(
                Change::Folder { name, .. } | Change::Remove { name, .. } | Change::Symlink { name, .. },
            ) => {
                return named(name);
            }
            Request::Change(Change::Move { from, .. } | Change::Link { from, .. }) => return named(from),
            Request::Close { target } => Some(*target),
            Request::Put { place, .. } => Some(Target::Direct(*place)),
            _ => self.target(),
        };
        match target {
            Some(Target::Descriptor(number)) => {
                Object::Descriptor(super::host::place(number).map_or(number, |(_, place)| place as i32))
            }
            Some(Target::Direct(place)) => Object::Direct(place),
            None => Object::Nothing,
        }
    }

    /// Whether it did all that was asked, as a soft link wants it (K10).
    fn is_whole(&self, result: i32) -> bool {
        let wanted: usize = self.areas().iter().map(|area| area.len).sum();
        match &self.request {
            Request::Read { .. } | Request::Write { .. } => result >= 0 && result as usize == wanted,
            Request::Receive { how: Receiving { all: true, .. }, .. }
            | Request::Send { how: Sending { all: true, .. }, .. } => result >= 0 && result as usize == wanted,
            _ => result >= 0,
        }
    }

    fn name(&self) -> &'static str {
        match &self.request {
            Request::Nop { .. } => "NOP",
            Request::Read { .. } if self.region.is_some() => "READ_FIXED",
            Request::Write { .. } if self.region.is_some() => "WRITE_FIXED",
            Request::Read { .. } => "READ",
            Request::Write { .. } => "WRITE",
            Request::Sync { .. } => "FSYNC",
            Request::Truncate { .. } => "FTRUNCATE",
            Request::Open { .. } => "OPENAT",
            Request::Close { .. } => "CLOSE",
            Request::Put { .. } => "FILES_UPDATE",
            Request::Stat { .. } => "STATX",
            Request::Receive { head: None, .. } => "RECV",
            Request::Receive { head: Some(_), .. } => "RECVMSG",
            Request::Send { how: Sending { message: true, .. }, .. } => "SENDMSG",
            Request::Send { how: Sending { zero_copy: false, .. }, .. } => "SEND",
            Request::Send { how: Sending { zero_copy: true, .. }, .. } => "SEND_ZC",
            Request::Accept { .. } => "ACCEPT",
            Request::Connect { .. } => "CONNECT",
            Request::Poll { .. } => "POLL_ADD",
            Request::Cancel(_) => "ASYNC_CANCEL",
            Request::Allocate { .. } => "FALLOCATE",
            Request::Advise { .. } => "FADVISE",
            Request::SyncRange { .. } => "SYNC_FILE_RANGE",
            Request::GetAttribute { .. } => "GETXATTR",
            Request::SetAttribute { .. } => "SETXATTR",
            Request::Change(Change::Folder { .. }) => "MKDIRAT",
            Request::Change(Change::Remove { .. }) => "UNLINKAT",
            Request::Change(Change::Move { .. }) => "RENAMEAT",
            Request::Change(Change::Symlink { .. }) => "SYMLINKAT",
            Request::Change(Change::Link { .. }) => "LINKAT",
        }
    }
}

fn named(name: &Named) -> Object {
    Object::Path(String::from_utf8_lossy(&name.path).into())
}
