//! Waiting for several futures by name: `select!`, `join!`, `try_join!` and `gather!`.

use std::cell::Cell;

use super::local;

/// Waits for the first of several futures, and runs what belongs to it. The others have been dropped by then;
/// [cleanup](crate::task::cancel) that they left runs beside, and the task waits for it at its end.
///
/// ```text
/// select! {
///     biased;                                     // optional
///     PATTERN = FUTURE => HANDLER,                // as many as there are
///     PATTERN = FUTURE, if CONDITION => HANDLER,  // not waited for unless the condition holds
///     else => HANDLER,                            // optional
/// }
/// ```
///
/// Dropping a future of this project loses nothing, so any of them may stand here: a receive, an accept, a
/// [`get`](corering_sync::Queue::get). If several are ready, they take turns; with `biased` the first in the text wins.
/// A future whose output does not match its pattern is out; when none is left, `else` runs. Handlers run in the
/// function around: they may `return`, `break` and use `?`.
///
/// Futures are taken by value. `&mut future` is refused: one that is not polled while a handler runs may hold what the
/// handler waits for, and then both wait for ever. Spawn a task and wait for [`handle.ended()`](crate::JoinHandle::ended), or
/// put the handlers' work behind the `select!`.
///
/// # Panics
///
/// If none is left and there is no `else`.
///
/// # Examples
///
/// ```
/// use corering_runtime::{select, time};
/// use std::time::Duration;
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let mut ticks = time::interval(Duration::from_secs(1));
///     let end = time::Instant::now() + Duration::from_millis(2500);
///     let mut count = 0;
///     loop {
///         select! {
///             _ = ticks.tick() => count += 1,
///             _ = time::sleep_until(end) => break,
///         }
///     }
///     assert_eq!(count, 3);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
///
/// ```compile_fail
/// # corering_runtime::run(async {
/// let mut sleep = std::pin::pin!(corering_runtime::time::sleep(std::time::Duration::ZERO));
/// corering_runtime::select! { _ = &mut sleep => {} }
/// # });
/// ```
#[macro_export]
macro_rules! select {
    (biased; $($arms:tt)+) => { $crate::__select!(@parse (biased) [] $($arms)+) };
    ($($arms:tt)+) => { $crate::__select!(@parse (fair) [] $($arms)+) };
}

/// The parts of `select!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // One arm after the other, each with names of its own.
    (@parse $order:tt [$($arms:tt)*]) => {
        $crate::__select!(@run $order [$($arms)*] {
            ::core::panic!("select!: no future is left, and there is no `else`")
        })
    };
    (@parse $order:tt [$($arms:tt)*] else => $else:expr $(,)?) => {
        $crate::__select!(@run $order [$($arms)*] $else)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = &mut $($rest:tt)*) => {
        ::core::compile_error!(
            "select! takes futures by value: one behind `&mut` would not be polled while a handler runs, and may hold \
             what that waits for; spawn it as a task and wait for `handle.ended()`, or give the future itself"
        )
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr, if $on:expr => $handler:block $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) ($on) ($handler))] $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr, if $on:expr => $handler:block $($rest:tt)*) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) ($on) ($handler))] $($rest)*)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr, if $on:expr => $handler:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) ($on) ($handler))] $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr => $handler:block $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) (true) ($handler))] $($($rest)*)?)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr => $handler:block $($rest:tt)*) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) (true) ($handler))] $($rest)*)
    };
    (@parse $order:tt [$($arms:tt)*] $pattern:pat = $future:expr => $handler:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order [$($arms)* (future output on ($pattern) ($future) (true) ($handler))] $($($rest)*)?)
    };

    (@start biased $count:expr) => { 0 };
    (@start fair $count:expr) => { $crate::task::__turn($count) };

    (@run ($order:ident)
        [$(($future:ident $output:ident $on:ident ($pattern:pat) ($make:expr) ($condition:expr) ($handler:expr)))+]
        $else:expr
    ) => {{
        $(let mut $output = ::core::option::Option::None;)+
        {
            $(let mut $on: bool = $condition;)+
            $(
                let mut $future = ::core::pin::pin!(if $on {
                    ::core::option::Option::Some(::core::future::IntoFuture::into_future($make))
                } else {
                    ::core::option::Option::None
                });
            )+
            let start: usize = $crate::__select!(@start $order (0_usize $(+ { let _ = $on; 1 })+));
            ::core::future::poll_fn(|cx| {
                // From the one whose turn it is to the last, then from the first.
                for second in [false, true] {
                    let mut number = 0_usize;
                    $(
                        if $on && (number < start) == second {
                            if let ::core::option::Option::Some(running) = $future.as_mut().as_pin_mut() {
                                if let ::core::task::Poll::Ready(output) = ::core::future::Future::poll(running, cx) {
                                    $on = false;
                                    let fits = match &output {
                                        #[allow(unused_variables, reason = "only whether it matches is looked at")]
                                        $crate::__reexport::pattern!($pattern) => true,
                                        #[allow(unreachable_patterns, reason = "most patterns match everything")]
                                        _ => false,
                                    };
                                    if fits {
                                        $output = ::core::option::Option::Some(output);
                                        return ::core::task::Poll::Ready(());
                                    }
                                }
                            }
                        }
                        number += 1;
                    )+
                    let _ = number;
                }
                if false $(|| $on)+ {
                    ::core::task::Poll::Pending
                } else {
                    ::core::task::Poll::Ready(())
                }
            })
            .await;
        }
        $(
            if let ::core::option::Option::Some(output) = $output {
                match output {
                    $pattern => $handler,
                    #[allow(unreachable_patterns, reason = "it matched before")]
                    _ => ::core::unreachable!(),
                }
            } else
        )+ {
            $else
        }
    }};
}

