//! The clock of the world.

use std::io::Write as _;
use std::panic::catch_unwind;
use std::time::Duration;

use corering::op::{Op, Receive};
use corering::time::{Instant, Sleep, advance, sleep, timeout};

use crate::{SECOND, clean, paused, poll_once, run_on, scene, sockets};

#[test]
fn a_sleep_is_never_early_by_the_real_clock() {
    clean(async || {
        for us in (0..1000).step_by(7) {
            let start = std::time::Instant::now();
            sleep(Duration::from_micros(us)).await;
            assert!(start.elapsed() >= Duration::from_micros(us));
        }
    });
}

#[test]
fn what_never_ends_does_not_end_because_time_is_paused() {
    scene(async || {
        let (socket, mut peer) = sockets();
        // More of them than the wheel looks at one by one.
        let mut never: Vec<Sleep> = (0..100).map(|_| sleep(Duration::MAX)).collect();
        for sleep in &mut never {
            assert!(!poll_once(sleep).await);
        }
        let began = Instant::now();
        let writer = std::thread::spawn(move || {
            // Far longer than operations are waited for before the clock jumps.
            std::thread::sleep(Duration::from_millis(50));
            peer.write_all(b"x").map(|()| peer)
        });
        let receive = Op::new(Receive::new(&socket, Vec::with_capacity(1)));
        let (result, _) = timeout(Duration::MAX, receive).await.expect("it never ends");
        assert_eq!(result.expect("received"), 1);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!poll_once(&mut never[99]).await);
        writer.join().expect("no panic").expect("written");
    });
}

#[test]
fn the_real_clock_goes_on_where_a_paused_one_ended() {
    let before = std::time::Instant::now();
    run_on(paused(), async || sleep(1000 * SECOND).await);
    assert!(before.elapsed() < 100 * SECOND);
    clean(async || {
        let began = Instant::now();
        let refused = catch_unwind(|| advance(SECOND)).expect_err("the clock is not paused");
        assert!(refused.downcast_ref::<&str>().expect("a text").contains("paused_time(true)"));
        std::thread::sleep(Duration::from_millis(1));
        assert!(began.elapsed() >= Duration::from_millis(1) && began.elapsed() < 100 * SECOND);
    });
}
