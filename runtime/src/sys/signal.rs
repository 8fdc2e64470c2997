//! Signals of the process: a handler that notes them and rings the bells of those who listen.
//!
//! ```text
//!  signal --> arrived: of each slot that wants it: note the bit, ring the bell --> whoever was there before
//!                                                       |
//!  listener <-- take: silence the bell, take the bits <-- the ring says that the bell was rung
//! ```
//!
//! Invariant: a slot's bell is never closed, so a handler on another thread never writes to a number that has become
//! somebody else's. The bell only wakes; what has come stands in the slot, in the memory of this process: a forked
//! child that rings its parent's bell tells it nothing.
//!
//! The handler takes no lock, and does nothing but what signal-safety(7) allows.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Signals are numbered from 1 to this.
pub(crate) const LAST: usize = 64;
/// So many may listen at once, in the whole process.
const SLOTS: usize = 256;

/// The place of one who listens.
struct Slot {
    /// An eventfd. Below zero as long as the slot was never used.
    bell: AtomicI32,
    /// The signals that are listened for: 0 while nobody does.
    wanted: AtomicU64,
    /// Those that have come and were not taken.
    came: AtomicU64,
}

static SLOTS_OF_ALL: [Slot; SLOTS] =
    [const { Slot { bell: AtomicI32::new(-1), wanted: AtomicU64::new(0), came: AtomicU64::new(0) } }; SLOTS];
/// How many were ever used: the handler looks at no more.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The signals for which somebody listens.
static LISTENED: AtomicU64 = AtomicU64::new(0);

/// The handler that was set before ours: one of the two is its address, the other 0. No handler has the address 0 or 1:
/// these are the default and 'ignore'.
struct Before {
    plain: AtomicUsize,
    informed: AtomicUsize,
}

static BEFORE: [Before; LAST + 1] =
    [const { Before { plain: AtomicUsize::new(0), informed: AtomicUsize::new(0) } }; LAST + 1];

/// What the handler needs not know.
struct Table {
    taken: [bool; SLOTS],
    /// The process that made the bells.
    process: u32,
    signals: [Signal; LAST + 1],
}

#[derive(Clone, Copy)]
struct Signal {
    listeners: usize,
    /// What was set before our handler, as long as that is set.
    before: Option<libc::sigaction>,
}

static TABLE: Mutex<Table> =
    Mutex::new(Table { taken: [false; SLOTS], process: 0, signals: [Signal { listeners: 0, before: None }; LAST + 1] });

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The signals in a set of bits, lowest first.
pub(crate) fn signals_of(bits: u64) -> impl Iterator<Item = i32> {
    (1..=LAST as i32).filter(move |signal| bits & bit(*signal) != 0)
}

/// Listens for signals until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    slot: usize,
}

impl Listening {
    /// For these signals, of which there is one at least. Gives the bell, too: an eventfd of the caller's own, which can be
    /// read as soon as something has come.
    ///
    /// Their numbers are from 1 to [`LAST`].
    pub(crate) fn to(signals: &[i32]) -> io::Result<(Self, OwnedFd)> {
        let mut table = table();
        let number = table.free_slot()?;
        let slot = &SLOTS_OF_ALL[number];
        let bell = another(slot.bell.load(Ordering::Relaxed))?;
        let wanted = signals.iter().fold(0, |bits, signal| bits | bit(*signal));
        slot.came.store(0, Ordering::Relaxed);
        table.taken[number] = true;
        // From here on, dropping it undoes what has been done. Release: the bell and the bits stand before.
        slot.wanted.store(wanted, Ordering::Release);
        USED.fetch_max(number + 1, Ordering::Release);
        for (place, signal) in signals_of(wanted).enumerate() {
            if let Err(error) = table.begin(signal) {
                let done = signals_of(wanted).take(place);
                table.leave(number, done);
                return Err(error);
            }
        }
        Ok((Self { slot: number }, bell))
    }

    /// What is listened for.
    pub(crate) fn wanted(&self) -> u64 {
        SLOTS_OF_ALL[self.slot].wanted.load(Ordering::Relaxed)
    }

    /// What has come since it was asked last: a bit for each signal, the lowest for number 1.
    pub(crate) fn take(&self) -> u64 {
        let slot = &SLOTS_OF_ALL[self.slot];
        // Silenced first: what comes behind that rings again.
        silence(slot.bell.load(Ordering::Relaxed));
        // Acquire: pairs with the Release in `arrived`. A bit that an earlier listener of the slot has left is not ours.
        slot.came.swap(0, Ordering::Acquire) & self.wanted()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        table().leave(self.slot, signals_of(self.wanted()));
    }
}

