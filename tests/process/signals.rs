//! Signals that a program listens for.

use std::future::Future as _;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use corering::net::UnixStream;
use corering::signal::{self, SignalKind, Signals};
use corering::time::timeout;
use corering::{Builder, RunError, io};

use crate::{Case, child_of, told};

/// To this thread: the handler has run when it returns.
fn raise(signal: SignalKind) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::raise(signal.as_raw()) }, 0);
}

/// Whether nothing is told, by one look at it.
async fn is_quiet(signals: &mut Signals) -> bool {
    let mut next = pin!(signals.next());
    std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
        && timeout(Duration::from_millis(20), next).await.is_err()
}

pub(crate) fn be_told() {
    let told = corering::run(async {
        let mut signals = Signals::new([SignalKind::USER1, SignalKind::USER2, SignalKind::CHILD])?;
        let mut others = Signals::new([SignalKind::USER2])?;
        raise(SignalKind::USER2);
        raise(SignalKind::USER1);
        raise(SignalKind::USER1);
        assert_eq!(signals.next().await?, SignalKind::USER1);
        assert_eq!(signals.next().await?, SignalKind::USER2);
        assert_eq!(others.next().await?, SignalKind::USER2);
        println!("told without anybody waiting");

        // Waits that are dropped, before and after it has come.
        for _ in 0..100 {
            {
                let mut next = pin!(signals.next());
                assert!(std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
                raise(SignalKind::USER2);
            }
            assert_eq!(signals.next().await?, SignalKind::USER2);
            assert_eq!(others.next().await?, SignalKind::USER2);
        }
        assert!(is_quiet(&mut signals).await && is_quiet(&mut others).await);
        println!("nothing lost, nothing twice");

        // Another core has its own listener, and its wait, too.
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            corering::run(async {
                let mut signals = Signals::new([SignalKind::USER2])?;
                ready.send(()).expect("there");
                signals.next().await
            })
        });
        is_ready.recv().expect("it listens");
        raise(SignalKind::USER2);
        assert_eq!(signals.next().await?, SignalKind::USER2);
        let there = thread.join().expect("no panic").expect("io_uring")?;
        println!("told on another core, too: {there}");
        io::Result::Ok(())
    });
    told.expect("io_uring").expect("listens");
}

static PLAIN: AtomicU32 = AtomicU32::new(0);
static INFORMED: AtomicI32 = AtomicI32::new(0);

fn set_handler(signal: SignalKind, handler: usize, flags: i32) {
    // SAFETY: all zeroes is an empty mask, no flags and the default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (handler, flags);
    // SAFETY: the handlers below only count, and `action` outlives the call.
    assert_eq!(unsafe { libc::sigaction(signal.as_raw(), &raw const action, std::ptr::null_mut()) }, 0);
}

fn handler_of(signal: SignalKind) -> usize {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: room for the answer.
    assert_eq!(unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) }, 0);
    // SAFETY: the call has filled it.
    unsafe { action.assume_init() }.sa_sigaction
}

