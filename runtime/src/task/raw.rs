//! The typed part of a task: its future, then its output, in one allocation with the header.

use std::alloc::Layout;
use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::cells::{CellKind, Cells};
use super::header::{Header, Vtable};
use super::local;

/// Header first, so that a pointer to the one is a pointer to the other.
#[repr(C)]
struct Task<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Running(F),
    Ended(Outcome<F::Output>),
    Gone,
}

/// How a future ended.
pub(super) enum Outcome<T> {
    Output(T),
    Panic(Box<dyn Any + Send>),
    Cancelled,
}

struct Typed<F>(std::marker::PhantomData<F>);

impl<F: Future> Typed<F> {
    const VTABLE: Vtable = Vtable {
        poll: poll::<F>,
        cancel: cancel::<F>,
        take_output: take_output::<F>,
        output: output::<F>,
        drop_output: drop_output::<F>,
        free: free::<F>,
    };
    const TABLE: &'static Vtable = &Self::VTABLE;
    const CELL: CellKind = CellKind::of(Layout::new::<Task<F>>());
}

/// Makes the task of `future`, in memory of `cells`. `header` is given its table.
#[inline]
pub(super) fn allocate<F: Future>(
    future: F,
    cells: &Cells,
    header: impl FnOnce(&'static Vtable) -> Header,
) -> NonNull<Header> {
    let task = Task { header: header(Typed::<F>::TABLE), stage: UnsafeCell::new(Stage::Running(future)) };
    let place = cells.take(Typed::<F>::CELL).cast::<Task<F>>();
    // SAFETY: the cell is large and aligned enough for a task of F, and nobody else has it.
    unsafe { place.write(task) };
    place.cast()
}

/// # Safety
///
/// `header` was allocated for an F, and this is the core's thread, where nobody else looks at the stage now.
unsafe fn stage<'a, F: Future>(header: NonNull<Header>) -> &'a mut Stage<F> {
    let task = header.cast::<Task<F>>();
    // SAFETY: `allocate` made a `Task<F>` here.
    let cell = unsafe { &raw const (*task.as_ptr()).stage };
    // SAFETY: as above.
    let stage = unsafe { (*cell).get() };
    // SAFETY: the caller says that nobody else looks at it.
    unsafe { &mut *stage }
}

/// # Safety
///
/// As the table says.
unsafe fn poll<F: Future>(header: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    // SAFETY: only the loop polls and cancels, one at a time.
    let stage = unsafe { stage::<F>(header) };
    let Stage::Running(future) = stage else {
        return true;
    };
    // SAFETY: the future lies in the task's allocation, from where it is never moved: it is dropped in place.
    let future = unsafe { Pin::new_unchecked(future) };
    let outcome = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Outcome::Output(output),
        Err(payload) => Outcome::Panic(payload),
    };
    end(stage, outcome);
    true
}

/// # Safety
///
/// As the table says.
unsafe fn cancel<F: Future>(header: NonNull<Header>) {
    // SAFETY: only the loop polls and cancels, one at a time.
    let stage = unsafe { stage::<F>(header) };
    if matches!(stage, Stage::Running(_)) {
        end(stage, Outcome::Cancelled);
    }
}

/// Drops the future where it is, then keeps its outcome. A panic of the drop is the outcome then.
fn end<F: Future>(stage: &mut Stage<F>, outcome: Outcome<F::Output>) {
    let dropped = catch_unwind(AssertUnwindSafe(|| *stage = Stage::Gone));
    let outcome = match dropped {
        Ok(()) => outcome,
        Err(payload) => {
            forget_panics(|| drop(outcome));
            Outcome::Panic(payload)
        }
    };
    // If the drop panicked, what is left of the future is not dropped again.
    std::mem::forget(std::mem::replace(stage, Stage::Ended(outcome)));
}

/// # Safety
///
/// As the table says; `to` is an `Option<Outcome<F::Output>>`.
unsafe fn take_output<F: Future>(header: NonNull<Header>, to: *mut ()) {
    // SAFETY: the future has ended, so only the handle looks at the stage, on the core's thread.
    let stage = unsafe { stage::<F>(header) };
    if let Stage::Ended(outcome) = std::mem::replace(stage, Stage::Gone) {
        // SAFETY: the caller says what `to` is.
        unsafe { *to.cast::<Option<Outcome<F::Output>>>() = Some(outcome) };
    }
}

/// # Safety
///
/// As the table says.
unsafe fn output<F: Future>(header: NonNull<Header>) -> *const () {
    // SAFETY: the future has ended, so only the handle looks at the stage, on the core's thread.
    match unsafe { stage::<F>(header) } {
        Stage::Ended(outcome) => std::ptr::from_ref(outcome).cast(),
        Stage::Running(_) | Stage::Gone => std::ptr::null(),
    }
}

/// # Safety
///
/// As the table says.
unsafe fn drop_output<F: Future>(header: NonNull<Header>) -> Option<String> {
    // SAFETY: the future has ended, and its handle, the only one to look at the output, has gone or is going.
    let stage = unsafe { stage::<F>(header) };
    let Stage::Ended(outcome) = std::mem::replace(stage, Stage::Gone) else {
        return None;
    };
    match outcome {
        Outcome::Cancelled => None,
        Outcome::Panic(payload) => {
            let what = format!("panicked: {}", super::join::message_of(&*payload));
            forget_panics(|| drop(payload));
            Some(what)
        }
        Outcome::Output(output) => {
            // SAFETY: the header is alive.
            let describe = unsafe { header.as_ref() }.describe.get();
            // SAFETY: it was made for this type of output.
            let wrong = catch_unwind(AssertUnwindSafe(|| unsafe { describe(std::ptr::from_ref(&output).cast()) }));
            let wrong = match wrong {
                Ok(wrong) => wrong.map(|error| format!("failed: {error}")),
                Err(payload) => {
                    std::mem::forget(payload);
                    Some("failed, with an error that panics when it is printed".to_owned())
                }
            };
            let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(output))) else {
                return wrong;
            };
            let panicked = format!("panicked when its output was dropped: {}", super::join::message_of(&*payload));
            std::mem::forget(payload);
            Some(wrong.unwrap_or(panicked))
        }
    }
}

/// # Safety
///
/// As the table says.
unsafe fn free<F: Future>(header: NonNull<Header>) {
    let task = header.cast::<Task<F>>();
    // SAFETY: `allocate` made a `Task<F>` here, and nobody refers to it any more.
    unsafe { task.drop_in_place() };
    // SAFETY: the memory that `allocate` took for it.
    unsafe { local::give_back(Typed::<F>::CELL, task.cast()) };
}

/// A destructor that panics while nobody can be told: the hook has printed it.
fn forget_panics(destructor: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(destructor)) {
        std::mem::forget(payload);
    }
}
