//! Values that a task has, and those that it spawns.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::local;

/// A variable of which each task has its own value; tasks that it spawns begin with the same.
///
/// asyncio's `ContextVar`. The value belongs to the task that runs, whatever function it is in: for request numbers,
/// the user on whose behalf something is done, and the like. It is declared as a static, and set for
/// [a future](Self::scope) or for [the rest of the task](Self::set).
///
/// # Examples
///
/// ```
/// use corering_runtime::task::{self, TaskLocal};
///
/// static REQUEST: TaskLocal<u64> = TaskLocal::new();
///
/// async fn handle() -> String {
///     let child = corering_runtime::spawn(async { format!("request {}", REQUEST.get().unwrap()) });
///     child.await.unwrap()
/// }
///
/// corering_runtime::run(async {
///     assert_eq!(REQUEST.scope(7, handle()).await, "request 7");
///     assert_eq!(REQUEST.get(), None);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "ContextVar")]
#[doc(alias = "task_local")]
pub struct TaskLocal<T> {
    /// Not empty, so that each static has an address of its own.
    _place: u8,
    value: PhantomData<fn() -> T>,
}

/// One value, and those that were there before. Tasks share it.
pub(super) struct Binding {
    key: *const (),
    value: Rc<dyn Any>,
    next: Option<Rc<Binding>>,
}

impl Drop for Binding {
    /// Link by link: a long chain would not fit on the stack.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(binding) = next.take() {
            next = Rc::into_inner(binding).and_then(|mut last| last.next.take());
        }
    }
}

impl<T: 'static> TaskLocal<T> {
    /// A variable that no task has a value of.
    #[expect(clippy::new_without_default, reason = "a default would have no address to be known by")]
    pub const fn new() -> Self {
        Self { _place: 0, value: PhantomData }
    }

    fn key(&'static self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// The running task's value, shared. `None` if it has none, and outside a runtime.
    pub fn get_rc(&'static self) -> Option<Rc<T>> {
        let mut next = local::locals();
        while let Some(binding) = next.take() {
            if binding.key == self.key() {
                return Rc::clone(&binding.value).downcast().ok();
            }
            next.clone_from(&binding.next);
        }
        None
    }

    /// A copy of the running task's value. `None` if it has none, and outside a runtime.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.get_rc().map(|value| T::clone(&value))
    }

    /// Looks at the running task's value. `None` if it has none, and outside a runtime.
    pub fn with<R>(&'static self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.get_rc().map(|value| look(&value))
    }

    /// Gives the running task a value, from now on; within a [`scope`](Self::scope), until that ends. Tasks that it
    /// spawned before keep what they have.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub fn set(&'static self, value: T) {
        let before = local::set_locals(Some(self.bind(Rc::new(value), local::locals())));
        match before {
            Some(before) => drop(before),
            None => panic!("a task-local was set outside a runtime: set it within a task"),
        }
    }

    fn bind(&'static self, value: Rc<dyn Any>, next: Option<Rc<Binding>>) -> Rc<Binding> {
        // A value that is replaced is passed over when it is the latest: setting one in a loop keeps one.
        let next = match next {
            Some(latest) if latest.key == self.key() => latest.next.clone(),
            next => next,
        };
        Rc::new(Binding { key: self.key(), value, next })
    }

    /// Awaits a future under a value: it, and what it spawns, sees it.
    pub fn scope<F: IntoFuture>(&'static self, value: T, future: F) -> Scope<T, F::IntoFuture> {
        Scope { local: self, value: Some(Rc::new(value)), within: None, future: future.into_future() }
    }
}

impl<T> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLocal")
    }
}

pin_project_lite::pin_project! {
    /// A future under a value; made by [`TaskLocal::scope`].
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Scope<T: 'static, F> {
        local: &'static TaskLocal<T>,
        // `None` once it is part of what is below.
        value: Option<Rc<T>>,
        // All values as they were when it was last polled: they may be set in there, too.
        within: Option<Rc<Binding>>,
        #[pin]
        future: F,
    }
}

impl<T: 'static, F: Future> Future for Scope<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Takes the values away again, also if the future panics.
        struct Back<'a> {
            before: Option<Rc<Binding>>,
            within: &'a mut Option<Rc<Binding>>,
        }
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                *self.within = local::set_locals(self.before.take()).flatten();
            }
        }
        let this = self.project();
        let before = local::locals();
        if let Some(value) = this.value.take() {
            *this.within = Some(this.local.bind(value, before.clone()));
        }
        drop(local::set_locals(this.within.take()));
        let _back = Back { before, within: this.within };
        this.future.poll(cx)
    }
}

impl<T, F> fmt::Debug for Scope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}
