//! The loop of a world.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

use super::{Failure, Inner, Order, Setup, World, report};
use crate::driver::clock;
use crate::executor::stepped::{Step, Stepped};
use crate::executor::{Builder, Deadlock, RunError};
use crate::sim::trace::What;
use crate::sim::{HostId, Place};
use crate::sys::current;

/// The host whose program the run is about.
pub(super) const MAIN: &str = "main";

/// A core that has been made.
struct Seat {
    core: Stepped,
    host: HostId,
    ring: usize,
    sleep: Sleep,
    /// The run ends with it.
    is_main: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Awake,
    Until(Option<u64>),
}

impl World {
    /// Runs `main` on a host of its own, named `main`, and with it whatever it starts, until it has ended. The other
    /// hosts then lose their power.
    ///
    /// # Panics
    ///
    /// If a program of any host panics, with the same payload; if one ends with an error, an invariant does not hold,
    /// nothing can ever happen again, or something is asked for that is not simulated. Before, the seed and the last
    /// steps are printed. And if the world has been run before, or inside a runtime.
    #[track_caller]
    pub fn run<T>(&self, main: impl AsyncFnOnce(World) -> T) -> T {
        self.run_on(Builder::new(), main)
    }

    /// The same, on a core as `builder` says.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run), and if the core cannot be set up.
    #[track_caller]
    pub fn run_on<T>(&self, builder: Builder, main: impl AsyncFnOnce(World) -> T) -> T {
        match self.run_main(builder, main) {
            Ok(output) => output,
            Err(failure) => report::raise(self, failure),
        }
    }

