//! What other threads leave for a core: a bell, and letters about things of the core that were dropped elsewhere.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use corering_sync::sleep::Sleeper;

use super::host::Host;
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys::current::CoreId;
use crate::sys::event::Event;

/// A thing of the core that somebody dropped on another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// An operation's future.
    Operation { index: u32, generation: u32 },
    /// A place for a direct descriptor.
    Direct { index: u32 },
    /// A sleep.
    Timer { index: u32, sequence: u64 },
}

/// The part of a core that other threads may touch.
#[derive(Debug)]
pub(crate) struct Mailbox {
    core: CoreId,
    sleeper: Sleeper,
    bell: Bell,
    /// Who turns the core, if that is not its own loop.
    host: Option<Arc<Host>>,
    letters: Mutex<Vec<Letter>>,
    any: AtomicBool,
}

/// What is rung to wake the core.
#[derive(Debug)]
enum Bell {
    Real(Event),
    #[cfg(feature = "sim")]
    Simulated {
        chime: sim::Chime,
        number: RawFd,
    },
}

/// All cores of the process that live. Looked into only by threads that hold a thing of a core that is not theirs.
static ALL: Mutex<Vec<Arc<Mailbox>>> = Mutex::new(Vec::new());

impl Mailbox {
    /// A mailbox that others find by the number of its core, until [`close`](Self::close).
    pub(crate) fn open(core: CoreId, host: Option<Arc<Host>>) -> io::Result<Arc<Self>> {
        Ok(Self::with_bell(core, Bell::Real(Event::new()?), host))
    }

    /// Likewise, of a simulated core.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(core: CoreId, place: &sim::Place) -> Arc<Self> {
        let (chime, number) = place.bell();
        Self::with_bell(core, Bell::Simulated { chime, number }, None)
    }

    fn with_bell(core: CoreId, bell: Bell, host: Option<Arc<Host>>) -> Arc<Self> {
        let (letters, any) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let mailbox = Arc::new(Self { core, sleeper: Sleeper::new(), bell, host, letters, any });
        all().push(Arc::clone(&mailbox));
        mailbox
    }

    /// Nobody finds it any more. Letters that are in it by then concern a core that is going away anyway.
    pub(crate) fn close(&self) {
        all().retain(|mailbox| mailbox.core != self.core);
    }

    /// Wakes the core if it sleeps. To be called after leaving something for it.
    pub(crate) fn wake(&self) {
        if let Some(host) = &self.host {
            host.call();
        }
        let must_wake = self.sleeper.must_wake();
        match &self.bell {
            Bell::Real(event) if must_wake => event.ring(),
            Bell::Real(_) => {}
            #[cfg(feature = "sim")]
            Bell::Simulated { chime, .. } => {
                chime.touch();
                if must_wake {
                    chime.ring();
                }
            }
        }
    }

    pub(crate) fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// The descriptor that becomes readable when somebody rings.
    pub(crate) fn bell(&self) -> RawFd {
        match &self.bell {
            Bell::Real(event) => event.raw(),
            #[cfg(feature = "sim")]
            Bell::Simulated { number, .. } => *number,
        }
    }

    #[inline]
    pub(crate) fn has_letters(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub(crate) fn take_letters(&self) -> Vec<Letter> {
        // Acquire: pairs with the Release in `send`.
        if !self.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends a letter home. A core that is gone has given up what it would be about.
#[cold]
pub(crate) fn send(core: CoreId, letter: Letter) {
    let Some(mailbox) = all().iter().find(|mailbox| mailbox.core == core).cloned() else {
        return;
    };
    mailbox.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    // Release: pairs with the Acquire in `take_letters`.
    mailbox.any.store(true, Ordering::Release);
    mailbox.wake();
}

fn all() -> std::sync::MutexGuard<'static, Vec<Arc<Mailbox>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
