//! What a world does, seen from its controls: hosts that crash and start again, links that are cut, disks that forget,
//! and one run for each seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Call, Host, Kernel, Link, Stopped, Storage, World};
use corering::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs a body in order, and in worlds of some seeds.
fn worlds(body: impl AsyncFn(World)) {
    World::in_order().run(&body);
    for seed in 0..30 {
        World::new(seed).run(&body);
    }
}

/// What a run that fails panics with.
fn failure(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("it fails");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    }
}

async fn echo(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        corering::spawn(async move {
            while let Ok(Some(chunk)) = stream.recv().await {
                if stream.write_all(chunk).await.0.is_err() {
                    return;
                }
            }
        });
    }
}

/// A server of echo, and where it is.
fn echo_server(world: &World) -> (Host, SocketAddr) {
    let server = world.host("server");
    let address = server.addr(7);
    server.start(move || echo(address));
    (server, address)
}

async fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(10 * MS).await,
        }
    }
}

async fn round_trip(stream: &mut TcpStream, message: &'static [u8]) -> io::Result<()> {
    stream.write_all(message).await.0?;
    expect(stream, message).await
}

async fn expect(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut got = Vec::with_capacity(message.len());
    while got.len() < message.len() {
        let (count, buffer) = stream.read(got).await;
        got = buffer;
        if count? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    assert_eq!(got, message);
    Ok(())
}

fn scenario(world: &World) -> (u64, u64) {
    world.run(async |world| {
        let (_, address) = echo_server(&world);
        let clients = (0..4).map(|number| {
            world.host(&format!("client-{number}")).run(async move {
                let mut stream = connect(address).await;
                for _ in 0..20 {
                    round_trip(&mut stream, b"hello").await?;
                }
                fs::write("/log", "done").await?;
                assert_eq!(fs::read_to_string("/log").await?, "done");
                io::Result::Ok(())
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap().unwrap();
        }
    });
    (world.trace_hash(), world.steps())
}

#[test]
fn the_same_seed_is_the_same_run_and_another_one_is_another() {
    let first: BTreeSet<_> = (0..50).map(|seed| scenario(&World::new(seed))).collect();
    let second: BTreeSet<_> = (0..50).map(|seed| scenario(&World::new(seed))).collect();
    assert_eq!(first, second);
    assert_eq!(first.len(), 50);
    assert_eq!(scenario(&World::in_order()), scenario(&World::in_order()));
}

#[test]
fn time_passes_at_once_and_no_sleep_is_early() {
    worlds(async |world| {
        let (began, day) = (world.now(), 24 * 3600 * SECOND);
        let before = Instant::now();
        sleep(day).await;
        assert!(before.elapsed() >= day && before.elapsed() < day + 10 * MS);
        assert_eq!(world.now() - began, before.elapsed());
    });
}

#[test]
fn a_crash_loses_what_was_not_synced_and_nothing_else() {
    let kept_unsynced = Cell::new(0);
    for seed in 0..100 {
        World::new(seed).run(async |world| {
            let db = world.host("db");
            let written = db.run(async {
                let file = File::create("/data").await?;
                file.write_all_at(b"durable ", 0).await.0?;
                file.sync_all().await?;
                File::open("/").await?.sync_all().await?;
                file.write_all_at(b"perhaps", 8).await.0?;
                io::Result::Ok(())
            });
            written.await.unwrap().unwrap();
            assert_eq!(db.file("/data").unwrap(), b"durable perhaps");
            db.crash();
            let found = db.run(async { fs::read("/data").await }).await.unwrap().unwrap();
            assert!(found.starts_with(b"durable "), "{found:?}");
            kept_unsynced.set(kept_unsynced.get() + usize::from(found == b"durable perhaps"));
        });
    }
    assert!((1..100).contains(&kept_unsynced.get()), "now and then it is kept: {}", kept_unsynced.get());
}

#[test]
fn a_file_whose_name_was_not_synced_may_be_gone() {
    let gone = (0..100).filter(|seed| {
        World::new(*seed).run(async |world| {
            let db = world.host("db");
            let written = db.run(async {
                let file = File::create("/data").await?;
                file.write_all_at(b"durable", 0).await.0?;
                file.sync_all().await
            });
            written.await.unwrap().unwrap();
            db.crash();
            match db.run(async { fs::read("/data").await }).await.unwrap() {
                Ok(found) => assert_eq!(found, b"durable"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            db.file("/data").is_none()
        })
    });
    assert!((1..100).contains(&gone.count()));
}

#[test]
fn a_killed_program_leaves_its_files_as_they_were_written() {
    worlds(async |world| {
        let db = world.host("db");
        db.run(async { fs::write("/data", "cached").await }).await.unwrap().unwrap();
        db.kill();
        assert_eq!(db.run(async { fs::read("/data").await }).await.unwrap().unwrap(), b"cached");
    });
}

#[test]
fn a_host_that_starts_again_runs_its_program_again_and_clients_find_it() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"before").await.unwrap();
        server.crash();
        assert!(!server.is_up());
        assert!(timeout(SECOND, round_trip(&mut stream, b"nobody")).await.is_err(), "nothing answers");
        server.restart();
        let error = round_trip(&mut stream, b"stranger").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it knows nothing of the connection");
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"after").await.unwrap();
    });
}

#[test]
fn peers_of_a_killed_program_see_its_connections_end() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"before").await.unwrap();
        server.kill();
        assert!(timeout(SECOND, stream.recv()).await.expect("told at once").is_ok_and(|chunk| chunk.is_none()));
    });
}

