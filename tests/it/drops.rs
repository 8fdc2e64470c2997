//! Every operation of the library, dropped at every point: after any number of polls, with and without a turn of the
//! loop after the last one.

use std::ffi::CString;
use std::future::{Future, poll_fn};
use std::os::unix::ffi::OsStrExt as _;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::fs::{self, Dir, File};
use corering::net::TcpStream;
use corering::op::{
    AcceptMulti, CloseDirect, DirectSlot, Multishot, Op, OpenAt, OpenDirect, Read, ReadDirect, ReadVectored, Readiness,
    Receive, ReceiveMulti, ReceivePooled, Receiver, Send, SendAll, Stat, Sync, Truncate, Write, WriteAll,
    WriteVectored, chain,
};
use corering::{spawn, task, time};

use crate::scene::{LARGE, Scene};
use crate::{clean, turn};

type Begin = for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The most that one future is polled: whatever has not ended by then waits for ever.
const POLLS: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);

/// Drops each future after `0, 1, ..` polls, until it has ended or waits for ever.
#[track_caller]
fn drop_everywhere(cases: &[(&str, bool, Begin)]) {
    clean(async || {
        for (name, whole, begin) in cases {
            for polls in 0..=POLLS {
                let mut ended = false;
                for last_turn in [false, true] {
                    let mut scene = Scene::new().await;
                    let mut future = begin(&mut scene);
                    for poll in 1..=polls {
                        ended = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
                        if ended {
                            break;
                        }
                        if poll < polls || last_turn {
                            turn().await;
                        }
                    }
                    drop(future);
                    scene.check(&format!("{name}, dropped after {polls} polls (a turn: {last_turn})"), *whole).await;
                }
                if ended {
                    break;
                }
            }
        }
    });
}

/// Takes whatever a future gives, which ends with it.
fn end<T>(_output: T) {}

macro_rules! cases {
    ($($name:literal, $whole:expr, $scene:ident => $future:expr;)+) => {
        &[$(($name, $whole, |$scene| Box::pin(async move { $crate::drops::end($future.await) }))),+]
    };
}

fn room() -> Vec<u8> {
    Vec::with_capacity(64)
}

fn c_path(scene: &Scene, name: &str) -> CString {
    CString::new(scene.path(name).as_os_str().as_bytes()).expect("no zero byte")
}

#[test]
fn receives_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "receive", false, s => Op::new(Receive::new(&s.quiet, s.alive.buffer()));
        "receive of what is there", false, s => Op::new(Receive::new(&s.ready, s.alive.buffer()));
        "receive of all", false, s => Op::new(Receive::all(&s.ready, s.alive.buffer()));
        "pooled receive", false, s => Op::new(ReceivePooled::new(&s.quiet, 1).expect("a pool"));
        "pooled receive of what is there", false, s => Op::new(ReceivePooled::new(&s.ready, 1).expect("a pool"));
        "cancel of a receive", false, s => Op::new(Receive::new(&s.quiet, s.alive.buffer())).cancel();
        "receive with a deadline", false, s => Op::new(Receive::new(&s.quiet, s.alive.buffer())).deadline(HOUR);
        "receive that is late", false, s => Op::new(Receive::new(&s.quiet, s.alive.buffer())).deadline(Duration::ZERO);
        "multishot", false, s => {
            let mut items = Multishot::new(ReceiveMulti::new(&s.quiet, 1).expect("a pool"));
            async move { poll_fn(|cx| items.poll_next(cx)).await }
        };
        "multishot, then its close", false, s => {
            let mut items = Multishot::new(ReceiveMulti::new(&s.ready, 1).expect("a pool"));
            async move {
                drop(poll_fn(|cx| items.poll_next(cx)).await);
                items.close().await;
            }
        };
        "receiver, then its stop", false, s => {
            let mut receiver = Receiver::new(s.quiet.clone());
            async move {
                let received = time::timeout(Duration::ZERO, poll_fn(|cx| receiver.poll_chunk(cx))).await;
                receiver.stop().await;
                received
            }
        };
    });
}

