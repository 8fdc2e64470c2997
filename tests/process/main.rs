//! What needs a process of its own: set-up errors, faults of the system calls, signals, fork, and the end of a core.
//!
//! Each case runs this very program again, as a child that does one thing under one fault and says what happened.
//! Faults are real: seccomp filters, limits, and strace's injection into the calls.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test program without a public API, which watches processes with the standard library"
)]

mod cancels;
mod crowds;
mod direct;
mod hung;
mod leftovers;
mod outside;
mod replaced;
mod signals;
mod stdio;
mod told;

use std::cell::RefCell;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::op::{Op, ReceivePooled};
use corering::{Builder, RunError, SetupError, io};

/// A case: what the parent checks, and what the child does.
struct Case {
    name: &'static str,
    check: fn(&Case) -> Result<(), String>,
    child: fn(),
}

const CASES: &[Case] = &[
    Case {
        name: "a_filter_that_answers_eperm_is_named",
        check: |case| says(case, &["seccomp filter refuses io_uring_setup", "--security-opt"]),
        child: || filtered_setup(libc::SYS_io_uring_setup, libc::EPERM),
    },
    Case {
        name: "a_filter_that_answers_eacces_is_named",
        check: |case| says(case, &["seccomp filter refuses io_uring_setup"]),
        child: || filtered_setup(libc::SYS_io_uring_setup, libc::EACCES),
    },
    Case {
        name: "a_system_without_io_uring_is_named",
        check: |case| says(case, &["has no io_uring", "6.1 or newer"]),
        child: || filtered_setup(libc::SYS_io_uring_setup, libc::ENOSYS),
    },
    Case {
        name: "a_refused_registration_is_named",
        check: |case| says(case, &["io_uring_register"]),
        child: || filtered_setup(libc::SYS_io_uring_register, libc::EPERM),
    },
    Case {
        name: "the_profile_of_the_guide_lets_a_core_run",
        check: |case| says(case, &["3 calls, 10 round trips"]),
        child: || {
            let guide = include_str!("../../docs/servers.md");
            let profile = guide.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a profile");
            let profile: serde_json::Value = serde_json::from_str(profile).expect("JSON");
            assert_eq!(profile["action"], "SCMP_ACT_ALLOW");
            let allowed: Vec<&str> =
                profile["names"].as_array().expect("names").iter().filter_map(|name| name.as_str()).collect();
            for (name, call) in [
                ("io_uring_setup", libc::SYS_io_uring_setup),
                ("io_uring_enter", libc::SYS_io_uring_enter),
                ("io_uring_register", libc::SYS_io_uring_register),
            ] {
                // As the engine's own profile does.
                if !allowed.contains(&name) {
                    refuse(call, libc::EPERM);
                }
            }
            print!("{} calls, ", allowed.len());
            round_trips(10);
        },
    },
    Case {
        name: "without_descriptors_the_limit_is_named",
        check: |case| says(case, &["no file descriptor is free", "RLIMIT_NOFILE is 3"]),
        child: || {
            set_limit(libc::RLIMIT_NOFILE, 3);
            report_setup();
        },
    },
    Case {
        name: "with_too_many_watchers_the_setting_is_named",
        check: |case| says(case, &["raise fs.inotify.max_user_instances"]),
        child: || {
            become_nobody(8 << 20);
            let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").expect("a setting");
            let most: usize = most.trim().parse().expect("a number");
            let watchers: Result<Vec<_>, _> =
                (0..most.min(100_000) + 1).map(|_| corering::fs::Watcher::new()).collect();
            println!("{}", watchers.expect_err("too many"));
        },
    },
    Case {
        name: "without_locked_memory_the_limit_is_named",
        check: |case| says(case, &["RLIMIT_MEMLOCK is 0 KiB", "ulimit -l"]),
        child: || {
            become_nobody(0);
            report_setup();
        },
    },
    Case {
        name: "with_little_locked_memory_two_cores_start",
        check: |case| says(case, &["both ran"]),
        child: || {
            become_nobody(64 * 1024);
            let small = || Builder::new().entries(64).buffers(0, 0);
            let first = small().build().expect("the first core");
            let second = std::thread::spawn(move || small().run(async { 2 }).expect("the second core"));
            assert_eq!(first.block_on(async { 1 }) + second.join().expect("no panic"), 3);
            println!("both ran");
        },
    },
    Case {
        name: "a_ring_that_is_too_large_is_made_smaller",
        check: |case| under_strace(case, "io_uring_setup:error=ENOMEM:when=1", "10 round trips"),
        child: || round_trips(10),
    },
    Case {
        name: "memory_that_cannot_be_mapped_leaves_no_ring_behind",
        check: |case| says(case, &["refused, and no ring is left", "made smaller: 1 ring"]),
        child: leftovers::map_too_much,
    },
    Case {
        name: "interrupted_calls_lose_nothing",
        check: |case| under_strace(case, "io_uring_enter:error=EINTR:when=5+2", "300 round trips"),
        child: || round_trips(300),
    },
    Case {
        name: "calls_that_lack_memory_lose_nothing",
        check: |case| under_strace(case, "io_uring_enter:error=EAGAIN:when=5+3", "300 round trips"),
        child: || round_trips(300),
    },
    Case {
        name: "calls_that_are_busy_lose_nothing",
        check: |case| under_strace(case, "io_uring_enter:error=EBUSY:when=5+3", "300 round trips"),
        child: || round_trips(300),
    },
    Case {
        name: "cancels_that_meet_a_busy_kernel_arrive_later",
        check: |case| under_strace(case, "io_uring_enter:error=EBUSY:when=5+2", "300 cancels"),
        child: || cancels::cancel_often(300),
    },
    Case {
        name: "cancels_that_meet_a_kernel_without_memory_arrive_later",
        check: |case| under_strace(case, "io_uring_enter:error=EAGAIN:when=5+2", "300 cancels"),
        child: || cancels::cancel_often(300),
    },
    Case {
        name: "a_lost_completion_ends_the_core_and_does_not_hang",
        check: |case| under_strace(case, "io_uring_enter:error=EBADR:when=20+", "the kernel refuses the ring"),
        child: || {
            let ended = std::panic::catch_unwind(|| round_trips(300));
            let text = ended.expect_err("the ring is refused");
            println!("{}", text.downcast_ref::<String>().expect("a text"));
            std::process::exit(0);
        },
    },
    Case {
        name: "signals_during_load_lose_nothing",
        check: |case| says(case, &["2000 round trips"]),
        child: || {
            signal_every_millisecond();
            round_trips(2000);
        },
    },
    Case {
        name: "a_forked_child_gets_an_error_and_its_parent_goes_on",
        check: |case| says(case, &["child: refused", "child: 3 round trips", "parent: 10 round trips"]),
        child: fork_with_a_core,
    },
    Case {
        name: "a_forked_child_draws_random_numbers_of_its_own",
        check: |case| says(case, &["drawn: different"]),
        child: fork_and_draw,
    },
    Case {
        name: "a_report_that_nobody_can_read_stops_nothing",
        check: |case| says(case, &["went on"]),
        child: || {
            // SAFETY: nobody else uses standard error in this process.
            assert_eq!(unsafe { libc::close(2) }, 0);
            corering::run(async {
                drop(corering::spawn(async { Err::<(), _>(io::Error::other("that nobody fetches")) }));
                echo(1).await
            })
            .expect("io_uring")
            .expect("no error");
            println!("went on");
        },
    },
    Case {
        name: "a_hook_that_panics_while_the_core_ends_leaves_the_thread_free",
        check: |case| says(case, &["another core"]),
        child: || {
            struct Fails;
            impl Drop for Fails {
                fn drop(&mut self) {
                    panic!("a destructor that panics");
                }
            }
            corering::run(async {
                corering::task::on_unhandled(|_| panic!("a hook that panics"));
                let fails = Fails;
                drop(corering::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(fails);
                }));
                corering::task::yield_now().await;
            })
            .expect("io_uring");
            corering::run(echo(1)).expect("io_uring").expect("no error");
            println!("another core");
        },
    },
    Case {
        name: "a_process_that_is_stopped_for_a_while_loses_nothing",
        check: outside::stop_for_a_while,
        child: outside::round_trips_for_a_while,
    },
    Case {
        name: "a_completion_that_nobody_asked_for_is_counted_and_ignored",
        check: |case| says(case, &["counted, and went on"]),
        child: outside::receive_what_nobody_asked_for,
    },
    Case {
        name: "memory_is_untouched_after_a_core_has_ended",
        check: |case| says(case, &["untouched"]),
        child: leftovers::end_while_the_disk_is_read,
    },
    Case {
        name: "a_process_that_is_killed_leaves_the_old_or_the_new_file",
        check: replaced::kill_often,
        child: replaced::write_for_ever,
    },
    Case {
        name: "without_locked_memory_direct_files_work_all_the_same",
        check: |case| says(case, &["100 blocks"]),
        child: direct::read_without_locked_memory,
    },
    Case {
        name: "a_core_ends_though_a_file_system_never_answers",
        check: hung::ends_all_the_same,
        child: hung::read_what_never_comes,
    },
    Case {
        name: "a_port_is_free_as_soon_as_its_core_has_ended",
        check: |case| says(case, &["300 times"]),
        child: leftovers::use_a_port_again_and_again,
    },
    Case {
        name: "ten_thousand_connections_are_served_and_cost_little_while_they_wait",
        check: crowds::ten_thousand_are_served,
        child: crowds::serve_crowds,
    },
    Case {
        name: "more_clients_than_descriptors_wait_and_are_served_when_others_go",
        check: crowds::more_than_there_is_room_for_are_served,
        child: crowds::serve_with_few_descriptors,
    },
    Case {
        name: "connections_that_come_and_go_leave_nothing_that_grows",
        check: crowds::many_come_and_go,
        child: crowds::serve_crowds,
    },
    Case {
        name: "a_core_ends_wherever_that_is_asked_for",
        check: |case| says(case, &["ended in a destructor", "ended while a panic unwound", "another core"]),
        child: leftovers::end_anywhere,
    },
    Case {
        name: "nothing_is_left_of_a_core_that_ended",
        check: |case| says(case, &["nothing is left"]),
        child: leftovers::leave_nothing,
    },
    Case {
        name: "a_core_ends_whatever_is_in_flight",
        check: |case| says(case, &["ended, and the port is free"]),
        child: leftovers::end_with_everything_in_flight,
    },
    Case {
        name: "a_task_that_blocks_its_core_is_named_while_it_does",
        check: told::is_named_while_it_blocks,
        child: told::block_a_core,
    },
    Case { name: "tasks_that_wait_for_themselves_are_told", check: told::is_told, child: told::wait_for_oneself },
    Case { name: "a_main_that_hangs_prints_the_report", check: told::prints_the_report, child: told::hang_by_main },
    Case {
        name: "the_first_ctrl_c_cancels_and_cleans_up",
        check: told::is_cleaned_up_after,
        child: told::clean_up_after_ctrl_c,
    },
    Case {
        name: "the_second_ctrl_c_ends_the_process",
        check: told::is_ended_by_the_second,
        child: told::hang_in_cleanup,
    },
    Case {
        name: "signals_are_told_whoever_waits",
        check: |case| {
            says(
                case,
                &["told without anybody waiting", "nothing lost, nothing twice", "told on another core, too: SIGUSR2"],
            )
        },
        child: signals::be_told,
    },
    Case {
        name: "handlers_of_others_are_called_and_set_again",
        check: |case| says(case, &["both were called, too", "and are set again", "what came later stays"]),
        child: signals::have_handlers_before,
    },
    Case {
        name: "a_signal_that_nobody_listens_for_ends_the_process_though_our_handler_is_set",
        check: signals::is_ended_by_default,
        child: signals::put_ours_back_when_nobody_listens,
    },
    Case {
        name: "a_signal_shuts_down_and_the_next_ends_the_process",
        check: signals::is_shut_down_by_two,
        child: signals::shut_down_slowly,
    },
    Case {
        name: "who_listens_for_ctrl_c_takes_it_from_the_core",
        check: |case| says(case, &["told three times", "then: Err(Interrupted)", "below: Ok(SIGINT)", "as it was"]),
        child: signals::take_ctrl_c_from_the_core,
    },
    Case {
        name: "too_many_who_listen_for_signals_are_an_error",
        check: |case| says(case, &["256 listen for signals already", "as many again"]),
        child: signals::be_too_many,
    },
    Case {
        name: "signals_during_a_change_of_listeners_go_to_bells_alone",
        check: |case| says(case, &["500 came and went"]),
        child: signals::come_and_go,
    },
    Case {
        name: "a_forked_child_listens_for_signals_of_its_own",
        check: |case| says(case, &["the child was told once", "the parent was told of its own"]),
        child: signals::listen_after_a_fork,
    },
    Case {
        name: "who_writes_to_a_socket_that_has_gone_is_not_hit_by_a_signal",
        check: |case| says(case, &["vectored", "a file", "through a pipe", "not hit"]),
        child: signals::write_to_nobody,
    },
    Case {
        name: "all_goes_through_standard_streams_whatever_they_are",
        check: stdio::all_goes_through,
        child: stdio::send_back,
    },
    Case {
        name: "a_process_ends_while_it_reads_standard_input",
        check: stdio::ends_while_reading,
        child: stdio::end_while_reading,
    },
    Case {
        name: "a_process_ends_while_nobody_reads_its_standard_output",
        check: stdio::ends_while_writing,
        child: stdio::end_while_writing,
    },
    Case {
        name: "a_process_goes_on_without_standard_streams",
        check: stdio::goes_on_without,
        child: stdio::go_on_without,
    },
    Case {
        name: "a_buffered_writer_that_is_dropped_unflushed_is_told_in_debug_mode",
        check: stdio::is_told_once,
        child: stdio::forget_to_flush,
    },
    Case {
        name: "what_lies_in_a_thread_local_may_outlive_the_core",
        check: |case| says(case, &["the thread has ended"]),
        child: || {
            thread_local!(static KEPT: RefCell<Option<(TcpListener, TcpStream)>> = const { RefCell::new(None) });
            let thread = std::thread::spawn(|| {
                corering::run(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
                    listener.accept().await.expect("a connection");
                    KEPT.set(Some((listener, stream)));
                })
                .expect("io_uring");
            });
            thread.join().expect("no panic in a destructor");
            println!("the thread has ended");
        },
    },
];

