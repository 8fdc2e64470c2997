//! Slots: where an operation lives while the kernel may touch its memory.
//!
//! ```text
//!          place            final completion         polled
//!  Vacant -------> InFlight ----------------> Done ----------> Vacant (generation + 1)
//!                     | future dropped                | future dropped
//!                     v                               v
//!                  Orphaned --final completion--> Leaving -----> Vacant (generation + 1)
//! ```
//!
//! An operation that is done again and again rests in its slot in between: `Done --fetched--> Resting --> InFlight`.
//!
//! Invariant: contents neither move nor drop between submit and the final completion. Pages of slots are made as
//! needed and stay where they are; a slot's number and generation are what the kernel and the futures hold, so a
//! late completion, wake or cancel never reaches a newer operation in the same slot.
//!
//! Headers are reached through `&mut Slots`; contents only by raw pointers, because the kernel may be writing there.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::task::Waker;

use io_uring::cqueue;
use io_uring::squeue::Entry;

use crate::ring::Completion;

/// Bytes of an operation that fit into its slot; a larger one is boxed.
const INLINE: usize = 80;
const PAGE: usize = 64;
const PAGE_BITS: u32 = 6;
const NONE: u32 = u32::MAX;
const GENERATIONS: u32 = 1 << 24;
/// `IORING_NOTIF_USAGE_ZC_COPIED`.
const NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// Where an operation is. Stale once the slot has been freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Vacant,
    InFlight,
    Done,
    /// Done and fetched, to be submitted again from where it is.
    Resting,
    Orphaned,
    /// Its contents are being given up.
    Leaving,
}

/// What the untyped side needs to know of the operation in a slot.
pub(super) struct Vtable {
    /// Takes a completion that is not kept in the header, and the wakers to wake for it. Only of multishots.
    pub(super) queue: Option<unsafe fn(Contents, Completion) -> Queued>,
    /// Ends an orphan: moves the operation out of the slot and gives its result up.
    pub(super) dispose: unsafe fn(Contents, Completion),
    /// Asks an orphan that has ended whether there is more to do, and what. Only of those that are left to finish.
    pub(super) resume: Option<unsafe fn(Contents, Completion) -> Option<Entry>>,
    /// Tells the operation in the slot that its owner has gone while the kernel has it.
    pub(super) abandoned: unsafe fn(Contents),
    /// Tells it that its result is there, though the kernel goes on to use its memory. Not of multishots.
    pub(super) has_result: unsafe fn(Contents, Completion),
    /// Whether it is then to be cancelled.
    pub(super) cancel_on_drop: bool,
}

/// What queueing a completion led to.
pub(super) struct Queued {
    pub(super) wakers: Vec<Waker>,
    /// More lies there than anybody fetches: ask the kernel to stop.
    pub(super) enough: bool,
}

pub(super) struct Header {
    pub(super) state: State,
    generation: u32,
    /// While the slot is vacant, the next vacant one; else the slot of the operation that is linked to this one.
    next: u32,
    pub(super) result: i32,
    pub(super) flags: u32,
    pub(super) waker: Option<Waker>,
    pub(super) vtable: &'static Vtable,
}

impl Header {
    /// Takes a completion down. A notification says only that the kernel has done with the buffer, and whether it has
    /// copied it: the result came before.
    #[inline]
    pub(super) fn note(&mut self, completion: Completion) {
        if !cqueue::notif(completion.flags) {
            self.result = completion.result;
            self.flags = completion.flags;
        } else if completion.result as u32 & NOTIF_USAGE_ZC_COPIED != 0 {
            self.flags |= Completion::COPIED;
        }
    }

    /// The slot of the operation that begins when this one has ended. (It has not ended before, so it is still there.)
    #[inline]
    pub(super) fn take_next(&mut self) -> Option<u32> {
        (self.next != NONE).then(|| std::mem::replace(&mut self.next, NONE))
    }
}

#[repr(C, align(64))]
struct Slot {
    header: Header,
    contents: MaybeUninit<[u64; INLINE / 8]>,
}

impl Slot {
    /// Where the header of a slot is.
    ///
    /// # Safety
    ///
    /// `slot` lies in a page that lives.
    #[inline]
    unsafe fn header(slot: NonNull<Slot>) -> *mut Header {
        // SAFETY: the caller's promise.
        unsafe { &raw mut (*slot.as_ptr()).header }
    }

    /// Where the contents of a slot are.
    ///
    /// # Safety
    ///
    /// As for [`header`](Self::header).
    #[inline]
    unsafe fn contents(slot: NonNull<Slot>) -> Contents {
        // SAFETY: the caller's promise.
        let contents = unsafe { &raw mut (*slot.as_ptr()).contents };
        // SAFETY: a field of a slot is not null.
        Contents(unsafe { NonNull::new_unchecked(contents) }.cast())
    }
}

/// The address of what is in a slot.
#[derive(Clone, Copy)]
pub(super) struct Contents(NonNull<u8>);

impl Contents {
    const fn fits<T>() -> bool {
        size_of::<T>() <= INLINE && align_of::<T>() <= align_of::<u64>()
    }

