//! A core that a tokio runtime turns, on one thread.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpListener;
use corering::{Builder, io};
use corering_ecosystem::within_tokio::run;

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an epoll")
}

fn runtime() -> corering::Runtime {
    Builder::new().embedded(true).build().expect("io_uring")
}

#[test]
fn both_sides_talk_on_one_thread() {
    let runtime = runtime();
    let (told, address) = tokio::sync::oneshot::channel();
    let thread = std::thread::current().id();
    tokio_runtime().block_on(async {
        let server = run(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            told.send(listener.local_addr()?).expect("awaited");
            let (mut stream, _) = listener.accept().await?;
            assert_eq!(std::thread::current().id(), thread);
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        });
        let client = async {
            let client = tokio::net::TcpStream::connect(address.await.expect("it listens")).await?;
            let mut echoed = Vec::new();
            for round in 0..200_u8 {
                client.writable().await?;
                assert_eq!(client.try_write(&[round])?, 1);
                loop {
                    client.readable().await?;
                    match client.try_read_buf(&mut echoed) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        read => break assert_eq!(read?, 1),
                    }
                }
            }
            assert!(echoed.into_iter().eq(0..200));
            io::Result::Ok(())
        };
        let (served, asked) = futures_util::future::join(server, client).await;
        served.expect("turned").expect("served");
        asked.expect("echoed");
    });
}

#[test]
fn each_side_wakes_the_other_and_time_passes_on_both() {
    let runtime = runtime();
    tokio_runtime().block_on(async {
        let (to_core, mut from_tokio) = tokio::sync::mpsc::channel(1);
        let (to_tokio, mut from_core) = tokio::sync::mpsc::channel(1);
        let ticks = Rc::new(Cell::new(0));
        let core = run(&runtime, {
            let ticks = ticks.clone();
            async move {
                let ticking = corering::spawn(async move {
                    loop {
                        corering::time::sleep(Duration::from_millis(1)).await;
                        ticks.set(ticks.get() + 1);
                    }
                })
                .abort_on_drop();
                while let Some(number) = from_tokio.recv().await {
                    to_tokio.send(number + 1_u32).await.expect("awaited");
                }
                drop(ticking);
            }
        });
        let tokio = async {
            for round in 0..500 {
                to_core.send(round).await.expect("awaited");
                assert_eq!(from_core.recv().await, Some(round + 1));
            }
            while ticks.get() < 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(to_core);
        };
        let (turned, ()) = futures_util::future::join(core, tokio).await;
        turned.expect("turned");
    });
}

#[test]
fn what_is_dropped_in_the_middle_goes_on_when_it_is_turned_again() {
    let runtime = runtime();
    let counted = Rc::new(Cell::new(0));
    tokio_runtime().block_on(async {
        let count = {
            let counted = counted.clone();
            async move {
                for _ in 0..3 {
                    corering::time::sleep(Duration::from_millis(20)).await;
                    counted.set(counted.get() + 1);
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(1), run(&runtime, count)).await.is_err());
        assert!(counted.get() < 3);
        run(&runtime, {
            let counted = counted.clone();
            async move {
                while counted.get() < 3 {
                    corering::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
        .await
        .expect("turned");
    });
    drop(runtime);
    assert_eq!(counted.get(), 3);
}