#[test]
fn what_runs_on_a_host_that_stops_is_dropped_and_whoever_waits_is_told() {
    struct Noisy(Rc<Cell<bool>>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    worlds(async |world| {
        let dropped = Rc::new(Cell::new(false));
        let noisy = Noisy(dropped.clone());
        let host = world.host("victim");
        let running = host.run(async move {
            let _noisy = noisy;
            let listener = TcpListener::bind("0.0.0.0:1").await?;
            let _pending = (listener.accept().await?, fs::read("/none").await?);
            io::Result::Ok(())
        });
        sleep(10 * MS).await;
        assert!(!dropped.get());
        host.crash();
        assert_eq!(running.await.err(), Some(Stopped));
        assert!(dropped.get());
        assert_eq!(host.descriptors(), 0);
    });
}

#[test]
fn a_paused_host_answers_when_it_goes_on() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"before").await.unwrap();
        server.pause();
        let began = Instant::now();
        stream.write_all(b"slow").await.0.unwrap();
        assert!(timeout(5 * SECOND, stream.recv()).await.is_err());
        server.resume();
        expect(&mut stream, b"slow").await.unwrap();
        assert!(began.elapsed() >= 5 * SECOND);
    });
}

#[test]
fn a_partition_holds_streams_back_and_healed_they_go_on() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        let here = world.host("main");
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"before").await.unwrap();
        world.partition(&here, &server);
        assert!(timeout(5 * SECOND, round_trip(&mut stream, b"wait")).await.is_err());
        world.heal(&here, &server);
        timeout(30 * SECOND, expect(&mut stream, b"wait")).await.expect("sent again").unwrap();
        world.isolate(&server);
        let error = round_trip(&mut stream, b"never").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "after about two minutes");
        world.heal_all();
        round_trip(&mut connect(address).await, b"again").await.unwrap();
    });
}

#[test]
fn connections_may_be_reset() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        let mut stream = connect(address).await;
        round_trip(&mut stream, b"before").await.unwrap();
        assert_eq!(world.connections(&server, &world.host("main")), 1);
        world.reset(&server, &world.host("main"));
        assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(world.connections(&server, &world.host("main")), 0);
    });
}

#[test]
fn a_slow_link_takes_its_time() {
    worlds(async |world| {
        let (server, address) = echo_server(&world);
        world.set_link(&world.host("main"), &server, Link::new().latency(50 * MS..=60 * MS));
        let mut stream = connect(address).await;
        let began = Instant::now();
        round_trip(&mut stream, b"far away").await.unwrap();
        assert!(began.elapsed() >= 100 * MS, "{:?}", began.elapsed());
    });
}

#[test]
fn a_call_that_is_to_fail_fails_once() {
    worlds(async |world| {
        let db = world.host("db");
        db.fail_next(Call::Write, libc::ENOSPC);
        db.fail_next(Call::Open, libc::EMFILE);
        let said = db.run(async {
            let open = File::create("/a").await.unwrap_err().raw_os_error();
            let file = File::create("/a").await.unwrap();
            let write = file.write_at(b"x", 0).await.0.unwrap_err().raw_os_error();
            file.write_at(b"x", 0).await.0.unwrap();
            (open, write)
        });
        assert_eq!(said.await.unwrap(), (Some(libc::EMFILE), Some(libc::ENOSPC)));
    });
}