extern "C" fn count(_: libc::c_int) {
    PLAIN.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn look(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's, for as long as the handler runs.
    let info = unsafe { &*info };
    // SAFETY: a process has sent the signal, so it has a number.
    INFORMED.store(unsafe { info.si_pid() }, Ordering::Relaxed);
}

pub(crate) fn have_handlers_before() {
    let (plain, informed) = (count as *const () as usize, look as *const () as usize);
    let told = corering::run(async {
        set_handler(SignalKind::USER1, plain, 0);
        set_handler(SignalKind::USER2, informed, libc::SA_SIGINFO);
        set_handler(SignalKind::HANGUP, libc::SIG_IGN, 0);
        let mut signals = Signals::new([SignalKind::USER1, SignalKind::USER2, SignalKind::HANGUP])?;
        let second = Signals::new([SignalKind::USER1])?;
        let pid = std::process::id() as i32;
        for kind in [SignalKind::HANGUP, SignalKind::USER1, SignalKind::USER2] {
            // SAFETY: takes no pointers.
            unsafe { libc::kill(pid, kind.as_raw()) };
            assert_eq!(signals.next().await?, kind);
        }
        assert_eq!((PLAIN.load(Ordering::Relaxed), INFORMED.load(Ordering::Relaxed)), (1, pid));
        println!("both were called, too");
        drop(signals);
        assert_eq!((handler_of(SignalKind::USER2), handler_of(SignalKind::HANGUP)), (informed, libc::SIG_IGN));
        assert_ne!(handler_of(SignalKind::USER1), plain, "the other still listens");
        drop(second);
        assert_eq!(handler_of(SignalKind::USER1), plain);
        raise(SignalKind::USER1);
        assert_eq!(PLAIN.load(Ordering::Relaxed), 2);
        println!("and are set again");

        // One that somebody sets above ours stays, whoever of us comes and goes.
        let signals = Signals::new([SignalKind::USER2])?;
        set_handler(SignalKind::USER2, plain, 0);
        drop(signals);
        assert_eq!(handler_of(SignalKind::USER2), plain);
        drop(Signals::new([SignalKind::USER2])?);
        assert_eq!(handler_of(SignalKind::USER2), plain);
        println!("what came later stays");

        // When they take it away, whoever listens is told again.
        set_handler(SignalKind::USER2, libc::SIG_DFL, 0);
        let mut signals = Signals::new([SignalKind::USER2])?;
        raise(SignalKind::USER2);
        assert_eq!(signals.next().await?, SignalKind::USER2);
        drop(signals);
        assert_eq!(handler_of(SignalKind::USER2), libc::SIG_DFL);
        io::Result::Ok(())
    });
    told.expect("io_uring").expect("listens");
}

/// Somebody sets a handler above ours, and sets ours again when the last listener has gone: then nobody is there for the
/// signal, and it does what it does by default.
pub(crate) fn put_ours_back_when_nobody_listens() {
    let told = corering::run(async {
        let signals = Signals::new([SignalKind::TERMINATE, SignalKind::CHILD])?;
        let ours = handler_of(SignalKind::TERMINATE);
        for kind in [SignalKind::TERMINATE, SignalKind::CHILD] {
            set_handler(kind, count as *const () as usize, 0);
        }
        drop(signals);
        for kind in [SignalKind::TERMINATE, SignalKind::CHILD] {
            raise(kind);
            set_handler(kind, ours, libc::SA_SIGINFO);
        }
        assert_eq!(PLAIN.load(Ordering::Relaxed), 2);
        raise(SignalKind::CHILD);
        println!("goes on after what is ignored");
        let mut signals = Signals::new([SignalKind::TERMINATE])?;
        raise(SignalKind::TERMINATE);
        assert_eq!(signals.next().await?, SignalKind::TERMINATE);
        println!("told again");
        // Ours stays this time, too: somebody else's is above it while the listener goes.
        set_handler(SignalKind::TERMINATE, count as *const () as usize, 0);
        drop(signals);
        set_handler(SignalKind::TERMINATE, ours, libc::SA_SIGINFO);
        raise(SignalKind::TERMINATE);
        println!("and has not ended");
        io::Result::Ok(())
    });
    told.expect("io_uring").expect("listens");
}

pub(crate) fn is_ended_by_default(case: &Case) -> Result<(), String> {
    let arguments = child_of(case);
    let output = Command::new(&arguments[0]).args(&arguments[1..]).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = output.status.signal() == Some(libc::SIGTERM) && text.ends_with("told again\n");
    if expected { Ok(()) } else { Err(format!("{}: {text}", output.status)) }
}

pub(crate) fn shut_down_slowly() {
    let told = corering::run(async {
        let shutdown = signal::shutdown();
        println!("working");
        // Nothing but the signal is waited for.
        let signal = shutdown.await?;
        println!("{signal}: shutting down");
        // As long as there is a timer, nobody says that nothing can happen any more.
        corering::time::sleep(Duration::from_secs(3600)).await;
        io::Result::Ok(())
    });
    drop(told);
}

/// The first is told, the second ends it.
pub(crate) fn is_shut_down_by_two(case: &Case) -> Result<(), String> {
    let output = told::interrupted(case, 2)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.signal() == Some(libc::SIGINT) && text.contains("SIGINT: shutting down") {
        return Ok(());
    }
    Err(format!("{}: {text}", output.status))
}

pub(crate) fn take_ctrl_c_from_the_core() {
    // The core listened first.
    let run = Builder::new().cancel_on_ctrl_c(true).run(async {
        let mut signals = Signals::new([SignalKind::INTERRUPT]).expect("listens");
        for _ in 0..3 {
            raise(SignalKind::INTERRUPT);
            assert_eq!(signals.next().await.expect("told"), SignalKind::INTERRUPT);
        }
        println!("told three times");
        drop(signals);
        raise(SignalKind::INTERRUPT);
        std::future::pending::<()>().await;
    });
    println!("then: {run:?}");
    assert!(matches!(run, Err(RunError::Interrupted)));
    assert_eq!(handler_of(SignalKind::INTERRUPT), libc::SIG_DFL);

    // It comes and goes below one who listens.
    let mut signals = Signals::new([SignalKind::INTERRUPT]).expect("listens");
    let next = async { signals.next().await.expect("told") };
    let run = Builder::new().cancel_on_ctrl_c(true).run(async {
        raise(SignalKind::INTERRUPT);
        next.await
    });
    println!("below: {run:?}");
    drop(run);
    raise(SignalKind::INTERRUPT);
    drop(signals);
    assert_eq!(handler_of(SignalKind::INTERRUPT), libc::SIG_DFL);
    println!("as it was");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a folder").count()
}

pub(crate) fn be_too_many() {
    let full = || {
        let all: Vec<Signals> = (0..256).map(|_| Signals::new([SignalKind::USER1]).expect("listens")).collect();
        let error = Signals::new([SignalKind::USER1]).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        println!("{error}");
        drop(all);
        open_descriptors()
    };
    // The bells stay, since a handler may be about to ring them, and are there for the next ones; nothing else is left.
    let before = open_descriptors();
    assert_eq!([full(), full(), full()], [before + 256; 3]);
    println!("as many again");
}

/// Listeners come and go while signals arrive on other threads: what is written goes to bells alone.
pub(crate) fn come_and_go() {
    static OVER: AtomicU32 = AtomicU32::new(0);
    // Somebody listens all the time, so that the signal never does what it does otherwise.
    let mut always = Signals::new([SignalKind::USER1]).expect("listens");
    // To itself: so its handler runs beside those who come and go.
    let sender = std::thread::spawn(move || {
        while OVER.load(Ordering::Relaxed) == 0 {
            raise(SignalKind::USER1);
        }
    });
    let run = corering::run(async {
        for round in 0..500 {
            let mut signals = Signals::new([SignalKind::USER1])?;
            // What is opened now would get the number of what was closed.
            let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
            assert_eq!(signals.next().await?, SignalKind::USER1);
            let unpolled = Signals::new([SignalKind::USER1])?;
            drop(signals);
            drop(unpolled);
            drop(ours);
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut theirs, &mut bytes)?;
            assert!(bytes.is_empty(), "round {round}: {bytes:?}");
        }
        assert_eq!(always.next().await?, SignalKind::USER1);
        OVER.store(1, Ordering::Relaxed);
        io::Result::Ok(())
    });
    run.expect("io_uring").expect("listens");
    sender.join().expect("no panic");
    println!("500 came and went");
}