/// Awaits several futures at once, of whatever types; gives what they gave as a tuple.
///
/// They are polled within the task, and may borrow.
///
/// # Examples
///
/// ```
/// use corering_runtime::join;
///
/// corering_runtime::run(async {
///     let (number, text) = join!(async { 1 }, async { "one" });
///     assert_eq!((number, text), (1, "one"));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[macro_export]
macro_rules! join {
    ($($future:expr),+ $(,)?) => { $crate::__join!(@name all [] $($future,)+) };
    () => { () };
}

/// The parts of `join!` and `try_join!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __join {
    (@name $kind:ident [$($named:tt)*] $next:expr, $($rest:expr,)*) => {
        $crate::__join!(@name $kind [$($named)* (future output ($next))] $($rest,)*)
    };
    (@name $kind:ident [$(($future:ident $output:ident ($make:expr)))+]) => {{
        $(
            let mut $future = ::core::pin::pin!(::core::future::IntoFuture::into_future($make));
            let mut $output = ::core::option::Option::None;
        )+
        ::core::future::poll_fn(|cx| {
            let mut is_ready = true;
            $(
                if $output.is_none() {
                    match ::core::future::Future::poll($future.as_mut(), cx) {
                        ::core::task::Poll::Ready(value) => {
                            $output = ::core::option::Option::Some($crate::__join!(@keep $kind value));
                        }
                        ::core::task::Poll::Pending => is_ready = false,
                    }
                }
            )+
            if !is_ready {
                return ::core::task::Poll::Pending;
            }
            match ($($output.take(),)+) {
                ($(::core::option::Option::Some($output),)+) => {
                    ::core::task::Poll::Ready($crate::__join!(@give $kind ($($output,)+)))
                }
                _ => ::core::unreachable!(),
            }
        })
        .await
    }};

    (@keep all $value:ident) => { $value };
    (@keep ok $value:ident) => {
        match $value {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => {
                return ::core::task::Poll::Ready(::core::result::Result::Err(error));
            }
        }
    };
    (@give all $outputs:expr) => { $outputs };
    (@give ok $outputs:expr) => { ::core::result::Result::Ok($outputs) };
}

