//! The waker of a task: on the task's core a flag and a push onto the run queue, elsewhere a letter to the core.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::header::Header;
use super::local;

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// The waker of a task, lent for a poll: it holds no reference of its own.
///
/// # Safety
///
/// The task outlives what is returned.
#[inline]
pub(super) unsafe fn lend(header: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: the table's functions keep the contract of a waker for any pointer to a header that is alive.
    ManuallyDrop::new(unsafe { Waker::new(header.as_ptr().cast_const().cast(), &TABLE) })
}

/// # Safety
///
/// `data` came from a waker of this table that is alive.
unsafe fn header_of(data: *const ()) -> NonNull<Header> {
    // SAFETY: wakers are made of headers, which are not null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: called by a waker that is alive.
    let header = unsafe { header_of(data) };
    // SAFETY: the waker keeps the task.
    unsafe { header.as_ref() }.take_reference();
    RawWaker::new(data, &TABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: called by a waker that is alive.
    let this = unsafe { header_of(data) };
    // SAFETY: the waker keeps the task.
    let header = unsafe { this.as_ref() };
    if header.at_home() {
        local::schedule(header);
        // SAFETY: the waker's reference, which is given up with it.
        unsafe { Header::release(this) };
    } else {
        let then = header.state.wake();
        // SAFETY: the waker's reference is given back, or goes along.
        unsafe { Header::act(this, then) };
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: called by a waker that is alive.
    let this = unsafe { header_of(data) };
    // SAFETY: the waker keeps the task.
    let header = unsafe { this.as_ref() };
    if header.at_home() {
        local::schedule(header);
    } else {
        let then = header.state.wake_by_ref();
        // SAFETY: if it is sent, a reference was taken for that.
        unsafe { Header::act(this, then) };
    }
}

unsafe fn drop(data: *const ()) {
    // SAFETY: called by a waker that is alive.
    let this = unsafe { header_of(data) };
    // SAFETY: the waker's reference, which is given up with it.
    unsafe { Header::release(this) };
}