#[test]
fn a_failed_sync_is_told_once_to_each_who_has_the_file_open() {
    worlds(async |world| {
        let db = world.host("db");
        let other = db.clone();
        let told = db.run(async move {
            let (one, two) = (File::create("/a").await?, File::open("/a").await?);
            one.write_all_at(b"lost", 0).await.0?;
            other.fail_next(Call::Sync, libc::EIO);
            let told = [one.sync_all().await, two.sync_all().await, one.sync_all().await, two.sync_all().await];
            io::Result::Ok(told.map(|told| told.err().and_then(|error| error.raw_os_error())))
        });
        assert_eq!(told.await.unwrap().unwrap(), [Some(libc::EIO), Some(libc::EIO), None, None]);
        assert_ne!(db.durable_file("/a").unwrap_or_default(), b"lost", "which is why one must not just try again");
    });
}

#[test]
fn a_full_disk_takes_what_there_is_room_for() {
    worlds(async |world| {
        let db = world.host("db");
        db.storage(Storage::new().capacity(8192));
        let said = db.run(async {
            let file = File::create("/a").await?;
            let first = file.write_at(vec![1; 6000], 0).await.0?;
            let second = file.write_all_at(vec![2; 6000], 6000).await.0;
            io::Result::Ok((first, second.unwrap_err().kind()))
        });
        assert_eq!(said.await.unwrap().unwrap(), (6000, ErrorKind::StorageFull));
    });
}

#[test]
fn a_disk_that_fails_at_random_fails_that_often() {
    let world = World::new(3);
    world.run(async |world| {
        let db = world.host("db");
        db.storage(Storage::new().write_errors(0.25));
        let failed = db.run(async {
            let file = File::create("/a").await.unwrap();
            let mut failed = 0;
            for _ in 0..1000 {
                match file.write_at(b"x", 0).await.0 {
                    Ok(count) => assert_eq!(count, 1),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EIO));
                        failed += 1;
                    }
                }
            }
            failed
        });
        let failed = failed.await.unwrap();
        assert!((200..300).contains(&failed), "{failed}");
    });
}

#[test]
fn a_host_without_descriptors_refuses_and_recovers() {
    worlds(async |world| {
        let server = world.host("server");
        let address = server.addr(7);
        let refused = Rc::new(Cell::new(0));
        let count = refused.clone();
        let _serving = server.run(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            let mut open = Vec::new();
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => open.push(stream),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                        count.set(count.get() + 1);
                        sleep(MS).await;
                        open.clear();
                    }
                }
            }
        });
        // The bell, the listener, and so two connections.
        server.most_descriptors(4);
        let mut ended = 0;
        for mut stream in [connect(address).await, connect(address).await, connect(address).await] {
            let told = timeout(SECOND, stream.recv()).await;
            ended += usize::from(told.is_ok_and(|told| told.is_ok_and(|chunk| chunk.is_none())));
        }
        assert!(refused.get() >= 1, "the third found no room");
        assert!(ended >= 2, "so the first two were closed");
    });
}

#[test]
fn cores_of_a_host_wake_each_other() {
    worlds(async |world| {
        let host = world.host("server");
        let (flag, wakers) = (Arc::new(AtomicBool::new(false)), Rc::new(RefCell::new(Vec::new())));
        let seen = Rc::new(Cell::new(0));
        let program = {
            let seen = seen.clone();
            move |core: usize| {
                let (flag, wakers, seen) = (flag.clone(), wakers.clone(), seen.clone());
                async move {
                    if core == 0 {
                        sleep(5 * MS).await;
                        flag.store(true, Ordering::Relaxed);
                        for waker in wakers.take() {
                            std::task::Waker::wake(waker);
                        }
                        return;
                    }
                    poll_fn(|cx| {
                        if flag.load(Ordering::Relaxed) {
                            return Poll::Ready(());
                        }
                        wakers.borrow_mut().push(cx.waker().clone());
                        Poll::Pending
                    })
                    .await;
                    seen.set(seen.get() + 1);
                }
            }
        };
        host.start_cores(4, program);
        sleep(SECOND).await;
        assert_eq!(seen.get(), 3);
    });
}

