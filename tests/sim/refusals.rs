//! What a simulated world does not take: it says so, and what to do instead.

use std::io::Write as _;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use corering::fs::File;
use corering::io::{self, AsyncRead as _, AsyncWrite as _};
use corering::net::{Ancillary, TcpListener, TcpStream, UdpSocket, UnixStream};
use corering::op::io_uring::{opcode, types};
use corering::op::socket2::{Domain, Type};
use corering::op::{Completion, Descriptor, Op, Operation, Receive, Submission};
use corering::sim::{Check, World};

/// Runs a program that is refused, and gives the reason. Nothing is left of the world: another runs after it.
#[track_caller]
fn reason(program: impl AsyncFn(World)) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| World::new(1).run(&program))).expect_err("it was not refused");
    assert_eq!(World::new(1).run(async |_| 42), 42);
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().expect("a text").to_string(),
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Any submission that points to nothing.
struct Asks(Submission);

// SAFETY: the submissions below point to nothing that moves or ends.
unsafe impl Operation for Asks {
    type Output = io::Result<u32>;

    fn submission(&mut self) -> Submission {
        self.0.clone()
    }

    fn complete(self, completion: Completion) -> io::Result<u32> {
        completion.to_result()
    }
}

type Ask = fn() -> Submission;

static NO_TIME: types::Timespec = types::Timespec::new();

#[test]
fn an_operation_that_is_not_simulated_ends_the_run_with_its_name() {
    let unknown: [(&str, Ask); 7] = [
        ("SPLICE", || opcode::Splice::new(types::Fd(0), -1, types::Fd(1), -1, 8).build()),
        ("TIMEOUT", || opcode::Timeout::new(&raw const NO_TIME).build()),
        ("MADVISE", || opcode::Madvise::new(std::ptr::null(), 8, 0).build()),
        ("SHUTDOWN", || opcode::Shutdown::new(types::Fd(0), 0).build()),
        ("RECV with the flags 0x1", || {
            opcode::Recv::new(types::Fd(0), std::ptr::null_mut(), 0).flags(libc::MSG_OOB).build()
        }),
        ("SEND with the flags 0x1", || {
            opcode::Send::new(types::Fd(0), std::ptr::null(), 0).flags(libc::MSG_OOB).build()
        }),
        ("NOP with the submission flags 0x2", || {
            opcode::Nop::new().build().flags(corering::op::io_uring::squeue::Flags::IO_DRAIN)
        }),
    ];
    for (name, submission) in unknown {
        let text = reason(async |_| drop(Op::new(Asks(submission())).await));
        assert_says(&text, &["the simulated kernel does not know", name, "run what needs it on the real one"]);
    }
}

#[test]
fn sockets_of_a_kind_that_is_not_simulated_are_refused() {
    for (domain, kind) in [(Domain::UNIX, Type::RAW), (Domain::IPV4, Type::RAW)] {
        let text = reason(async |_| {
            drop(Descriptor::socket(domain, kind, None));
            corering::task::yield_now().await;
        });
        assert_says(&text, &["the simulated kernel does not know sockets", "run what needs them on the real one"]);
    }
}

#[test]
fn what_goes_along_with_bytes_and_groups_of_addresses_are_refused() {
    let along = reason(async |_| {
        let (mut here, _there) = UnixStream::pair().unwrap();
        drop(here.send_msg(vec!["bytes"], Ancillary::new().segment_bytes(2)).await);
    });
    assert_says(&along, &["the simulated kernel does not know SENDMSG with something that goes along"]);
    let group = reason(async |_| {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        drop(socket.join_multicast_v4([224, 0, 0, 9].into(), [0; 4].into()));
        corering::task::yield_now().await;
    });
    assert_says(&group, &["the simulated kernel does not know groups of addresses"]);
}

const OPEN_THERE: &[&str] = &["of the real system", "simulated world", "open sockets and files there"];

#[test]
fn sockets_and_files_of_the_real_system_are_refused() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let stream = || StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"real").unwrap();

    assert_says(&reason(async |_| drop(TcpStream::from_std(stream()).unwrap().recv().await)), OPEN_THERE);
    assert_says(&reason(async |_| drop(TcpStream::from_std(stream()).unwrap().write_all("hello").await)), OPEN_THERE);
    assert_says(
        &reason(async |_| drop(TcpListener::from_std(listener.try_clone().unwrap()).accept().await)),
        OPEN_THERE,
    );
    let read = reason(async |_| drop(File::from_std(file.try_clone().unwrap()).read_at(vec![0; 4], 0).await));
    assert_says(&read, OPEN_THERE);
    let write = reason(async |_| drop(File::from_std(file.try_clone().unwrap()).write_at("fake", 0).await));
    assert_says(&write, OPEN_THERE);
    assert_says(&reason(async |_| drop(io::stdin().read([0; 4]).await)), OPEN_THERE);
    assert_says(&reason(async |_| drop(io::stdout().write_all("fake").await)), OPEN_THERE);
    let described = reason(async |_| drop(File::from_std(file.try_clone().unwrap()).metadata().await));
    assert_says(&described, OPEN_THERE);
    let descriptor = reason(async |_| {
        let descriptor = Descriptor::new(stream().into());
        assert!(descriptor.as_raw_fd() >= 0);
        drop(Op::new(Receive::new(&descriptor, vec![0; 4])).await);
    });
    assert_says(&descriptor, OPEN_THERE);
}

