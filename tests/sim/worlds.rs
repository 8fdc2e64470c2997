//! What a world does, from outside.

use corering::net::{TcpListener, TcpStream};
use corering::sim::World;
use std::time::Duration;

async fn echo(address: std::net::SocketAddr) -> corering::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        corering::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            corering::io::Result::Ok(())
        });
    }
}

async fn client(address: std::net::SocketAddr, rounds: u32) -> corering::io::Result<()> {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => corering::time::sleep(Duration::from_millis(10)).await,
        }
    };
    for round in 0..rounds {
        stream.write_all(vec![round as u8; 100]).await.0?;
        let mut got = Vec::with_capacity(100);
        while got.len() < 100 {
            let (count, buffer) = stream.read(got).await;
            got = buffer;
            assert!(count? > 0);
        }
        assert_eq!(got, vec![round as u8; 100]);
    }
    corering::fs::write("/log", format!("{rounds} rounds")).await?;
    assert_eq!(corering::fs::read_to_string("/log").await?, format!("{rounds} rounds"));
    Ok(())
}

fn scenario(seed: u64) -> (u64, u64) {
    let world = World::new(seed);
    world.run(async |world| {
        let server = world.host("server");
        let address = server.addr(7);
        server.start(move || echo(address));
        let clients: Vec<_> = (0..4).map(|n| world.host(&format!("client-{n}")).run(client(address, 20))).collect();
        for client in clients {
            client.await.unwrap().unwrap();
        }
    });
    (world.trace_hash(), world.steps())
}

#[test]
fn a_world_runs_programs_and_the_same_seed_runs_them_the_same_way() {
    let mut different = std::collections::BTreeSet::new();
    let began = std::time::Instant::now();
    let mut steps = 0;
    for seed in 0..50 {
        let first = scenario(seed);
        assert_eq!(first, scenario(seed), "seed {seed}");
        different.insert(first.0);
        steps += first.1;
    }
    assert_eq!(different.len(), 50);
    println!("{steps} steps twice in {:?}", began.elapsed());
}

#[corering::test(sim, seeds = 10)]
async fn the_function_of_a_test_is_the_main_program_of_a_world_of_each_seed(world: World) -> corering::io::Result<()> {
    let address = world.host("server").addr(7);
    world.host("server").start(move || echo(address));
    client(address, 3).await
}

mod deeper {
    use super::World;

    #[corering::test(sim, seeds = 2 + 1, entries = 16, thread_name = "core")]
    async fn a_test_may_stand_in_a_module_and_say_how_its_core_is(mut world: World) {
        world = world.most_turns(1_000_000);
        world.host("a").run(async {}).await.unwrap();
        assert!(world.seed() < 3);
    }
}