    /// Moves `value` into the slot (or into a box that the slot holds), where it stays.
    ///
    /// # Safety
    ///
    /// The slot was reserved and nothing is in it.
    #[inline]
    pub(super) unsafe fn place<T>(self, value: T) -> NonNull<T> {
        if Self::fits::<T>() {
            let place = self.0.cast::<T>();
            // SAFETY: the contents are large and aligned enough for a T, and the caller says that they are free.
            unsafe { place.write(value) };
            place
        } else {
            let boxed = NonNull::from(Box::leak(Box::new(value)));
            // SAFETY: as above, for a pointer.
            unsafe { self.0.cast::<NonNull<T>>().write(boxed) };
            boxed
        }
    }

    /// Where the value is.
    ///
    /// # Safety
    ///
    /// A `T` was placed here and not taken.
    #[inline]
    pub(super) unsafe fn get<T>(self) -> NonNull<T> {
        if Self::fits::<T>() {
            self.0.cast::<T>()
        } else {
            // SAFETY: `place` has put the pointer here for a T of this size.
            unsafe { self.0.cast::<NonNull<T>>().read() }
        }
    }

    /// Moves the value out.
    ///
    /// # Safety
    ///
    /// A `T` was placed here and not taken, and the kernel has no more use for it.
    #[inline]
    pub(super) unsafe fn take<T>(self) -> T {
        // SAFETY: the caller's promise.
        let place = unsafe { self.get::<T>() };
        if Self::fits::<T>() {
            // SAFETY: the caller says that a T is there, and will not look at it again.
            unsafe { place.read() }
        } else {
            // SAFETY: `place` leaked this very box.
            *unsafe { Box::from_raw(place.as_ptr()) }
        }
    }
}

pub(crate) struct Slots {
    pages: Vec<NonNull<Slot>>,
    first_free: u32,
    /// Operations whose final completion has not come.
    pub(super) in_flight: usize,
    /// Slots that are not vacant.
    pub(super) occupied: usize,
    /// Those of them that rest.
    pub(super) resting: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new(), first_free: NONE, in_flight: 0, occupied: 0, resting: 0 }
    }

    /// Takes a vacant slot for an operation that is about to be placed and submitted.
    #[inline]
    pub(super) fn reserve(&mut self, vtable: &'static Vtable) -> (Key, Contents) {
        if self.first_free == NONE {
            self.grow();
        }
        let index = self.first_free;
        let header = self.header(index);
        header.state = State::InFlight;
        header.vtable = vtable;
        self.first_free = std::mem::replace(&mut header.next, NONE);
        let generation = self.header(index).generation;
        self.in_flight += 1;
        self.occupied += 1;
        // SAFETY: pages live as long as `self`.
        let contents = unsafe { Slot::contents(self.slot(index)) };
        (Key { index, generation }, contents)
    }

    /// The operation in an occupied slot goes to the kernel once more.
    #[inline]
    pub(super) fn begin_again(&mut self, index: u32) {
        let rested = std::mem::replace(&mut self.header(index).state, State::InFlight) == State::Resting;
        self.resting -= usize::from(rested);
        self.in_flight += 1;
    }

    /// The operation in an occupied slot has ended and was fetched, and stays for the next time.
    #[inline]
    pub(super) fn rest(&mut self, index: u32) {
        self.header(index).state = State::Resting;
        self.resting += 1;
    }

    /// Sets the waker of a slot that was just reserved.
    #[inline]
    pub(super) fn set_first_waker(&mut self, index: u32, waker: Waker) {
        let header = self.header(index);
        debug_assert!(header.waker.is_none());
        header.waker = Some(waker);
    }

    /// The slot of `key`, unless it has been freed since.
    #[inline]
    pub(super) fn get(&mut self, key: Key) -> Option<(&mut Header, Contents)> {
        let page = *self.pages.get((key.index >> PAGE_BITS) as usize)?;
        // SAFETY: the remainder is below the number of slots in a page.
        let slot = unsafe { page.add(key.index as usize % PAGE) };
        // SAFETY: pages live as long as `self`.
        let contents = unsafe { Slot::contents(slot) };
        // SAFETY: as above.
        let header = unsafe { Slot::header(slot) };
        // SAFETY: headers are reached only through `&mut Slots`, so nobody else has a reference to this one.
        let header = unsafe { &mut *header };
        (header.state != State::Vacant && header.generation == key.generation).then_some((header, contents))
    }

    /// Gives a slot up. Its contents have been taken; its waker must have been, too.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        let next_free = self.first_free;
        let header = self.header(index);
        debug_assert!(header.waker.is_none());
        header.state = State::Vacant;
        header.generation = (header.generation + 1) % GENERATIONS;
        header.next = next_free;
        self.first_free = index;
        self.occupied -= 1;
    }

    /// Says that the operation in the one slot begins when that in the other has ended.
    pub(super) fn link(&mut self, first: u32, second: u32) {
        self.header(first).next = second;
    }

    /// The operation in a slot, if it is an orphan.
    pub(super) fn orphan(&mut self, index: u32) -> Option<(Key, &'static Vtable)> {
        let header = self.header(index);
        let key = Key { index, generation: header.generation };
        (header.state == State::Orphaned).then_some((key, header.vtable))
    }

    /// All slots that hold something, for the end of the core.
    pub(super) fn occupied_keys(&mut self) -> Vec<Key> {
        let all = (self.pages.len() * PAGE) as u32;
        (0..all)
            .filter_map(|index| {
                let header = self.header(index);
                (header.state != State::Vacant).then_some(Key { index, generation: header.generation })
            })
            .collect()
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<Slot>()
    }

    #[cold]
    fn grow(&mut self) {
        let first = (self.pages.len() * PAGE) as u32;
        let mut page = Box::<[Slot; PAGE]>::new_uninit();
        let start = page.as_mut_ptr().cast::<Slot>();
        for place in 0..PAGE {
            let last = place == PAGE - 1;
            let slot = Slot {
                header: Header {
                    state: State::Vacant,
                    generation: 0,
                    next: if last { NONE } else { first + place as u32 + 1 },
                    result: 0,
                    flags: 0,
                    waker: None,
                    vtable: &NOTHING,
                },
                contents: MaybeUninit::uninit(),
            };
            // SAFETY: `place` is below the number of slots that the page has room for.
            let at = unsafe { start.add(place) };
            // SAFETY: `at` lies in the page, which is ours and uninitialised.
            unsafe { at.write(slot) };
        }
        // SAFETY: every slot has just been written.
        let page = unsafe { page.assume_init() };
        self.pages.push(NonNull::from(Box::leak(page)).cast::<Slot>());
        self.first_free = first;
    }

    #[inline]
    fn slot(&self, index: u32) -> NonNull<Slot> {
        let page = self.pages[(index >> PAGE_BITS) as usize];
        // SAFETY: the remainder is below the number of slots in a page.
        unsafe { page.add(index as usize % PAGE) }
    }

    #[inline]
    fn header(&mut self, index: u32) -> &mut Header {
        // SAFETY: pages live as long as `self`.
        let header = unsafe { Slot::header(self.slot(index)) };
        // SAFETY: headers are reached only through `&mut Slots`, so nobody else has a reference to this one.
        unsafe { &mut *header }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.occupied > 0 {
            // Something could not be waited for: it is leaked on purpose, page and all, never freed (K8).
            return;
        }
        for page in self.pages.drain(..) {
            let page = ptr::slice_from_raw_parts_mut(page.as_ptr(), PAGE);
            // SAFETY: `grow` leaked this box of PAGE slots; nothing is in them, so nobody points here.
            drop(unsafe { Box::from_raw(page) });
        }
    }
}