#[test]
fn a_thread_that_wakes_a_task_of_a_world_is_refused() {
    let text = reason(async |_| {
        let mut waking = None;
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            waking.get_or_insert_with(|| std::thread::spawn(move || waker.wake()).join());
            std::task::Poll::<()>::Pending
        })
        .await;
    });
    assert_says(&text, &["woken from another thread", "use tasks of its own instead of threads"]);
}

#[test]
fn a_runtime_inside_a_world_is_refused() {
    let text = reason(async |_| corering::run(async {}).unwrap());
    assert_says(&text, &["already inside a runtime on this thread", "await the future or spawn it"]);
    let error = World::new(1).run(async |_| corering::Builder::new().build().unwrap_err());
    assert_says(&error.to_string(), &["a runtime lives on this thread already"]);
}

#[test]
fn a_world_inside_a_runtime_or_a_world_is_refused() {
    let inside = |kind: &str, text: Box<dyn std::any::Any + Send>| {
        let text = *text.downcast::<&'static str>().unwrap_or_else(|_| panic!("{kind}: no text"));
        assert_says(text, &["already inside a runtime on this thread", "run worlds outside of it"]);
    };
    let world = || catch_unwind(|| World::new(2).run(async |_| ())).unwrap_err();
    inside("a runtime", corering::run(async { world() }).unwrap());
    inside("a world", World::new(1).run(async |_| world()));
}

#[test]
fn a_world_that_has_been_run_is_refused() {
    let world = World::new(1);
    world.run(async |_| ());
    let again = catch_unwind(AssertUnwindSafe(|| world.run(async |_| ()))).unwrap_err();
    let text = again.downcast_ref::<&str>().unwrap();
    assert_says(text, &["a world is run once", "make another one from the same seed"]);
}

#[test]
fn a_descriptor_of_another_host_is_refused() {
    let text = reason(async |world| {
        let (one, other) = (world.host("one"), world.host("other"));
        one.write_file("/file", b"mine").unwrap();
        let file = one.run(async { Rc::new(File::open("/file").await.unwrap()) }).await.unwrap();
        let shared = file.clone();
        drop(other.run(async move { shared.write_at("not mine", 0).await.0 }).await);
    });
    assert_says(&text, &["host 'other' uses a descriptor of host 'one'", "what is open on a machine stays there"]);
}

#[test]
fn an_operation_that_is_polled_on_another_core_is_refused() {
    let text = reason(async |world| {
        let host = world.host("host");
        let mut sleeping = corering::op::Op::new(Asks(opcode::PollAdd::new(types::Fd(1 << 30), 1).build()));
        assert!(!crate::cases::poll_once(&mut sleeping).await);
        drop(host.run(sleeping).await);
    });
    assert_says(&text, &["was polled on", "await it where it was first awaited"]);
}

#[test]
fn signals_are_no_part_of_a_world() {
    World::new(1).run(async |world| {
        let answer =
            world.host("server").run(async { corering::signal::shutdown().await }).await.expect("it runs to its end");
        let error = answer.expect_err("nobody can send one");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    });
    // Of the world's thread, nothing has been set.
    let mut before = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: room for the answer.
    assert_eq!(unsafe { libc::sigaction(libc::SIGTERM, std::ptr::null(), before.as_mut_ptr()) }, 0);
    // SAFETY: the call has filled it.
    assert_eq!(unsafe { before.assume_init() }.sa_sigaction, libc::SIG_DFL);
}

#[test]
fn a_program_that_waits_for_nothing_is_told() {
    let text = reason(async |_| std::future::pending::<()>().await);
    assert_says(&text, &["main"]);
    let text = reason(async |world| {
        let host = world.host("paused");
        let running = host.run(corering::sleep(Duration::from_secs(1)));
        host.pause();
        running.await.unwrap();
    });
    assert_says(&text, &["nothing can ever happen again", "paused: 'paused'"]);
}

/// Run by the test below, with a seed that is none.
#[test]
fn reads_a_seed_from_the_environment() {
    Check::new(module_path!(), "reads_a_seed_from_the_environment", "corering", true).seeds(1).run(async |_: World| ());
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    for variable in ["CORERING_SEED", "CORERING_SEEDS"] {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "refusals::reads_a_seed_from_the_environment", "--nocapture"])
            .env(variable, "twelve")
            .output()
            .unwrap();
        assert!(!ran.status.success());
        assert_says(&String::from_utf8_lossy(&ran.stderr), &[variable, "twelve", "not a whole number"]);
    }
}