#[test]
fn sends_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "send of all", true, s => Op::new(SendAll::new(&s.quiet, vec![1; LARGE]));
        "send of a part", false, s => Op::new(Send::new(&s.quiet, vec![1; LARGE]));
        "send that fits", false, s => Op::new(SendAll::new(&s.quiet, s.alive.buffer()));
        "send of parts", false, s => Op::new(WriteVectored::stream(&s.quiet, vec![vec![1; LARGE], vec![2; 5]]));
        "cancel of a send", false, s => Op::new(SendAll::new(&s.quiet, vec![1; LARGE])).cancel();
        "send with a deadline", true, s => Op::new(SendAll::new(&s.quiet, vec![1; LARGE])).deadline(HOUR);
        "two sends", true, s => {
            let first = Op::new(SendAll::new(&s.quiet, vec![1; LARGE]));
            let second = SendAll::new(&s.quiet, vec![2; LARGE]);
            async move { (time::timeout(Duration::ZERO, first).await.is_err(), Op::new(second).await.0) }
        };
        "chain of sends", true, s => {
            let (first, second) = (SendAll::new(&s.quiet, vec![1; LARGE]), SendAll::new(&s.quiet, vec![2; LARGE]));
            chain((Op::new(first), Op::new(second)))
        };
    });
}

#[test]
fn calls_of_streams_and_listeners_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "accept", false, s => s.listener.accept();
        "accept of one who waits", false, s => s.busy.accept();
        "multishot accept", false, s => {
            let mut accepts = Multishot::new(AcceptMulti::new(&s.quiet));
            async move { poll_fn(|cx| accepts.poll_next(cx)).await }
        };
        "connect", false, s => TcpStream::connect(s.target.local_addr().expect("an address"));
        "connect that waits", false, s => TcpStream::connect(s.full.local_addr().expect("an address"));
        "recv", false, s => s.stream.recv();
        "read", false, s => s.stream.read(s.alive.buffer());
        "read with a deadline", false, s => s.stream.read(s.alive.buffer()).deadline(HOUR);
        "write", false, s => s.stream.write(s.alive.buffer());
        "write of all", true, s => s.stream.write_all(vec![1; LARGE]);
        "write of parts", false, s => s.stream.write_vectored(vec![vec![1; 10], vec![2; LARGE]]);
        "recv of a half", false, s => async { s.stream.split().0.recv().await.map(drop) };
        "write of a half", true, s => async { s.stream.split().1.write_all(vec![1; LARGE]).await.0 };
        "connect, write, close", false, s => async {
            let mut stream = TcpStream::connect(s.target.local_addr()?).await?;
            drop(time::timeout(Duration::ZERO, stream.recv()).await);
            stream.close().await
        };
        "connect, then halves", false, s => async {
            let (mut read, mut write) = TcpStream::connect(s.target.local_addr()?).await?.into_split();
            drop(time::timeout(Duration::ZERO, read.recv()).await);
            write.write_all(vec![1; LARGE]).await.0
        };
    });
}

#[test]
fn calls_of_files_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "open", false, s => File::open(s.path("small"));
        "open of nothing", false, s => File::open(s.path("nothing"));
        "create", false, s => File::create(s.path("new"));
        "read of a whole file", false, s => fs::read(s.path("small"));
        "read of a whole long file", false, s => fs::read(s.path("large"));
        "read into a buffer", false, s => fs::read_into(s.path("small"), room());
        "read of a long file into a buffer", false, s => fs::read_into(s.path("large"), Vec::with_capacity(LARGE));
        "read of a named pipe", false, s => fs::read(s.path("pipe"));
        "open of a named pipe", false, s => File::open(s.path("pipe"));
        "read of no file", false, s => fs::read(s.path("nothing"));
        "write of a whole file", false, s => fs::write(s.path("new"), vec![1; LARGE]);
        "metadata", false, s => fs::metadata(s.path("small"));
        "metadata of the link itself", false, s => fs::symlink_metadata(s.path("small"));
        "read", false, s => s.file.read(s.alive.buffer());
        "read at", false, s => s.file.read_at(s.alive.buffer(), 10);
        "read of parts", false, s => s.file.read_vectored_at(vec![s.alive.buffer(), s.alive.buffer()], 0);
        "write", false, s => s.file.write(s.alive.buffer());
        "write of all", false, s => s.file.write_all(s.alive.buffer());
        "write at", false, s => s.file.write_at(s.alive.buffer(), 10);
        "write of all at", false, s => s.file.write_all_at(s.alive.buffer(), 10);
        "write of parts", false, s => s.file.write_vectored_at(vec![s.alive.buffer(), s.alive.buffer()], 0);
        "sync", false, s => s.file.sync_all();
        "sync of the data", false, s => s.file.sync_data();
        "cut", false, s => s.file.set_len(5);
        "metadata of an open file", false, s => s.file.metadata();
        "open, write, close", false, s => async {
            let file = File::create(s.path("new")).await?;
            file.write_all_at(s.alive.buffer(), 0).await.0?;
            file.close().await
        };
    });
}

