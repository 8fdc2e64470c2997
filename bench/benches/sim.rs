//! Simulated worlds: how many operations a second they do on one core, and how long a seed takes.
#![allow(missing_docs, clippy::disallowed_methods, reason = "criterion's macros make public items")]

use std::net::SocketAddr;
use std::time::Duration;

use corering::io;
use corering::net::{TcpListener, TcpStream};
use corering::sim::World;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const CLIENTS: usize = 8;
const ROUNDS: usize = 50;
const MESSAGE: usize = 256;

async fn echo(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        corering::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        });
    }
}

/// Sends messages, gets each back, writes it to a file, and at last reads the file again.
async fn client(address: SocketAddr) -> io::Result<()> {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => corering::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let file = corering::fs::File::create("/log").await?;
    for round in 0..ROUNDS {
        stream.write_all(vec![round as u8; MESSAGE]).await.0?;
        let mut got = Vec::with_capacity(MESSAGE);
        while got.len() < MESSAGE {
            let (count, buffer) = stream.read(got).await;
            assert!(count? > 0, "the server went");
            got = buffer;
        }
        file.write_all_at(got, (round * MESSAGE) as u64).await.0?;
        if round % 10 == 9 {
            file.sync_data().await?;
        }
    }
    let written = corering::fs::read("/log").await?;
    assert!(written.chunks(MESSAGE).enumerate().all(|(round, part)| part == vec![round as u8; MESSAGE]));
    Ok(())
}

/// The scenario of one seed; how many operations that were.
fn echo_and_files(seed: u64) -> u64 {
    let world = World::new(seed);
    world.run(async |world| {
        let server = world.host("server");
        let address = server.addr(7);
        server.start(move || echo(address));
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| world.host(&format!("client-{number}")).run(client(address))).collect();
        for client in clients {
            client.await.expect("nothing is stopped").expect("nothing fails");
        }
    });
    world.operations()
}

fn worlds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3)).sample_size(20);
    let operations = (0..20).map(echo_and_files).sum::<u64>() / 20;
    group.throughput(Throughput::Elements(operations));
    let mut seed = 0;
    group.bench_function("echo-and-files, one seed", |bench| {
        bench.iter(|| {
            seed += 1;
            echo_and_files(seed)
        });
    });
    group.finish();
}

criterion_group!(benches, worlds);
criterion_main!(benches);
