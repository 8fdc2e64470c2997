//! Chains: operations that go to the kernel as one ordered submission.
//!
//! Each begins when the one before it has ended. One that fails, or does less than was asked, ends the chain: the
//! rest is not done, with the error `ECANCELED`. After one that was made with [`Op::always`] the chain goes on in any
//! case.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::context::{self, Operations};
use super::{Op, OpState, Operation, Submission};

/// Links operations, given as a tuple of two to six: they go to the kernel in one submission and run in order.
///
/// Awaiting it gives the tuple of their outputs, each with its own result and its own buffer.
///
/// # Cancel safety
///
/// Dropping it drops each of its operations: what that means is said there. What has not begun is cancelled, too, unless
/// it is left to finish.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::{Descriptor, Op, Sync, WriteAll, chain};
///
/// let path = std::env::temp_dir().join(format!("corering-chain-{}", std::process::id()));
/// let file = std::fs::File::create(&path)?;
/// # std::fs::remove_file(&path)?;
/// let file = Descriptor::new(file.into());
/// corering_runtime::run(async {
///     let write = Op::new(WriteAll::at(&file, "durable", 0));
///     let sync = Op::new(Sync::all(&file));
///     let ((written, _text), synced) = chain((write, sync)).await;
///     written.and(synced)
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn chain<L: Links>(operations: L) -> Chain<L> {
    Chain { operations, outputs: L::Outputs::default(), submitted: false }
}

/// A tuple of operations that can be linked; see [`chain`].
pub trait Links: sealed::Links {}

mod sealed {
    use std::task::{Context, Poll};

    use super::Prepared;

    pub trait Links: Unpin {
        /// An `Option` of each output.
        type Outputs: Default + Unpin;
        /// The tuple of the outputs.
        type Output;

        /// How many operations it links.
        const COUNT: usize;

        fn prepare(&mut self, prepared: &mut Prepared<'_>);
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
        fn poll_all(&mut self, outputs: &mut Self::Outputs, cx: &mut Context<'_>) -> Poll<()>;
        fn take(outputs: &mut Self::Outputs) -> Self::Output;
    }
}

/// The submissions of a chain, collected before they go together.
pub struct Prepared<'a> {
    operations: &'a Operations,
    entries: Vec<Submission>,
}

impl Prepared<'_> {
    /// All submissions. The operations know from now on which of them begins after which.
    fn linked(mut self) -> Vec<Submission> {
        let entries = std::mem::take(&mut self.entries);
        let mut slots = self.operations.slots.borrow_mut();
        for pair in entries.windows(2) {
            slots.link(context::key_of(pair[0].get_user_data()).index, context::key_of(pair[1].get_user_data()).index);
        }
        entries
    }
}

impl Drop for Prepared<'_> {
    /// If one of the operations panicked while it made its submission, none is submitted: those before it have ended.
    fn drop(&mut self) {
        for entry in self.entries.drain(..) {
            self.operations.end(context::key_of(entry.get_user_data()), -libc::ECANCELED);
        }
    }
}

/// Operations that go together; made by [`chain`].
#[must_use = "a chain does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Chain<L: Links> {
    operations: L,
    outputs: L::Outputs,
    submitted: bool,
}

impl<L: Links> Future for Chain<L> {
    type Output = L::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.submitted {
            if this.operations.poll_ready(cx).is_pending() {
                return Poll::Pending;
            }
            let submitted = context::with(|operations| {
                if !operations.is_running() {
                    return None;
                }
                let mut prepared = Prepared { operations, entries: Vec::with_capacity(L::COUNT) };
                this.operations.prepare(&mut prepared);
                let entries = prepared.linked();
                // SAFETY: each entry was made by an operation in the slot that its user data names.
                unsafe { operations.driver.submit_linked(&entries) };
                Some(())
            });
            assert!(
                submitted.flatten().is_some(),
                "a chain was awaited outside a runtime: await it inside corering::run or Runtime::block_on"
            );
            this.submitted = true;
        }
        match this.operations.poll_all(&mut this.outputs, cx) {
            Poll::Ready(()) => Poll::Ready(L::take(&mut this.outputs)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<O: Operation> Op<O> {
    /// Places the operation and adds its submission, linked to the next unless it is the last.
    fn prepare(&mut self, prepared: &mut Prepared<'_>, last: bool) {
        let flag = (!last).then(|| self.link.flag());
        self.place(prepared.operations, |entry, key| {
            let entry = entry.user_data(context::user_data(key));
            prepared.entries.push(match flag {
                Some(flag) => entry.flags(flag),
                None => entry,
            });
        });
    }

    fn poll_link_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            OpState::Idle(operation) => operation.poll_ready(cx),
            OpState::Submitted { .. } | OpState::Over => {
                panic!("an operation of a chain was submitted on its own before")
            }
        }
    }

    fn poll_link(&mut self, output: &mut Option<O::Output>, cx: &mut Context<'_>) -> Poll<()> {
        if output.is_none() {
            match Pin::new(self).poll(cx) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

macro_rules! links {
    ($count:expr, $($name:ident $index:tt),+; $($back:tt)+) => {
        impl<$($name: Operation),+> sealed::Links for ($(Op<$name>,)+)
        where
            $($name::Output: Unpin),+
        {
            type Outputs = ($(Option<$name::Output>,)+);

            type Output = ($($name::Output,)+);

            const COUNT: usize = $count;

            fn prepare(&mut self, prepared: &mut Prepared<'_>) {
                $(self.$index.prepare(prepared, $index == $count - 1);)+
            }

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
                $(if self.$index.poll_link_ready(cx).is_pending() {
                    return Poll::Pending;
                })+
                Poll::Ready(())
            }

            fn poll_all(&mut self, outputs: &mut Self::Outputs, cx: &mut Context<'_>) -> Poll<()> {
                // The last first: when it has ended all have, so one wake does for the whole chain.
                $(if self.$back.poll_link(&mut outputs.$back, cx).is_pending() {
                    return Poll::Pending;
                })+
                Poll::Ready(())
            }

            fn take(outputs: &mut Self::Outputs) -> Self::Output {
                ($(match outputs.$index.take() {
                    Some(output) => output,
                    None => panic!("a chain was polled after it had given its output"),
                },)+)
            }
        }

        impl<$($name: Operation),+> Links for ($(Op<$name>,)+) where $($name::Output: Unpin),+ {}
    };
}

links!(2, A 0, B 1; 1 0);
links!(3, A 0, B 1, C 2; 2 1 0);
links!(4, A 0, B 1, C 2, D 3; 3 2 1 0);
links!(5, A 0, B 1, C 2, D 3, E 4; 4 3 2 1 0);
links!(6, A 0, B 1, C 2, D 3, E 4, F 5; 5 4 3 2 1 0);