#[test]
fn changes_of_names_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "directory", false, s => fs::create_dir(s.path("new"));
        "directories", false, s => fs::create_dir_all(s.path("new/and/newer"));
        "removal", false, s => fs::remove_file(s.path("small"));
        "removal of nothing", false, s => fs::remove_file(s.path("nothing"));
        "removal of a directory", false, s => fs::remove_dir(s.path("nothing"));
        "move", false, s => fs::rename(s.path("small"), s.path("new"));
        "move that does not replace", false, s => fs::rename_no_replace(s.path("small"), s.path("large"));
        "exchange", false, s => fs::rename_exchange(s.path("small"), s.path("large"));
        "link", false, s => fs::hard_link(s.path("small"), s.path("new"));
        "symbolic link", false, s => fs::symlink("small", s.path("new"));
        "where a link leads", false, s => fs::read_link(s.path("small"));
        "real path", false, s => fs::canonicalize(s.path("small"));
        "access", false, s => fs::access(s.path("small"), fs::Access::READ);
        "permissions", false, s => fs::set_permissions(s.path("small"), fs::Permissions::from_mode(0o600));
        "owner", false, s => fs::chown(s.path("small"), None, None);
        "times", false, s => fs::set_times(s.path("small"), fs::FileTimes::now());
        "room of the disk", false, s => fs::statvfs(s.path("small"));
        "attribute", false, s => fs::set_xattr(s.path("small"), "user.a", "value");
        "value of an attribute", false, s => fs::get_xattr(s.path("small"), "user.a");
        "names of attributes", false, s => fs::list_xattr(s.path("small"));
        "removal of an attribute", false, s => fs::remove_xattr(s.path("small"), "user.a");
        "creation, then its removal", false, s => async {
            drop(File::options().write(true).create_new(true).open(s.path("new")).await);
            fs::remove_file(s.path("new")).await
        };
    });
}

#[test]
fn calls_of_open_directories_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "open of a directory", false, s => Dir::open(s.path("."));
        "open below", false, s => async { Dir::open(s.path(".")).await?.open_file("small").await };
        "creation below", false, s => async { Dir::open(s.path(".")).await?.create_file("new").await };
        "metadata below", false, s => async { Dir::open(s.path(".")).await?.metadata("small").await };
        "directory below", false, s => async {
            let dir = Dir::open(s.path(".")).await?;
            dir.create_dir("new").await?;
            dir.create_dir("new/newer").await?;
            dir.rename("small", &dir, "new/small").await?;
            dir.remove_file("new/small").await?;
            dir.sync_all().await?;
            dir.close().await
        };
        "link below", false, s => async {
            let dir = Dir::open(s.path(".")).await?;
            dir.symlink("small", "new").await?;
            dir.read_link("new").await
        };
        "file without a name", false, s => async {
            let file = File::options().write(true).temporary(true).open(s.path(".")).await?;
            file.write_all_at(s.alive.buffer(), 0).await.0?;
            file.link(s.path("new")).await
        };
    });
}

#[test]
fn what_is_noted_of_open_files_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "room", false, s => s.file.allocate(0, 100_000);
        "hole", false, s => s.file.punch_hole(0, 100);
        "zeroes", false, s => s.file.zero_range(0, 100);
        "advice", false, s => s.file.advise(fs::Advice::Sequential, 0, 0);
        "sync of a range", false, s => s.file.sync_range_wait(0, 0);
        "permissions", false, s => s.file.set_permissions(fs::Permissions::from_mode(0o600));
        "owner", false, s => s.file.chown(None, None);
        "times", false, s => s.file.set_times(fs::FileTimes::now());
        "attribute", false, s => s.file.set_xattr("user.a", "value");
        "value of an attribute", false, s => s.file.get_xattr("user.a");
        "names of attributes", false, s => s.file.list_xattr();
        "removal of an attribute", false, s => s.file.remove_xattr("user.a");
        "lock", false, s => s.file.lock();
        "lock that others have", false, s => async {
            let other = File::open(s.path("small")).await?;
            other.lock_shared().await?;
            s.file.lock().await?;
            other.unlock().await
        };
    });
}

