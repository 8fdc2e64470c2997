//! Tests that `#[corering::test(sim)]` makes.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use corering::io;
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Check, World};
use corering::time::{Duration, Instant, sleep};

/// The first test of docs/simulation.md, with what is missing there.
#[corering::test(sim, seeds = 50)]
async fn the_function_of_a_test_is_the_main_program_of_a_world(world: World) -> io::Result<()> {
    let server = world.host("server");
    let address = server.addr(7);
    server.start(move || async move {
        let listener = TcpListener::bind(address).await?;
        listener.accept().await?.0.write_all("hello").await.0
    });
    world.advance(Duration::from_secs(1)).await;
    let mut stream = TcpStream::connect(address).await?;
    let mut greeting = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        greeting.extend_from_slice(&chunk);
    }
    assert_eq!(greeting, b"hello");
    Ok(())
}

thread_local! {
    static SEEDS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

mod deeper {
    use super::{SEEDS, World};

    pub(super) async fn note(world: World) {
        SEEDS.with_borrow_mut(|seeds| seeds.push(world.seed()));
    }

    #[corering::test(sim, seeds = 2 + 1, crate = ::corering)]
    #[should_panic(expected = "the test ended with an error: \"on purpose\"")]
    async fn an_error_fails_a_test(world: World) -> Result<(), String> {
        if world.seed() == 0 { Err("on purpose".to_owned()) } else { Ok(()) }
    }

    #[corering::test(sim)]
    #[should_panic(expected = "as asked")]
    async fn r#try(mut world: World) {
        world = world.most_turns(1000);
        let started = world.host("a").run(async { panic!("as asked") }).await;
        assert_eq!(started, Ok(()));
    }
}

#[corering::test(sim, seeds = 3, paused_time, thread_name = "core")]
async fn the_other_options_say_how_the_core_is(_: World) {
    let began = Instant::now();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1), "exact, as on a clock that stands");
}

#[test]
fn a_test_goes_on_to_the_first_seed_that_fails() {
    // Variables that choose seeds are for those who run a test by hand.
    if ["CORERING_SEED", "CORERING_SEEDS"].iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let check = Check::new(module_path!(), "t", env!("CARGO_PKG_NAME"), true);
    check.clone().seeds(3).run(deeper::note);
    assert_eq!(SEEDS.take(), [0, 1, 2]);
    let fails = catch_unwind(AssertUnwindSafe(|| {
        check.run(async |world: World| {
            deeper::note(world.clone()).await;
            assert!(world.seed() < 5);
        });
    }));
    assert!(fails.is_err());
    assert_eq!(SEEDS.take(), [0, 1, 2, 3, 4, 5]);
}

#[test]
#[should_panic(expected = "the main program of the world was stopped before it had ended")]
fn a_main_program_that_stops_its_own_host_ends_the_run() {
    World::new(1).run(async |world: World| {
        world.host("main").crash();
        sleep(Duration::from_secs(1)).await;
    });
}
