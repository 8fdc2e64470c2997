//! A core within a tokio runtime, both on one thread: whatever is ready on either side runs, and the thread sleeps in
//! tokio's epoll. For programs that have a tokio runtime already, and want the ring for a part.

use std::os::fd::{AsFd as _, BorrowedFd};

use corering::time::Instant;
use corering::{Runtime, io};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// Turns `runtime`, which was made with `Builder::embedded`, until `future` has ended on it, beside whatever else tokio
/// runs on this thread: a current-thread runtime, and there within `block_on` or a `LocalSet`.
///
/// # Errors
///
/// If tokio cannot wait for the core's descriptor, or what it runs has panicked.
///
/// # Cancel safety
///
/// Dropped, the core is turned no more; what runs on it goes on when somebody turns it again, or ends with the runtime.
pub async fn run<T: 'static>(runtime: &Runtime, future: impl Future<Output = T> + 'static) -> io::Result<T> {
    let descriptor: BorrowedFd<'_> = runtime.as_fd();
    // SAFETY: the descriptor is borrowed of the runtime, which so keeps it open for longer than this lives; and a borrowed
    //         descriptor is always the same one.
    let called = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
    let task = corering::spawn(future);
    loop {
        let pass = runtime.poll_once(std::time::Duration::ZERO);
        if task.is_finished() {
            return Ok(task.await?);
        }
        if pass.more {
            tokio::task::yield_now().await;
            continue;
        }
        // Taken back before the pass: what comes during it is an edge of its own.
        match runtime.next_deadline() {
            None => called.readable().await?.clear_ready(),
            Some(deadline) => {
                if let Ok(ready) = timeout(deadline - Instant::now(), called.readable()).await {
                    ready?.clear_ready();
                }
            }
        }
    }
}
