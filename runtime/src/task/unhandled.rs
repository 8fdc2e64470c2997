//! Errors of tasks that nobody awaits: told once, when they happen, with the task's name.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::{GroupError, JoinError, TaskInfo, local};
use crate::time::Elapsed;

/// An error that nobody fetched: the task panicked or failed, and its handle had been dropped.
#[derive(Debug)]
pub struct Unhandled {
    task: TaskInfo,
    what: String,
}

impl Unhandled {
    pub(super) fn new(task: TaskInfo, what: String) -> Self {
        Self { task, what }
    }

    /// The task.
    pub fn task(&self) -> &TaskInfo {
        &self.task
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.task, self.what)
    }
}

pub(super) type Hook = dyn Fn(&Unhandled);

/// Has this core tell `hook` of errors that nobody fetches, instead of writing them to standard error.
///
/// asyncio's 'exception was never retrieved', but told when the task ends, not when something is collected. It is
/// told of panics, of the errors of tasks whose output is `Result<(), E>` with a common type of error
/// ([`io::Error`], `Box<dyn Error>` with or without `Send + Sync`, `String`, `&'static str`, and this crate's own), and
/// of all errors after [`JoinHandle::detach`](super::JoinHandle::detach).
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// use corering_runtime::task;
/// use std::{cell::RefCell, io, rc::Rc};
///
/// corering_runtime::run(async {
///     let told = Rc::new(RefCell::new(Vec::new()));
///     task::on_unhandled({
///         let told = told.clone();
///         move |error| told.borrow_mut().push(error.to_string())
///     });
///     drop(corering_runtime::spawn(async { Err::<(), _>(io::Error::other("no luck")) }).name("tries"));
///     task::yield_now().await;
///     assert!(told.borrow()[0].contains("'tries'") && told.borrow()[0].ends_with("failed: no luck"));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn on_unhandled(hook: impl Fn(&Unhandled) + 'static) {
    local::set_hook(Rc::new(hook));
}

pub(super) fn report(hook: Option<Rc<Hook>>, unhandled: &Unhandled) {
    let Some(hook) = hook else {
        return crate::report(format_args!("{unhandled}"));
    };
    // A hook that panics must not stop the loop, nor may what it was told of get lost.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| hook(unhandled))) {
        std::mem::forget(payload);
        crate::report(format_args!("the hook of on_unhandled panicked; it was told: {unhandled}"));
    }
}

/// Tells what is wrong with an output of a common type.
///
/// # Safety
///
/// `output` is a T.
pub(super) unsafe fn describe<T: 'static>(output: *const ()) -> Option<String> {
    // SAFETY: the caller's promise.
    let output: &dyn Any = unsafe { &*output.cast::<T>() };
    fn of<E: fmt::Display + 'static>(output: &dyn Any) -> Option<String> {
        output.downcast_ref::<Result<(), E>>()?.as_ref().err().map(E::to_string)
    }
    of::<io::Error>(output)
        .or_else(|| of::<Box<dyn Error>>(output))
        .or_else(|| of::<Box<dyn Error + Send + Sync>>(output))
        .or_else(|| of::<String>(output))
        .or_else(|| of::<&'static str>(output))
        .or_else(|| of::<GroupError<io::Error>>(output))
        .or_else(|| of::<GroupError<Box<dyn Error>>>(output))
        .or_else(|| of::<GroupError<Box<dyn Error + Send + Sync>>>(output))
        .or_else(|| of::<JoinError>(output))
        .or_else(|| of::<Elapsed>(output))
}

/// The text of an error of a common type.
pub(super) fn text_of<E: 'static>(error: E) -> Option<String> {
    let result: Result<(), E> = Err(error);
    // SAFETY: it is one.
    unsafe { describe::<Result<(), E>>(std::ptr::from_ref(&result).cast()) }
}

/// Tells the error of a result.
///
/// # Safety
///
/// `output` is a `Result<T, E>`.
pub(super) unsafe fn describe_result<T, E: fmt::Display>(output: *const ()) -> Option<String> {
    // SAFETY: the caller's promise.
    let output = unsafe { &*output.cast::<Result<T, E>>() };
    output.as_ref().err().map(E::to_string)
}

/// There is nothing to tell.
///
/// # Safety
///
/// None is needed: it looks at nothing.
pub(super) unsafe fn nothing(_: *const ()) -> Option<String> {
    None
}