fn main() -> ExitCode {
    // A shell that starts this in the background has it ignored, and children inherit that.
    // SAFETY: sets the default.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..] {
        if flag == "--child" {
            let case = CASES.iter().find(|case| case.name == name).expect("a case");
            (case.child)();
            return ExitCode::SUCCESS;
        }
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for case in CASES {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = |case: &&Case| filter.is_none_or(|filter| case.name.contains(filter.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for case in CASES.iter().filter(chosen) {
        match (case.check)(case) {
            Ok(()) => {
                println!("test {} ... ok", case.name);
                passed += 1;
            }
            Err(reason) => {
                println!("test {} ... FAILED\n{reason}", case.name);
                failed += 1;
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the child; it has to end by itself, and well.
fn run(mut command: Command) -> Result<String, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start {command:?}: {error}"))?;
    for _ in 0..600 {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            return text_of(&output);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    Err(format!("it hangs; so far: {:?}", text_of(&output)))
}

fn text_of(output: &Output) -> Result<String, String> {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status)) }
}

fn child_of(case: &Case) -> Vec<String> {
    let program = std::env::current_exe().expect("a program").display().to_string();
    vec![program, "--child".to_owned(), case.name.to_owned()]
}

fn says(case: &Case, expected: &[&str]) -> Result<(), String> {
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    contains(&run(command)?, expected)
}

fn contains(text: &str, expected: &[&str]) -> Result<(), String> {
    match expected.iter().find(|expected| !text.contains(**expected)) {
        None => Ok(()),
        Some(missing) => Err(format!("'{missing}' is not in: {text}")),
    }
}

fn under_strace(case: &Case, inject: &str, expected: &str) -> Result<(), String> {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        if std::env::var_os("CORERING_REQUIRE_ALL").is_some() {
            return Err("strace is not installed, and nothing may be skipped".to_owned());
        }
        println!("SKIPPED: {} needs strace", case.name);
        return Ok(());
    }
    let call = inject.split(':').next().expect("a call");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
    command.args(child_of(case));
    contains(&run(command)?, &[expected])
}

/// Prints why no core can be made.
fn report_setup() {
    let error = corering::run(async {}).expect_err("the fault is in force");
    assert!(!matches!(error, RunError::Setup(SetupError::Other { .. })), "{error:?}");
    println!("{error}");
}

/// Makes a core where one call is refused with `errno`.
fn filtered_setup(call: libc::c_long, errno: i32) {
    refuse(call, errno);
    report_setup();
}

/// Has one call refused with `errno` from now on.
fn refuse(call: libc::c_long, errno: i32) {
    /// Instructions of the kernel's classic filters: load a word, jump if equal, return.
    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        instruction(LOAD, 0, 0, 0),
        instruction(JUMP_EQUAL, 0, 1, call as u32),
        instruction(RETURN, 0, 0, ERRNO | errno as u32),
        instruction(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `program` names the filter above; both outlive the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

fn set_limit(which: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: `limit` is valid to read.
    assert_eq!(unsafe { libc::setrlimit(which, &raw const limit) }, 0);
}

/// A user whom limits bind; root is above them.
fn become_nobody(locked_memory: u64) {
    set_limit(libc::RLIMIT_MEMLOCK, locked_memory);
    // SAFETY: takes no pointers.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
    }
}

/// Sends numbers to an echo server and checks what comes back.
fn round_trips(count: u32) {
    corering::run(echo(count)).expect("io_uring").expect("no error");
    println!("{count} round trips");
}

async fn echo(count: u32) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    corering::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        while let Some(chunk) = stream.recv().await? {
            stream.write_all(chunk).await.0?;
        }
        io::Result::Ok(())
    });
    let mut stream = TcpStream::connect(address).await?;
    for number in 0..count {
        stream.write_all(number.to_le_bytes()).await.0?;
        let mut reply = Vec::with_capacity(4);
        while reply.len() < 4 {
            let (count, back) = stream.read(reply).await;
            reply = back;
            assert_ne!(count?, 0, "the server is gone");
        }
        assert_eq!(reply, number.to_le_bytes());
    }
    Ok(())
}

fn signal_every_millisecond() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero bytes are a valid sigaction: no flags, so calls are not begun again by themselves.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, and `action` outlives the call.
    assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) }, 0);
    let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: `timer` outlives the call.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
}