impl Table {
    /// A slot that nobody has, with a bell of this process.
    fn free_slot(&mut self) -> io::Result<usize> {
        let number = self.taken.iter().position(|taken| !taken).ok_or_else(|| {
            let text = format!("{SLOTS} listen for signals already: let one that listens tell the others");
            io::Error::new(io::ErrorKind::QuotaExceeded, text)
        })?;
        if self.process != std::process::id() {
            // The bells are those of the process that has forked this one: each gets another under the same number.
            for slot in SLOTS_OF_ALL.iter().filter(|slot| slot.bell.load(Ordering::Relaxed) >= 0) {
                replace(slot.bell.load(Ordering::Relaxed))?;
            }
            self.process = std::process::id();
        }
        let slot = &SLOTS_OF_ALL[number];
        if slot.bell.load(Ordering::Relaxed) < 0 {
            slot.bell.store(bell()?, Ordering::Relaxed);
        }
        Ok(number)
    }

    /// One more listens for it: the first one sets the handler.
    fn begin(&mut self, signal: i32) -> io::Result<()> {
        let entry = &mut self.signals[signal as usize];
        if entry.listeners == 0 {
            // Asked first, so that the handler knows what was before it from its first call on.
            let before = current(signal)?;
            // If ours is not gone without a listener, somebody has set theirs above ours, which they may call: that is not
            // changed any more, or ours would call theirs, and theirs ours. Unless they have taken theirs away since.
            if entry.before.is_none() || before.sa_sigaction <= libc::SIG_IGN {
                remember(signal, &before);
                let before = set(signal, &ours(&before))?;
                remember(signal, &before);
                entry.before = Some(before);
            }
        }
        entry.listeners += 1;
        LISTENED.fetch_or(bit(signal), Ordering::Relaxed);
        Ok(())
    }

    /// One no longer listens for these: with the last one goes the handler.
    fn leave(&mut self, slot: usize, signals: impl Iterator<Item = i32>) {
        for signal in signals {
            let entry = &mut self.signals[signal as usize];
            entry.listeners -= 1;
            if entry.listeners > 0 {
                continue;
            }
            LISTENED.fetch_and(!bit(signal), Ordering::Relaxed);
            // What somebody has set above ours stays, and may call ours still.
            if let Some(before) = entry.before.filter(|_| is_ours(signal)) {
                // What was set before can be set again.
                drop(set(signal, &before));
                entry.before = None;
            }
        }
        SLOTS_OF_ALL[slot].wanted.store(0, Ordering::Relaxed);
        self.taken[slot] = false;
    }
}

/// Sets what is to be done at a signal; below our handler, while that is set. Gives what was set before.
pub(crate) fn set_below(signal: i32, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    let mut table = table();
    let entry = &mut table.signals[signal as usize];
    match entry.before.filter(|_| is_ours(signal)) {
        Some(before) => {
            remember(signal, action);
            entry.before = Some(*action);
            Ok(before)
        }
        None => set(signal, action),
    }
}

