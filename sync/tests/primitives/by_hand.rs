//! Futures that are polled by hand, with wakers that count.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A waker that counts how often it was woken.
#[derive(Default)]
pub(crate) struct Bell(AtomicUsize);

impl Bell {
    pub(crate) fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future, and the bell that it is polled with.
pub(crate) struct ByHand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    bell: Arc<Bell>,
}

impl<'a, T> ByHand<'a, T> {
    pub(crate) fn new(future: impl IntoFuture<Output = T, IntoFuture: 'a>) -> Self {
        Self { future: Box::pin(future.into_future()), bell: Arc::default() }
    }

    /// One that has been polled once, and waits.
    #[track_caller]
    pub(crate) fn waiting(future: impl IntoFuture<Output = T, IntoFuture: 'a>) -> Self {
        let mut this = Self::new(future);
        assert!(this.poll().is_pending(), "it need not wait");
        this
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.poll_with(&waker)
    }

    pub(crate) fn poll_with(&mut self, waker: &Waker) -> Poll<T> {
        self.future.as_mut().poll(&mut Context::from_waker(waker))
    }

    /// What it gives, which it must have by now.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it still waits"),
        }
    }

    /// How often it was woken.
    pub(crate) fn rings(&self) -> usize {
        self.bell.rings()
    }

    pub(crate) fn was_woken(&self) -> bool {
        self.rings() > 0
    }
}