/// The table of a slot that nothing has been in.
static NOTHING: Vtable = Vtable {
    queue: None,
    dispose: nothing_to_dispose,
    resume: None,
    abandoned: nobody_to_tell,
    has_result: nothing_to_dispose,
    cancel_on_drop: false,
};

fn nothing_to_dispose(_: Contents, _: Completion) {}

fn nobody_to_tell(_: Contents) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_used_again_under_another_generation() {
        let mut slots = Slots::new();
        let (first, _) = slots.reserve(&NOTHING);
        slots.free(first.index);
        let (second, _) = slots.reserve(&NOTHING);
        assert_eq!(first.index, second.index);
        assert!(slots.get(first).is_none(), "the old key must not reach the new operation");
        assert!(slots.get(second).is_some());
        slots.free(second.index);
    }

    #[test]
    fn contents_stay_where_they_are_while_others_come() {
        let mut slots = Slots::new();
        let mut places = Vec::new();
        for number in 0..1000_u64 {
            let (key, contents) = slots.reserve(&NOTHING);
            // SAFETY: just reserved.
            let place = unsafe { contents.place(number) };
            places.push((key, place, number));
        }
        for (key, place, number) in places {
            let (_, contents) = slots.get(key).expect("still there");
            // SAFETY: placed above as a u64.
            assert_eq!(unsafe { contents.get::<u64>() }, place);
            // SAFETY: placed above as a u64, taken once.
            assert_eq!(unsafe { contents.take::<u64>() }, number);
            slots.free(key.index);
        }
        assert_eq!(slots.occupied, 0);
    }

    #[test]
    fn what_does_not_fit_is_boxed_and_comes_out_whole() {
        let mut slots = Slots::new();
        let (key, contents) = slots.reserve(&NOTHING);
        let large = [7_u8; 4 * INLINE];
        // SAFETY: just reserved.
        unsafe { contents.place(large) };
        // SAFETY: placed as this type, taken once.
        assert_eq!(unsafe { contents.take::<[u8; 4 * INLINE]>() }, large);
        slots.free(key.index);
    }

    #[test]
    fn a_number_that_was_never_given_out_finds_nothing() {
        let mut slots = Slots::new();
        let key = Key { index: 12345, generation: 0 };
        assert!(slots.get(key).is_none());
    }
}
