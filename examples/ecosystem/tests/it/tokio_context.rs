//! Libraries that call tokio themselves, on a core that has a runtime of it around.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Json;
use axum::routing::post;
use corering::net::TcpListener;
use corering::{Builder, io};
use corering_ecosystem::web;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::common::clean_on;

fn tokio_runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads")
}

#[test]
fn tokio_spawns_sleeps_and_connects_within_a_task_of_a_core() {
    let tokio = tokio_runtime();
    clean_on(Builder::new().tokio_context(tokio.handle().clone()), async || {
        let here = std::thread::current().id();
        let there = tokio::spawn(async { std::thread::current().id() }).await.expect("no panic");
        assert_ne!(there, here);

        let began = std::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(began.elapsed() >= Duration::from_millis(5));
        assert!(tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = corering::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        });
        let client = tokio::net::TcpStream::connect(address).await?;
        let mut echoed = Vec::new();
        for round in 0..100_u8 {
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
        assert!(echoed.into_iter().eq(0..100));
        drop(client);
        server.await?
    });
}

#[test]
fn without_a_context_tokio_says_what_is_missing() {
    clean_on(Builder::new(), async || {
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(tokio::time::sleep(Duration::ZERO))));
        let payload = panicked.expect_err("there is none");
        let text = payload
            .downcast_ref::<&str>()
            .map_or_else(|| payload.downcast_ref::<String>().cloned().unwrap_or_default(), |text| (*text).to_owned());
        // Our documentation names these words.
        assert!(
            text.contains("there is no reactor running, must be called from the context of a Tokio 1.x runtime"),
            "{text}"
        );

        // What of tokio does not need one.
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let sending = corering::spawn(async move {
            for number in 0..100 {
                sender.send(number).await.expect("it is read");
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        assert_eq!(sum, 99 * 50);
        sending.await?;
        Ok(())
    });
}

/// Notes whether tokio is there when it is dropped.
struct Looks(Arc<Mutex<Vec<bool>>>);

impl Drop for Looks {
    fn drop(&mut self) {
        self.0.lock().expect("no panic").push(Handle::try_current().is_ok());
    }
}

#[test]
fn the_context_is_there_until_the_core_has_ended_and_gone_after() {
    let tokio = tokio_runtime();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let runtime = Builder::new().tokio_context(tokio.handle().clone()).build().expect("io_uring");
    let looks = Looks(seen.clone());
    drop(corering::spawn(async move {
        let _looks = looks;
        std::future::pending::<()>().await;
    }));
    let looks = Looks(seen.clone());
    drop(corering::spawn(corering::cancel::finally(std::future::pending::<()>(), async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(looks);
    })));
    assert!(runtime.block_on(async { Handle::try_current().is_ok() }));
    assert!(Handle::try_current().is_err(), "the loop does not run");
    let passed = Rc::new(Cell::new(false));
    let looked = corering::spawn({
        let passed = passed.clone();
        async move { passed.set(Handle::try_current().is_ok()) }
    });
    while !looked.is_finished() {
        runtime.poll_once(Duration::ZERO);
    }
    assert!(passed.get() && Handle::try_current().is_err());
    drop(runtime);
    assert_eq!(*seen.lock().expect("no panic"), [true, true], "tasks were dropped, and cleanup ran, within it");
    assert!(Handle::try_current().is_err());
}

#[test]
fn contexts_nest() {
    let (outer, inner) = (tokio_runtime(), tokio_runtime());
    let id = || Handle::current().id();
    outer.block_on(async {
        assert_eq!(id(), outer.handle().id());
        let builder = Builder::new().tokio_context(inner.handle().clone());
        assert_eq!(builder.clone().run(async { id() }).expect("io_uring"), inner.handle().id());
        assert_eq!(id(), outer.handle().id());
        // It is left in order also if the program panics, or nothing can run any more.
        let panicked = catch_unwind(AssertUnwindSafe(|| builder.clone().run(async { panic!("its own") }).map(drop)));
        panicked.expect_err("it panicked");
        assert_eq!(id(), outer.handle().id());
        builder.run(std::future::pending::<()>()).expect_err("nothing can run");
        assert_eq!(id(), outer.handle().id());
    });
}

#[test]
fn a_tokio_runtime_that_ends_first_is_told_and_nothing_hangs() {
    let tokio = tokio_runtime();
    Builder::new()
        .tokio_context(tokio.handle().clone())
        .run(async move {
            let waits = tokio::spawn(std::future::pending::<()>());
            tokio.shutdown_background();
            assert!(waits.await.expect_err("its runtime has ended").is_cancelled());
        })
        .expect("io_uring");
}

#[test]
fn reqwest_asks_an_axum_server_of_the_same_core() {
    let tokio = tokio_runtime();
    clean_on(Builder::new().tokio_context(tokio.handle().clone()), async || {
        let router = Router::new().route("/double", post(async |Json(number): Json<u64>| Json(number * 2)));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/double", listener.local_addr()?);
        let (stop, stopped) = watch::channel(false);
        let server = corering::spawn(web::serve(listener, router, stopped));
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let asked = (0..100_u64).map(|number| {
            let (client, url) = (&client, &url);
            async move { client.post(url).json(&number).send().await?.error_for_status()?.json::<u64>().await }
        });
        let doubled = futures_util::future::try_join_all(asked).await.map_err(io::Error::other)?;
        assert!(doubled.into_iter().eq((0..100).map(|number| number * 2)));

        // A limit of ours around it, and one of its own.
        let never = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", never.local_addr()?);
        assert!(corering::timeout(Duration::from_millis(20), client.get(&url).send()).await.is_err());
        let late = client.get(&url).timeout(Duration::from_millis(20)).send().await.expect_err("nobody answers");
        assert!(late.is_timeout(), "{late}");
        drop(client);
        stop.send_replace(true);
        server.await?
    });
}