/// Awaits several futures at once; gives what they gave as a tuple, or the first error. The others have been dropped by
/// then; [cleanup](crate::task::cancel) that they left runs beside, and the task waits for it at its end.
/// ([`try_join_all`](crate::task::try_join_all) waits for it itself.)
///
/// They are polled within the task, and may borrow.
///
/// # Examples
///
/// ```
/// use corering_runtime::try_join;
/// use std::io;
///
/// corering_runtime::run(async {
///     let failed: io::Result<((), u32)> =
///         try_join!(std::future::pending(), async { Err(io::Error::other("no luck")) });
///     assert_eq!(failed.unwrap_err().to_string(), "no luck");
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[macro_export]
macro_rules! try_join {
    ($($future:expr),+ $(,)?) => { $crate::__join!(@name ok [] $($future,)+) };
}

/// Several futures at once, of whatever types, as one: gives what they gave as a tuple, or the first error, after which
/// the others go on by themselves.
///
/// [`gather`](fn@crate::task::gather) for a few that are named. Dropping it drops them all.
///
/// # Examples
///
/// ```
/// use corering_runtime::gather;
/// use std::io;
///
/// async fn users() -> io::Result<u32> {
///     Ok(3)
/// }
/// async fn products() -> io::Result<&'static str> {
///     Ok("tea")
/// }
///
/// corering_runtime::run(async {
///     let (users, products) = gather!(users(), products()).await?;
///     assert_eq!((users, products), (3, "tea"));
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[macro_export]
macro_rules! gather {
    ($($future:expr),+ $(,)?) => { $crate::__gather!(@name [] $($future,)+) };
}

/// The parts of `gather!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __gather {
    (@name [$($named:tt)*] $next:expr, $($rest:expr,)*) => {
        $crate::__gather!(@name [$($named)* (future output ($next))] $($rest,)*)
    };
    (@name [$(($future:ident $output:ident ($make:expr)))+]) => {{
        $(let $future = $crate::__reexport::boxed($make);)+
        async move {
            $(
                let mut $future = ::core::option::Option::Some($future);
                let mut $output = ::core::option::Option::None;
            )+
            ::core::future::poll_fn(move |cx| {
                let mut failed = ::core::option::Option::None;
                let mut is_ready = true;
                $(
                    if failed.is_none() {
                        if let ::core::option::Option::Some(running) = &mut $future {
                            match ::core::future::Future::poll(running.as_mut(), cx) {
                                ::core::task::Poll::Ready(result) => {
                                    $future = ::core::option::Option::None;
                                    match result {
                                        ::core::result::Result::Ok(value) => {
                                            $output = ::core::option::Option::Some(value);
                                        }
                                        ::core::result::Result::Err(error) => {
                                            failed = ::core::option::Option::Some(error);
                                        }
                                    }
                                }
                                ::core::task::Poll::Pending => is_ready = false,
                            }
                        }
                    }
                )+
                if let ::core::option::Option::Some(error) = failed {
                    $(
                        if let ::core::option::Option::Some(rest) = $future.take() {
                            $crate::__reexport::go_on(rest);
                        }
                    )+
                    return ::core::task::Poll::Ready(::core::result::Result::Err(error));
                }
                if !is_ready {
                    return ::core::task::Poll::Pending;
                }
                match ($($output.take(),)+) {
                    ($(::core::option::Option::Some($output),)+) => {
                        ::core::task::Poll::Ready(::core::result::Result::Ok(($($output,)+)))
                    }
                    _ => ::core::unreachable!(),
                }
            })
            .await
        }
    }};
}

/// Whose turn it is among `count`: another one each time.
#[doc(hidden)]
pub fn __turn(count: usize) -> usize {
    thread_local! {
        static TURN: Cell<usize> = const { Cell::new(0) };
    }
    let turn = TURN.get();
    TURN.set(turn.wrapping_add(1));
    turn % count
}

/// What the macros need of elsewhere.
#[doc(hidden)]
pub mod reexport {
    use std::future::Future;
    use std::pin::Pin;

    pub use corering_macros::pattern;

    /// A future in a box.
    pub fn boxed<F: IntoFuture>(future: F) -> Pin<Box<F::IntoFuture>> {
        Box::pin(future.into_future())
    }

    /// Lets a future that nobody awaits any more run to its end.
    pub fn go_on<F: Future<Output: 'static> + 'static>(rest: Pin<Box<F>>) {
        super::local::spawn_detached(
            async {
                rest.await;
            },
            "the rest of a gather",
        );
    }
}
