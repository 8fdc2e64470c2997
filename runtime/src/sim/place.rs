//! Where in a world something is: on which core of which host. The thread knows the one that runs.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::chime::Chime;
use super::host::File;
use super::memory::Area;
use super::state::State;
use super::{Answer, Errno, HostId};

thread_local! {
    static HERE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// A core of a host of a world.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) world: Rc<RefCell<State>>,
    pub(crate) host: HostId,
    pub(crate) core: u16,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "core {} of host {}", self.core, self.host.0)
    }
}

impl Place {
    /// Makes this the place where the thread is.
    pub(crate) fn enter(&self) {
        HERE.with_borrow_mut(|here| match here {
            Some(here) if Rc::ptr_eq(&here.world, &self.world) => (here.host, here.core) = (self.host, self.core),
            here => *here = Some(self.clone()),
        });
    }

    /// The thread is nowhere.
    pub(crate) fn leave() {
        // At the end of the thread it is gone, and so is the place.
        let _ = HERE.try_with(|here| here.borrow_mut().take());
    }

    /// A bell of the host, and the number by which its cores know it.
    pub(crate) fn bell(&self) -> (Chime, RawFd) {
        let mut state = self.world.borrow_mut();
        let chime = Chime::new();
        let number = state.open_bell(self, chime.clone());
        (chime, number)
    }
}

/// Looks at the world and the host where the thread is.
pub(super) fn here<T>(look: impl FnOnce(&mut State, HostId) -> Answer<T>) -> Answer<T> {
    HERE.try_with(|here| match &*here.borrow() {
        Some(place) => look(&mut place.world.borrow_mut(), place.host),
        None => Err(Errno(libc::EBADF)),
    })
    .unwrap_or(Err(Errno(libc::EBADF)))
}

/// The program that runs takes time, in which all else goes on.
pub(crate) fn pass_time_until(to_ns: u64) {
    // Nowhere, there is no time.
    let _ = here(|state, _| {
        state.advance_to(to_ns);
        Ok(())
    });
}

/// Whether the simulated kernel may still read or write any of these bytes, for an operation that was begun in the
/// world of this thread. For tests of buffer types: memory that is given back while this is true would be written to.
///
/// # Examples
///
/// ```
/// let bytes = [0; 16];
/// assert!(!corering_runtime::world::is_in_flight(&bytes), "nobody has asked for anything");
/// ```
pub fn is_in_flight(bytes: &[u8]) -> bool {
    let area = Area { address: bytes.as_ptr().expose_provenance() as u64, len: bytes.len() };
    here(|state, _| Ok(state.is_in_flight(area))).unwrap_or(false)
}

impl State {
    /// A bell of a core, which is open as long as the core's ring lives.
    fn open_bell(&mut self, place: &Place, chime: Chime) -> RawFd {
        let number = self.open_unlimited(place.host, File::Bell { chime, seen: 0 });
        if let Ok(open) = self.find(place.host, number) {
            self.bells.push(Bell { open, number, host: place.host, core: place.core });
        }
        number
    }

    pub(super) fn close_bell(&mut self, host: HostId, core: u16) {
        let Some(at) = self.bells.iter().position(|bell| (bell.host, bell.core) == (host, core)) else {
            return;
        };
        let Bell { open, number, .. } = self.bells.remove(at);
        // If its host has crashed, it has forgotten the number.
        let known = self.find(host, number).is_ok_and(|found| found == open);
        if !known || self.close(host, number).is_err() {
            self.release(open);
        }
    }
}

/// A bell that is open.
pub(super) struct Bell {
    pub(super) open: usize,
    number: RawFd,
    host: HostId,
    core: u16,
}
