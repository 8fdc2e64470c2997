//! A value, and what is under way with it: a future that borrows the value, and is kept beside it.
//!
//! A caller that is dropped only stops waiting; the next one goes on with the same future, and learns what came of it.
//!
//! Invariant: while the future is there, nobody else looks at the value; and the future goes before the value does.

use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What is under way with a value.
pub(super) type UnderWay<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

pub(super) struct Kept<V, T> {
    /// First, so that it is dropped before what it borrows. It lives no longer than the value, whatever its type says.
    future: Option<UnderWay<'static, T>>,
    value: Owned<V>,
}

/// A value at a place that does not change when this is moved.
struct Owned<V>(NonNull<V>, PhantomData<V>);

impl<V> Drop for Owned<V> {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `Kept::new`, and is given back once: `into_value` forgets this.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<V, T> Kept<V, T> {
    pub(super) fn new(value: V) -> Self {
        Self { future: None, value: Owned(NonNull::from(Box::leak(Box::new(value))), PhantomData) }
    }

    /// Whether something is under way.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.future.is_some()
    }

    /// The value, if nothing is under way with it.
    #[inline]
    pub(super) fn get(&self) -> Option<&V> {
        if self.is_busy() {
            return None;
        }
        // SAFETY: the value is there as long as `self`, and no future borrows it.
        Some(unsafe { self.value.0.as_ref() })
    }

    /// The value, if nothing is under way with it.
    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut V> {
        if self.is_busy() {
            return None;
        }
        // SAFETY: the value is there as long as `self`, which is borrowed exclusively; no future borrows it.
        Some(unsafe { self.value.0.as_mut() })
    }

    /// Begins something, which the next [`poll`](Self::poll) goes on with.
    ///
    /// # Panics
    ///
    /// If something is under way.
    pub(super) fn begin(&mut self, make: impl for<'a> FnOnce(&'a mut V) -> UnderWay<'a, T>) {
        let Some(value) = self.get_mut() else { panic!("one thing at a time is under way") };
        let future = make(value);
        // SAFETY: only the lifetime changes. The value lies on the heap, where it stays until after the future has gone
        //         (`poll`, `into_value`, and the order of the fields); meanwhile `get` and `get_mut` give it to nobody.
        //         What the value itself borrows outlives `self`, since `Owned` has a destructor.
        self.future = Some(unsafe { std::mem::transmute::<UnderWay<'_, T>, UnderWay<'static, T>>(future) });
    }

    /// Goes on with what is under way.
    ///
    /// # Panics
    ///
    /// If nothing is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else { panic!("nothing is under way") };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// The value; what is under way is dropped.
    pub(super) fn into_value(self) -> V {
        let Self { future, value } = self;
        drop(future);
        let place = value.0;
        std::mem::forget(value);
        // SAFETY: it came from a box in `Kept::new`; its owner has just been forgotten.
        *unsafe { Box::from_raw(place.as_ptr()) }
    }
}

impl<V: std::fmt::Debug, T> std::fmt::Debug for Kept<V, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Some(value) => value.fmt(f),
            None => f.write_str("(busy)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    #[test]
    fn it_goes_on_where_it_was_left_wherever_it_is_moved() {
        let mut kept = Kept::new(1);
        kept.begin(|value| {
            Box::pin(async move {
                let mut waited = false;
                let wait = |_: &mut Context<'_>| match std::mem::replace(&mut waited, true) {
                    false => Poll::Pending,
                    true => Poll::Ready(()),
                };
                std::future::poll_fn(wait).await;
                *value += 1;
                *value
            })
        });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(kept.poll(&mut cx).is_pending());
        assert!(kept.get().is_none() && kept.get_mut().is_none());
        let mut moved = Box::new(kept);
        assert_eq!(moved.poll(&mut cx), Poll::Ready(2));
        assert_eq!(moved.get(), Some(&2));
        assert_eq!(moved.into_value(), 2);
    }

    #[test]
    fn the_future_goes_before_the_value() {
        struct Value(Rc<Cell<u32>>);
        impl Drop for Value {
            fn drop(&mut self) {
                assert_eq!(self.0.replace(2), 1, "the future has gone, and the value once");
            }
        }
        struct Future<'a>(&'a mut Value);
        impl Drop for Future<'_> {
            fn drop(&mut self) {
                assert_eq!(self.0.0.replace(1), 0);
            }
        }
        for give_back in [false, true] {
            let gone = Rc::new(Cell::new(0));
            let mut kept = Kept::<_, ()>::new(Value(gone.clone()));
            kept.begin(|value| {
                let future = Future(value);
                Box::pin(async move {
                    let _future = future;
                    std::future::pending().await
                })
            });
            assert!(kept.poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if give_back {
                drop(kept.into_value())
            } else {
                drop(kept)
            }
            assert_eq!(gone.get(), 2);
        }
    }
}