fn fork_and_draw() {
    corering::random();
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    // SAFETY: this process has one thread, so the child may go on as any program.
    if unsafe { libc::fork() } == 0 {
        std::io::Write::write_all(&mut theirs, &corering::random().to_ne_bytes()).expect("open");
        std::process::exit(0);
    }
    let mut theirs = [0; 8];
    std::io::Read::read_exact(&mut ours, &mut theirs).expect("written");
    println!("drawn: {}", if corering::random() == u64::from_ne_bytes(theirs) { "the same" } else { "different" });
}

fn fork_with_a_core() {
    let gone = Builder::new().build().expect("io_uring");
    let chunk = gone.block_on(async {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        std::io::Write::write_all(&mut theirs, b"bytes").expect("open");
        let socket = corering::op::Descriptor::new(ours.into());
        Op::new(ReceivePooled::new(&socket, 0).expect("a pool")).await.expect("received")
    });
    drop(gone);
    assert!(chunk.is_pooled(), "the point is a buffer that outlives its core");
    let runtime = Builder::new().build().expect("io_uring");
    runtime.block_on(echo(1)).expect("no error");
    // SAFETY: this process has one thread, so the child may go on as any program.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::panic::set_hook(Box::new(|_| {}));
        let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(async {})));
        let spawned = std::panic::catch_unwind(|| drop(corering::spawn(async {})));
        println!("{}", if used.is_err() && spawned.is_err() { "child: refused" } else { "child: allowed" });
        let own = Builder::new().build().expect("a core of the child's own");
        // What it inherited goes, also while it has a core of its own.
        drop((runtime, chunk));
        own.block_on(echo(3)).expect("no error");
        println!("child: 3 round trips");
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: `status` is valid to write to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child ended badly");
    runtime.block_on(echo(10)).expect("the parent goes on");
    println!("parent: 10 round trips");
}