    /// The same, but that `main` can never run again is no failure of the world. Its cleanup has run then.
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`].
    ///
    /// # Panics
    ///
    /// As [`run_on`](Self::run_on) otherwise.
    #[track_caller]
    pub fn try_run_on<T>(&self, builder: Builder, main: impl AsyncFnOnce(World) -> T) -> Result<T, RunError> {
        match self.run_main(builder, main) {
            Ok(output) => Ok(output),
            Err(Failure::Deadlock { host, deadlock }) if host == self.host(MAIN).id => Err(deadlock.into()),
            Err(failure) => report::raise(self, failure),
        }
    }

    #[track_caller]
    fn run_main<T>(&self, builder: Builder, main: impl AsyncFnOnce(World) -> T) -> Result<T, Failure> {
        assert!(!current::has_core(), "already inside a runtime on this thread: run worlds outside of it");
        assert!(!self.0.ran.replace(true), "a world is run once: make another one from the same seed");
        let output = RefCell::new(None);
        let program = async {
            let ended = main(self.clone()).await;
            output.replace(Some(ended));
        };
        let mut run = Run::new(self);
        let host = self.host(MAIN);
        host.builder(builder);
        self.0.state.borrow_mut().start(host.id);
        // SAFETY: `run` is dropped below, whatever panics, and all seats with it.
        unsafe { run.seat(host.id, program, Location::caller(), true) };
        // What a panic leaves half done is not looked at again: the world has been run.
        let ended = catch_unwind(AssertUnwindSafe(|| run.go_to_the_end()));
        if let Err(payload) = ended {
            self.fail(Failure::Panic { host: host.id, payload });
        }
        let deadlock = run.deadlock.take();
        drop(run);
        let failed = self.0.failed.borrow_mut().take();
        let stuck = deadlock.map(|deadlock| Failure::Deadlock { host: host.id, deadlock });
        if let Some(failure) = failed.or(stuck) {
            return Err(failure);
        }
        match output.into_inner() {
            Some(output) => Ok(output),
            None => panic!("the main program of the world was stopped before it had ended"),
        }
    }
}

struct Run<'a> {
    world: &'a World,
    inner: &'a Inner,
    seats: Vec<Seat>,
    /// Which of them has had the last turn.
    last: usize,
    main_ended: bool,
    /// The main program could never run again; its core ends in order.
    deadlock: Option<Deadlock>,
}

impl<'a> Run<'a> {
    fn new(world: &'a World) -> Self {
        clock::simulate(world.0.state.borrow().now_ns());
        Self { world, inner: &world.0, seats: Vec::new(), last: 0, main_ended: false, deadlock: None }
    }

    fn go_to_the_end(&mut self) {
        while self.inner.failed.borrow().is_none() {
            self.obey();
            // After the last step, too.
            self.check();
            if self.main_ended {
                return;
            }
            self.inner.state.borrow_mut().look_at_bells();
            match self.draw() {
                Some(seat) => self.turn(seat),
                None => self.pass_time(),
            }
        }
    }

    fn fail(&self, text: String) {
        self.world.fail(Failure::Text(text));
    }

    /// Does what was ordered during the last turn.
    fn obey(&mut self) {
        loop {
            let order = self.inner.orders.borrow_mut().pop_front();
            match order {
                None => return,
                Some(Order::Stop(host)) => self.stop(host),
                // SAFETY: the program owns what it uses.
                Some(Order::Run(host, program, at)) => unsafe { self.seat(host, program, at, false) },
                Some(Order::Start(host)) => {
                    let setup = self.inner.hosts.borrow().get(&host).cloned();
                    let Some(Setup { program: Some(program), cores, at, .. }) = setup else {
                        continue;
                    };
                    for core in 0..cores {
                        // SAFETY: as above.
                        unsafe { self.seat(host, program(core), at, false) };
                    }
                }
            }
        }
    }

    /// Makes a core.
    ///
    /// # Safety
    ///
    /// The run is dropped before what the program borrows ends.
    unsafe fn seat(
        &mut self,
        host: HostId,
        program: impl Future<Output = ()>,
        at: &'static Location<'static>,
        is_main: bool,
    ) {
        let (builder, state) =
            (self.inner.hosts.borrow().get(&host).map(|setup| setup.builder.clone()), &self.inner.state);
        let core = state.borrow_mut().host(host).next_core();
        let place = Place { world: Rc::clone(state), host, core };
        let mut builder = builder.unwrap_or_default();
        if !self.inner.tasks_in_order.get() {
            builder = builder.shuffle(state.borrow_mut().draw_for_core());
        }
        // SAFETY: the caller's promise: the run has all seats.
        match unsafe { Stepped::new(&builder, place, program, at) } {
            Ok(core) => {
                let Some(ring) = core.ring() else { return };
                self.seats.push(Seat { core, host, ring, sleep: Sleep::Awake, is_main });
            }
            Err(error) => {
                self.fail(format!("a core of host '{}' cannot be set up: {error}", state.borrow().name_of(host)))
            }
        }
    }

    fn stop(&mut self, host: HostId) {
        let (stopped, left) = std::mem::take(&mut self.seats).into_iter().partition(|seat| seat.host == host);
        self.seats = left;
        let stopped: Vec<Seat> = stopped;
        self.main_ended |= stopped.iter().any(|seat| seat.is_main);
        drop(stopped);
    }

    /// What must hold after every step.
    fn check(&self) {
        if let Some(reason) = self.inner.state.borrow_mut().fatal() {
            self.fail(reason);
        }
        for at in 0..self.inner.invariants.borrow().len() {
            let (name, holds) = self.inner.invariants.borrow()[at].clone();
            if let Err(why) = holds() {
                self.fail(format!("'{name}' does not hold{}{why}", if why.is_empty() { "" } else { ": " }));
            }
        }
        let turns = self.inner.turns.get() + 1;
        self.inner.turns.set(turns);
        if turns > self.inner.most_turns.get() {
            self.fail(format!("the run has not ended after {} turns", self.inner.most_turns.get()));
        }
    }

    /// One of the cores that have something to do.
    fn draw(&self) -> Option<usize> {
        let mut state = self.inner.state.borrow_mut();
        let now_ns = state.now_ns();
        let ready = |seat: &Seat| {
            let due = match seat.sleep {
                Sleep::Awake => true,
                Sleep::Until(until) => until.is_some_and(|until| until <= now_ns) || state.has_news(seat.ring),
            };
            due && !state.is_paused(seat.host)
        };
        let count = self.seats.iter().filter(|seat| ready(seat)).count();
        if count == 0 {
            return None;
        }
        let ready = self.seats.iter().enumerate().filter(|(_, seat)| ready(seat)).map(|(at, _)| at).collect::<Vec<_>>();
        // In order, each has its turn.
        let next = || ready.iter().position(|at| *at > self.last).unwrap_or(0);
        let drawn = if state.in_order { next() } else { state.random.below(count as u64) as usize };
        Some(ready[drawn])
    }

    fn turn(&mut self, at: usize) {
        self.last = at;
        let seat = &mut self.seats[at];
        if std::mem::replace(&mut seat.sleep, Sleep::Awake) != Sleep::Awake {
            seat.core.wake();
        }
        let step = seat.core.step();
        let place = seat.core.place();
        let place = (place.host.0, place.core);
        let takes_time = !seat.core.is_exact();
        match step {
            Step::GoesOn => {}
            Step::Sleeps { until_ns } => seat.sleep = Sleep::Until(until_ns),
            Step::Finished(Ok(())) => {}
            Step::Finished(Err(payload)) => {
                self.world.fail(Failure::Panic { host: seat.host, payload });
                return;
            }
            Step::Stuck(deadlock) if seat.is_main => self.deadlock = Some(deadlock),
            Step::Stuck(deadlock) => {
                self.world.fail(Failure::Deadlock { host: seat.host, deadlock });
                return;
            }
            Step::Over => {
                let seat = self.seats.remove(at);
                self.main_ended |= seat.is_main;
                drop(seat);
            }
        }
        let mut state = self.inner.state.borrow_mut();
        state.note(Some(place), What::Turn);
        if takes_time {
            state.pass_turn();
        }
        clock::simulate(state.now_ns());
    }

    /// No core has anything to do: time passes to when something happens.
    fn pass_time(&self) {
        let mut state = self.inner.state.borrow_mut();
        let sleeping =
            self.seats.iter().filter(|seat| !state.is_paused(seat.host)).filter_map(|seat| match seat.sleep {
                Sleep::Until(until) => until,
                Sleep::Awake => None,
            });
        let Some(next) = sleeping.chain(state.next_event_ns()).min() else {
            drop(state);
            self.fail(report::standstill(self.world));
            return;
        };
        state.advance_to(next);
        clock::simulate(state.now_ns());
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.inner.state.borrow_mut().trace.close();
        let hosts: Vec<HostId> = self.inner.hosts.borrow().keys().copied().collect();
        for host in hosts {
            self.inner.state.borrow_mut().cut_off(host);
        }
        self.seats.clear();
        self.inner.orders.borrow_mut().clear();
        // What programs and invariants hold may be the world itself.
        let invariants = self.inner.invariants.take();
        let programs: Vec<_> = self.inner.hosts.borrow_mut().values_mut().map(|setup| setup.program.take()).collect();
        drop((invariants, programs));
        Place::leave();
        clock::resume();
    }
}
