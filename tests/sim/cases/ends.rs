//! Cores that end, are killed or lose their power with everything pending.

use std::time::Duration;

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Op, Readiness, Receive};
use corering::sim::{Host, Storage, World};
use corering::{Builder, io};

use super::{a_moment, below, connect, pattern, seeds, socket_and_peer, tiny, wild};
use crate::lent::Buffers;

const PORT: u16 = 7;

/// One of everything that may be pending, in tasks that nobody waits for.
async fn everything_pending(host: Host, buffers: Buffers) -> io::Result<()> {
    let (socket, peer) = socket_and_peer(&host).await?;
    let (mut full, quiet) = socket_and_peer(&host).await.map(|(socket, peer)| (peer, socket))?;
    let listener = TcpListener::bind(host.addr(PORT)).await?;
    let visitor = TcpStream::connect(host.addr(PORT)).await?;
    let file = File::options().read(true).write(true).create(true).open("/file").await?;
    let whole = buffers.clone();
    corering::spawn(async move {
        let _all = (&peer, &visitor);
        loop {
            drop(listener.accept().await);
        }
    });
    let receive = Op::new(Receive::all(&socket, buffers.empty(100)));
    corering::spawn(async move { drop(receive.await) });
    let ready = Op::new(Readiness::of(&socket, libc::POLLIN));
    corering::spawn(async move { drop(ready.await) });
    corering::spawn(async move {
        // Nobody reads.
        let _quiet = quiet;
        loop {
            drop(full.write_all(whole.of([1; 100_000])).await);
        }
    });
    for hour in 1..100 {
        corering::spawn(corering::sleep(Duration::from_secs(hour * 3600)));
    }
    corering::spawn(async move {
        loop {
            let at = below(5_000);
            let read = file.read_at(buffers.empty(300), at);
            let write = file.write_all_at(buffers.of(pattern(0, 200)), at);
            let sync = file.sync_all();
            drop(corering::join!(read, write, sync));
        }
    });
    a_moment(2_000).await;
    Ok(())
}

fn builder(seed: u64) -> Builder {
    if seed % 2 == 0 { tiny() } else { Builder::new() }
}

// R91
#[test]
fn a_core_ends_soon_and_gives_everything_back_whatever_is_pending() {
    seeds(1_000, |seed| {
        let buffers = Buffers::default();
        let world = World::new(seed).kernel(wild());
        let began = world.run_on(builder(seed), async |world| {
            everything_pending(world.host("main"), buffers.clone()).await.unwrap();
            world.now()
        });
        let took = world.now() - began;
        assert!(took < Duration::from_secs(1), "it took {took:?} to end");
        buffers.assert_all_back();
        assert_eq!(world.host("main").descriptors(), 0);
    });
}

// R91
#[test]
fn a_core_whose_program_panics_gives_everything_back() {
    seeds(500, |seed| {
        let buffers = Buffers::default();
        let world = World::new(seed).kernel(wild());
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.run_on(builder(seed), async |world| {
                everything_pending(world.host("main"), buffers.clone()).await.unwrap();
                std::panic::panic_any(seed);
            });
        }));
        assert_eq!(ran.expect_err("it panicked").downcast_ref::<u64>(), Some(&seed));
        buffers.assert_all_back();
    });
}

// R91
#[test]
fn hosts_that_are_killed_or_crash_give_every_buffer_back_and_start_again() {
    seeds(1_000, |seed| {
        let buffers = Buffers::default();
        let made = buffers.clone();
        World::new(seed).kernel(wild()).run(async |world| {
            let host = world.host("victim");
            host.builder(builder(seed));
            host.storage(Storage::new());
            for _ in 0..3 {
                let running = host.run(everything_pending(host.clone(), made.clone()));
                a_moment(3_000).await;
                match below(3) {
                    0 => host.crash(),
                    1 => host.kill(),
                    _ => {
                        running.await.expect("not stopped").expect("no error");
                        // It may be draining.
                        a_moment(100).await;
                        host.crash();
                    }
                }
                a_moment(100).await;
                made.assert_all_back();
                assert_eq!(host.descriptors(), 0);
            }
        });
        buffers.assert_all_back();
    });
}

// R91, R93
#[test]
fn a_port_is_free_again_when_its_program_has_ended() {
    seeds(500, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let server = world.host("server");
            for round in 0..5_u8 {
                let address = server.addr(PORT);
                let serving = server.run(async move {
                    let listener = TcpListener::bind(address).await?;
                    let (mut stream, _) = listener.accept().await?;
                    stream.write_all([round]).await.0?;
                    // Dropped, not closed.
                    io::Result::Ok(())
                });
                let mut stream = connect(&server, PORT).await;
                let chunk = stream.recv().await.unwrap().expect("a byte");
                assert_eq!(chunk[..], [round]);
                serving.await.expect("not stopped").expect("the port is free");
                while server.descriptors() > 0 {
                    a_moment(100).await;
                }
            }
        });
    });
}