/// A forked child listens by itself: neither takes what the other is sent.
pub(crate) fn listen_after_a_fork() {
    let mut signals = Signals::new([SignalKind::USER1, SignalKind::USER2]).expect("listens");
    drop(Signals::new([SignalKind::USER1]).expect("a place that both use later"));
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    // SAFETY: this process has one thread, so the child may go on as any program.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::mem::forget(signals);
        std::io::Read::read_exact(&mut theirs, &mut [0]).expect("written");
        let run = corering::run(async {
            let mut own = Signals::new([SignalKind::USER1])?;
            raise(SignalKind::USER1);
            assert_eq!(own.next().await?, SignalKind::USER1);
            assert!(is_quiet(&mut own).await);
            io::Result::Ok(())
        });
        run.expect("io_uring").expect("listens");
        println!("the child was told once");
        std::process::exit(0);
    }
    let run = corering::run(async {
        let mut again = Signals::new([SignalKind::USER1])?;
        // Told before the child is, and fetched behind it.
        raise(SignalKind::USER1);
        std::io::Write::write_all(&mut ours, &[1])?;
        let mut status = 0;
        // SAFETY: `status` is valid to write to.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child ended badly");
        let limit = Duration::from_secs(20);
        let both = async { io::Result::Ok((signals.next().await?, again.next().await?)) };
        let both = timeout(limit, both).await.expect("neither is lost")?;
        assert_eq!(both, (SignalKind::USER1, SignalKind::USER1));
        assert!(is_quiet(&mut again).await && is_quiet(&mut signals).await);
        io::Result::Ok(())
    });
    run.expect("io_uring").expect("listens");
    println!("the parent was told of its own");
}

/// Every way to write to a socket, while SIGPIPE ends the process, as it does in programs of other languages.
pub(crate) fn write_to_nobody() {
    // SAFETY: sets the default.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let ended = corering::run(async {
        let (mut ours, theirs) = UnixStream::pair()?;
        theirs.close().await?;
        let refused = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        refused(ours.write_vectored(vec!["a", "b"]).await.0.expect_err("nobody is there"));
        println!("vectored");

        let file = corering::fs::File::open("/proc/self/exe").await?;
        refused(ours.send_file(&file, ..).await.expect_err("nobody is there"));
        println!("a file");

        // It goes by a pipe, waits for room, and then the other side goes.
        let ((mut client, mut front), (mut back, server)) = (UnixStream::pair()?, UnixStream::pair()?);
        let writer = corering::spawn(async move {
            let written = client.write_all(vec![0; 8 << 20]).await.0;
            (client, written)
        });
        {
            let mut copy = pin!(io::copy(&mut front, &mut back));
            assert!(timeout(Duration::from_millis(50), copy.as_mut()).await.is_err(), "nobody reads");
            server.close().await?;
            refused(copy.await.expect_err("nobody is there"));
        }
        println!("through a pipe");
        drop((front, back));
        drop(writer.await?);
        io::Result::Ok(())
    });
    ended.expect("io_uring").expect("no error");
    // SAFETY: takes room for a set, which is filled.
    let blocked = unsafe {
        let mut blocked = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut blocked);
        libc::sigismember(&raw const blocked, libc::SIGPIPE)
    };
    assert_eq!(blocked, 0, "and it is as it was");
    println!("not hit");
}