#[test]
fn an_invariant_that_breaks_fails_the_run_with_its_name() {
    let text = failure(|| {
        World::new(7).run(async |world| {
            let count = Rc::new(Cell::new(0));
            let counted = count.clone();
            world.invariant("never more than three", move || counted.get() <= 3);
            loop {
                count.set(count.get() + 1);
                sleep(MS).await;
            }
        })
    });
    assert!(text.contains("seed 7") && text.contains("'never more than three' does not hold"), "{text}");
}

#[test]
fn a_program_that_fails_or_panics_fails_the_run() {
    let text = failure(|| {
        World::new(1).run(async |world| {
            world.host("db").start(|| async { io::Result::<()>::Err(io::Error::other("no luck")) });
            sleep(SECOND).await;
        })
    });
    assert!(text.contains("'db' failed") && text.contains("no luck"), "{text}");
    let text = failure(|| {
        World::new(1).run(async |world| {
            world.host("db").start(async || assert_eq!(1, 2, "out of luck"));
            sleep(SECOND).await;
        })
    });
    assert!(text.contains("out of luck"), "{text}");
}

#[test]
fn a_world_that_stands_still_says_so() {
    let text = failure(|| {
        World::new(1).run(async |world| {
            let host = world.host("paused");
            host.pause();
            host.run(async {}).await.unwrap();
        })
    });
    assert!(text.contains("nothing can ever happen again") && text.contains("paused"), "{text}");
}

#[test]
fn a_run_that_does_not_end_is_given_up() {
    let text = failure(|| {
        World::new(1).most_turns(10_000).run(async |_| {
            loop {
                corering::task::yield_now().await;
            }
        })
    });
    assert!(text.contains("10000 turns"), "{text}");
}

#[test]
fn a_core_that_spins_until_a_time_reaches_it() {
    worlds(async |_| {
        let until = Instant::now() + 10 * MS;
        while Instant::now() < until {
            corering::task::yield_now().await;
        }
    });
}

#[test]
fn random_numbers_follow_from_the_seed() {
    let draw = |seed| World::new(seed).run(async |_| [corering::random(), corering::random()]);
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(corering::random(), corering::random());
}

#[test]
fn a_host_is_its_own_loopback() {
    worlds(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = corering::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (mut server, peer)) = (client.unwrap(), server.unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
        client.write_all(b"to myself").await.0.unwrap();
        let mut got = Vec::new();
        while got.len() < 9 {
            got.extend_from_slice(&server.recv().await.unwrap().unwrap());
        }
        assert_eq!(got, b"to myself");
    });
}

#[test]
fn liberties_do_not_change_what_comes_out() {
    let wild = Kernel::new().short_transfers(1.0).short_files(0.5).deferred(0.8).interrupted(0.4).refused(0.4);
    let wild = wild.multishots_ended(0.5).worker_interrupted(0.4).not_cached(0.5);
    for seed in 0..30 {
        scenario(&World::new(seed).kernel(wild.clone()).link(Link::new().loss(0.1).reordering(0.1)));
    }
}

#[test]
fn a_server_without_descriptors_waits_for_some_tells_it_once_and_goes_on() {
    worlds(async |world| {
        let server = world.host("server");
        let address = server.addr(7);
        let told = Rc::new(Cell::new(0));
        let (count, errors) = (told.clone(), Rc::new(Cell::new(0)));
        let counted = errors.clone();
        let _serving = server.run(async move {
            corering::task::on_unhandled(move |error| {
                assert!(error.to_string().contains("no connection can be accepted for now"), "{error}");
                count.set(count.get() + 1);
            });
            let listener = TcpListener::bind(address).await.unwrap();
            let serving = corering::net::serve(listener, async |mut stream: TcpStream, _| {
                while let Some(chunk) = stream.recv().await? {
                    stream.write_all(chunk).await.0?;
                }
                Ok(())
            });
            let metrics = serving.metrics();
            let mut serving = serving.into_future();
            std::future::poll_fn(|cx| {
                counted.set(metrics.accept_errors());
                serving.as_mut().poll(cx)
            })
            .await
        });
        // The bell, the listener, and so two connections.
        server.most_descriptors(4);
        let first = [connect(address).await, connect(address).await];
        let mut third = connect(address).await;
        third.write_all("x").await.0.unwrap();
        assert!(timeout(3 * SECOND, third.recv()).await.is_err(), "there is no room for it");
        assert!((3..30).contains(&errors.get()), "{} attempts: a little later each time", errors.get());
        drop(first);
        let told_back = timeout(5 * SECOND, third.recv()).await.expect("served when there is room");
        assert_eq!(told_back.unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(told.get(), 1);
    });
}