/// Whether somebody listens for it: then a handler of this library that was there before leaves it to them.
pub(crate) fn is_listened_for(signal: i32) -> bool {
    LISTENED.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Lets the handler call what was there before.
fn remember(signal: i32, before: &libc::sigaction) {
    let (plain, informed) = match before.sa_flags & libc::SA_SIGINFO {
        0 => (before.sa_sigaction, 0),
        _ => (0, before.sa_sigaction),
    };
    // Release: pairs with the Acquire in `arrived`.
    BEFORE[signal as usize].plain.store(plain, Ordering::Release);
    BEFORE[signal as usize].informed.store(informed, Ordering::Release);
}

/// What sets our handler: with the mask of the one before, which it calls, and what that wants to know of children.
fn ours(before: &libc::sigaction) -> libc::sigaction {
    let mut action = *before;
    action.sa_sigaction = arrived as Informed as usize;
    let kept = libc::SA_ONSTACK | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO | before.sa_flags & kept;
    action
}

fn is_ours(signal: i32) -> bool {
    current(signal).is_ok_and(|action| action.sa_sigaction == arrived as Informed as usize)
}

fn current(signal: i32) -> io::Result<libc::sigaction> {
    ask(signal, ptr::null())
}

fn set(signal: i32, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    ask(signal, action)
}

fn ask(signal: i32, action: *const libc::sigaction) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: room for the answer; `action` is null, or a whole structure of a caller above.
    let result = unsafe { libc::sigaction(signal, action, before.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has filled it.
    Ok(unsafe { before.assume_init() })
}

type Plain = extern "C" fn(libc::c_int);
type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// The handler: `errno` is as it was.
extern "C" fn arrived(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the address of this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let number = unsafe { *errno };
    let mut is_heard = false;
    // Acquire: pairs with the Release in `Listening::to`, here and below.
    for slot in &SLOTS_OF_ALL[..USED.load(Ordering::Acquire)] {
        if slot.wanted.load(Ordering::Acquire) & bit(signal) != 0 {
            // Release: pairs with the Acquire in `Listening::take`. Noted first: who hears the bell finds it.
            slot.came.fetch_or(bit(signal), Ordering::Release);
            ring(slot.bell.load(Ordering::Relaxed));
            is_heard = true;
        }
    }
    // Acquire: pairs with the Release in `remember`.
    let before = &BEFORE[signal as usize];
    let (plain, informed) = (before.plain.load(Ordering::Acquire), before.informed.load(Ordering::Acquire));
    if plain > libc::SIG_IGN {
        // SAFETY: the address of a handler that was set without SA_SIGINFO, so it takes the number alone.
        let handler = unsafe { std::mem::transmute::<usize, Plain>(plain) };
        handler(signal);
    }
    if informed > libc::SIG_IGN {
        // SAFETY: the address of a handler that was set with SA_SIGINFO, so it takes all three.
        let handler = unsafe { std::mem::transmute::<usize, Informed>(informed) };
        handler(signal, info, context);
    }
    let is_default = plain == libc::SIG_DFL && informed == libc::SIG_DFL;
    if !is_heard && is_default && !is_ignored_by_default(signal) && is_ours(signal) {
        // Ours was below another one when the last listener went, and so it stayed; then it was set again. It is there for
        // nobody, so the default is done: as soon as this handler has returned.
        let default = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeroes is an empty mask, no flags and the default action.
        if set(signal, unsafe { default.assume_init_ref() }).is_ok() {
            // SAFETY: takes no pointers.
            unsafe { libc::raise(signal) };
        }
    }
    // SAFETY: as above.
    unsafe { *errno = number };
}

/// By default nothing happens at these.
fn is_ignored_by_default(signal: i32) -> bool {
    [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH].contains(&signal)
}

/// A new eventfd, which is never closed.
fn bell() -> io::Result<RawFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Another descriptor of the same bell.
fn another(bell: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::fcntl(bell, libc::F_DUPFD_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a new bell under the number of an old one.
fn replace(old: RawFd) -> io::Result<()> {
    let new = bell()?;
    // SAFETY: takes no pointers. The old number is a slot's, and stays it.
    let result = unsafe { libc::dup3(new, old, libc::O_CLOEXEC) };
    let result = if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: made above, and nobody else's. Dropping it closes it.
    drop(unsafe { OwnedFd::from_raw_fd(new) });
    result
}

/// Cannot block: only at 2^64 - 1 unread rings would it fail, and then the listener is awake anyway.
fn ring(bell: RawFd) {
    let one = 1_u64;
    // SAFETY: eight bytes.
    unsafe { libc::write(bell, ptr::from_ref(&one).cast(), 8) };
}

/// Takes all rings from a bell. If there were none, nothing happens.
fn silence(bell: RawFd) {
    let mut rings = 0_u64;
    // SAFETY: room for eight bytes.
    unsafe { libc::read(bell, ptr::from_mut(&mut rings).cast(), 8) };
}

/// Makes a call that raises `SIGPIPE` if the other side has gone, such that only its result tells: nobody is hit by the
/// signal. Most programs in Rust ignore it, and so this costs them one look.
pub(crate) fn without_broken_pipe<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if current(libc::SIGPIPE).is_ok_and(|action| action.sa_sigaction == libc::SIG_IGN) {
        return call();
    }
    let mut it = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(it.as_mut_ptr()) };
    // SAFETY: a set that has just been emptied.
    unsafe { libc::sigaddset(it.as_mut_ptr(), libc::SIGPIPE) };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a whole set, and room for another.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, it.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: room for a set.
    unsafe { libc::sigpending(pending.as_mut_ptr()) };
    // SAFETY: the call has filled it.
    let came_before = unsafe { libc::sigismember(pending.as_ptr(), libc::SIGPIPE) } == 1;
    let result = call();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // A part may have gone out before, so that the call succeeds.
    if !came_before {
        // SAFETY: a whole set, and a time; what it tells of the signal nobody wants to know. It waits for nothing.
        unsafe { libc::sigtimedwait(it.as_ptr(), ptr::null_mut(), &raw const now) };
    }
    // SAFETY: the set that the call above has filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

/// The numbers of the real-time signals that programs may use.
pub(crate) fn real_time() -> std::ops::RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}