#[test]
fn operations_on_descriptors_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "open", false, s => Op::new(OpenAt::new(c_path(s, "small"), libc::O_RDONLY, 0));
        "open of nothing", false, s => Op::new(OpenAt::new(c_path(s, "nothing"), libc::O_RDONLY, 0));
        "readiness", false, s => Op::new(Readiness::of(&s.quiet, libc::POLLIN));
        "readiness of what is ready", false, s => Op::new(Readiness::of(&s.ready, libc::POLLIN));
        "readiness of a pipe", false, s => Op::new(Readiness::of(&s.empty_pipe, libc::POLLIN));
        "stat", false, s => Op::new(Stat::new(c_path(s, "small"), true));
        "read of a pipe", false, s => Op::new(Read::stream(&s.empty_pipe, s.alive.buffer()));
        "read of parts of a pipe", false, s => {
            Op::new(ReadVectored::at(&s.empty_pipe, vec![s.alive.buffer(), s.alive.buffer()], u64::MAX))
        };
        "write to a pipe", false, s => Op::new(Write::stream(&s.full_pipe, vec![1; LARGE]));
        "write of all to a pipe", true, s => Op::new(WriteAll::stream(&s.full_pipe, vec![1; LARGE]));
        "write of parts to a pipe", false, s => Op::new(WriteVectored::stream(&s.full_pipe, vec![vec![1; LARGE]]));
        "read of a file", false, s => Op::new(ReadVectored::at(&s.descriptor, vec![s.alive.buffer()], 0));
        "cut", false, s => Op::new(Truncate::to(&s.descriptor, 5));
        "write, then sync", false, s => {
            let (write, sync) = (WriteAll::at(&s.descriptor, s.alive.buffer(), 0), Sync::all(&s.descriptor));
            chain((Op::new(write), Op::new(sync)))
        };
        "write that waits, then read", false, s => {
            let write = Op::new(WriteAll::stream(&s.full_pipe, vec![1; LARGE])).always();
            chain((write, Op::new(Read::stream(&s.empty_pipe, s.alive.buffer()))))
        };
        "close", false, s => {
            s.opened("small").close()
        };
        "open, read and close in a direct place", false, s => {
            let slot = DirectSlot::take().expect("a place");
            let open = Op::new(OpenDirect::new(c_path(s, "large"), libc::O_RDONLY, &slot));
            let probe = Op::new(ReadDirect::new(&slot, s.alive.buffer(), 0).cached()).always();
            let read = Op::new(ReadDirect::new(&slot, s.alive.buffer(), 0)).always();
            chain((open, probe, read, Op::new(CloseDirect::new(slot))))
        };
        "open and wait in a direct place", false, s => {
            let slot = DirectSlot::take().expect("a place");
            // Open for reading and writing, it waits for nobody; and nothing comes.
            let open = Op::new(OpenDirect::new(c_path(s, "pipe"), libc::O_RDWR, &slot));
            let ready = Op::new(ReadDirect::new(&slot, s.alive.buffer(), 0));
            chain((open, ready, Op::new(CloseDirect::new(slot))))
        };
        "open of nothing in a direct place", false, s => {
            let slot = DirectSlot::take().expect("a place");
            let open = Op::new(OpenDirect::new(c_path(s, "nothing"), libc::O_RDONLY, &slot));
            chain((open, Op::new(CloseDirect::new(slot))))
        };
    });
}

#[test]
fn waits_for_time_and_tasks_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "yield", false, _s => task::yield_now();
        "sleep", false, _s => time::sleep(HOUR);
        "short sleep", false, _s => time::sleep(Duration::from_micros(1));
        "timeout", false, s => time::timeout(HOUR, Op::new(Receive::new(&s.quiet, s.alive.buffer())));
        "timeout that is over", false, s => time::timeout(Duration::ZERO, s.stream.read(room()));
        "tick", false, _s => async { time::interval_at(time::Instant::now() + HOUR, HOUR).tick().await };
        "task", false, _s => spawn(time::sleep(Duration::from_millis(1)));
        "cancel of a task", false, _s => spawn(time::sleep(Duration::from_millis(1))).cancel();
        "task of tasks", false, _s => spawn(async { spawn(async { task::yield_now().await }).await });
    });
}
