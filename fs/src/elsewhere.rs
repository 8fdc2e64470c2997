//! What no operation of the ring does: plain calls, made on the blocking pool, in order with what was dropped before.
//!
//! Invariant: a call that changes something and whose future was dropped counts as an orphan until it has returned;
//! whatever comes later on the same file, or on names of the same core, waits for it.

use std::ffi::CString;
use std::future::poll_fn;
use std::io;

use corering_runtime::blocking;
use corering_runtime::buf::IoBuf;
use corering_runtime::op::{Descriptor, Op, WriteAll, change_elsewhere, change_names_elsewhere, poll_names_settled};
use corering_runtime::task::shield;

/// Looks at names.
pub(crate) async fn look<T: Send + 'static>(
    path: CString,
    call: impl FnOnce(CString) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    poll_fn(poll_names_settled).await;
    blocking::call(move || call(path)).await
}

/// Changes names, or what is known of what they name.
pub(crate) async fn change<T: Send + 'static>(
    path: CString,
    call: impl FnOnce(CString) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    change_names(move || call(path)).await
}

/// Runs a job that changes names, or what they name.
pub(crate) async fn change_names<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    poll_fn(poll_names_settled).await;
    let (here, elsewhere) = change_names_elsewhere();
    let output = blocking::call(move || {
        let output = job();
        drop(elsewhere);
        output
    })
    .await;
    drop(here);
    output
}

/// Does something with what is open. The call happens though its future is dropped; it lets go of the descriptor on its
/// own core, so that whoever waits for it to close it finds nobody else.
pub(crate) async fn with_open<T: Send + 'static>(
    descriptor: &Descriptor,
    call: impl FnOnce(&Descriptor) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    poll_fn(|cx| descriptor.poll_settled(cx)).await;
    let (here, elsewhere) = change_elsewhere(descriptor);
    let descriptor = descriptor.clone();
    let called = shield(async move {
        let (output, descriptor) = blocking::call(move || (call(&descriptor), descriptor)).await;
        drop(descriptor);
        drop(elsewhere);
        // In a tuple, so that an error which nobody awaits is nobody's, as that of any orphan.
        (output,)
    });
    let (output,) = called.await;
    drop(here);
    output
}

/// Writes to what somebody has opened by its name, whole even if its future is dropped: whatever comes later on names of the
/// same core then waits for it, since it knows nothing of the descriptor.
pub(crate) async fn write_out<B: IoBuf>(file: &Descriptor, buffer: B, offset: u64) -> (io::Result<()>, B) {
    let (here, elsewhere) = change_names_elsewhere();
    let write = Op::new(WriteAll::at(file, buffer, offset));
    let written = shield(async move {
        let written = write.await;
        drop(elsewhere);
        written
    })
    .await;
    drop(here);
    written
}
