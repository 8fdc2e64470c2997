//! Whole worlds from a seed: hosts with cores, disks and a network between them, run on one thread.
//!
//! ```text
//!      +--> orders (start, crash) --> invariants --> draw a core that has something to do --> one turn of it --+
//!      |                                                  | none has                                            |
//!      +-- time passes to the next event <----------------+--------------------- time passes a little <--------+
//! ```
//!
//! Invariant: cores are made, turned and dropped here alone, between turns; a program that wants something done to a
//! host leaves an order.

mod check;
mod host;
mod outcome;
mod report;
mod run;
#[doc(hidden)]
pub mod suite;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

pub use self::check::Check;
pub use self::host::{Host, Running, Stopped};
pub use self::outcome::Outcome;
use crate::executor::{Builder, Deadlock};
use crate::sim::state::BEGINNING_NS;
pub use crate::sim::{Call, Kernel, Link, Storage, is_in_flight};
use crate::sim::{HostId, State};

/// A simulated world: hosts, the network between them, and time, all from a seed.
///
/// A handle: clones are the same world. What is not set up otherwise is an ordinary day: latencies differ from packet
/// to packet, cores and tasks run in any order, transfers are cut short now and then, and nothing breaks. Run again from
/// the same seed, everything happens again, in the same order.
///
/// # Examples
///
/// ```
/// use corering_runtime::world::World;
/// use std::time::Duration;
///
/// let world = World::new(42);
/// let took = world.run(async |world| {
///     let host = world.host("db");
///     let answer = host.run(async { 6 * 7 }).await.unwrap();
///     assert_eq!(answer, 42);
///     let began = world.now();
///     corering_runtime::time::sleep(Duration::from_secs(3600)).await;
///     world.now() - began
/// });
/// assert!(took >= Duration::from_secs(3600), "an hour, in no time");
/// ```
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    seed: u64,
    state: Rc<RefCell<State>>,
    hosts: RefCell<BTreeMap<HostId, Setup>>,
    orders: RefCell<VecDeque<Order>>,
    /// Ready tasks of a core run in the order in which they were woken.
    tasks_in_order: Cell<bool>,
    invariants: RefCell<Vec<(String, Invariant)>>,
    /// How many turns a run may take.
    most_turns: Cell<u64>,
    turns: Cell<u64>,
    ran: Cell<bool>,
    /// Why the run cannot go on: what a program ended with.
    failed: RefCell<Option<Failure>>,
}

type Invariant = Rc<dyn Fn() -> Result<(), String>>;
type Program = Pin<Box<dyn Future<Output = ()>>>;

/// How a host is to be.
#[derive(Clone)]
struct Setup {
    builder: Builder,
    cores: usize,
    /// Makes what runs on each core when the host starts.
    program: Option<Rc<dyn Fn(usize) -> Program>>,
    /// Where that was given.
    at: &'static Location<'static>,
}

/// What the loop is to do between two turns.
enum Order {
    /// Make cores for the host's program.
    Start(HostId),
    /// Make one more core for this.
    Run(HostId, Program, &'static Location<'static>),
    /// Drop its cores: they have been cut off from the kernel already.
    Stop(HostId),
}

enum Failure {
    /// A program can never run again.
    Deadlock { host: HostId, deadlock: Deadlock },
    /// A program panicked.
    Panic { host: HostId, payload: Box<dyn std::any::Any + Send> },
    /// Something else, in words.
    Text(String),
}

/// A run that takes longer does not end.
const MOST_TURNS: u64 = 200_000_000;

impl World {
    /// A world that draws everything from `seed`.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::world::World;
    ///
    /// let hash = |seed| {
    ///     let world = World::new(seed);
    ///     world.run(async |world: World| {
    ///         world.host("a").run(async {}).await.unwrap();
    ///     });
    ///     world.trace_hash()
    /// };
    /// assert_eq!(hash(1), hash(1));
    /// assert_ne!(hash(1), hash(2));
    /// ```
    pub fn new(seed: u64) -> Self {
        Self::with(seed, false)
    }

    /// A world in which nothing is drawn: what happens first comes first, as on a quiet machine with the real kernel.
    /// Its order of tasks and completions is that of the real executor, and links lose nothing. What a [`Kernel`] or a
    /// [`Storage`] is told to do now and then still happens, the same in every run.
    pub fn in_order() -> Self {
        Self::with(0, true)
    }

    fn with(seed: u64, in_order: bool) -> Self {
        Self(Rc::new(Inner {
            seed,
            state: Rc::new(RefCell::new(State::new(seed, in_order))),
            hosts: RefCell::default(),
            orders: RefCell::default(),
            tasks_in_order: Cell::new(in_order),
            invariants: RefCell::default(),
            most_turns: Cell::new(MOST_TURNS),
            turns: Cell::new(0),
            ran: Cell::new(false),
            failed: RefCell::new(None),
        }))
    }

    /// The seed it was made from; 0 if nothing is drawn.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// What liberties its kernels take: [`Kernel::new`] unless it is set, or [`Kernel::plain`] in a world that is
    /// [in order](Self::in_order). For all hosts, from now on.
    pub fn kernel(self, kernel: Kernel) -> Self {
        self.0.state.borrow_mut().kernel = kernel;
        self
    }

    /// Has ready tasks of a core run in the order in which they were woken, as the real executor does, though it does
    /// not promise that: all else is drawn.
    pub fn tasks_in_order(self) -> Self {
        self.0.tasks_in_order.set(true);
        self
    }

    /// How its links are, between any two hosts that have none of [their own](Self::set_link): [`Link::new`] unless it
    /// is set.
    pub fn link(self, link: Link) -> Self {
        self.0.state.borrow_mut().network.set_default_link(link);
        self
    }

    /// After how many turns of its cores a run is given up, as one that never ends: 200 million unless it is set.
    pub fn most_turns(self, turns: u64) -> Self {
        self.0.most_turns.set(turns);
        self
    }

    /// The host of that name, which is made when it is asked for first. Its address is the next of 10.0.0.0/8.
    ///
    /// # Panics
    ///
    /// If there are 1,023 hosts already.
    pub fn host(&self, name: &str) -> Host {
        let known = self.0.state.borrow().host_named(name);
        let id = known.unwrap_or_else(|| self.add_host(name));
        Host::new(self.clone(), id)
    }

    fn add_host(&self, name: &str) -> HostId {
        let mut hosts = self.0.hosts.borrow_mut();
        let number = hosts.len() as u32 + 1;
        assert!(number < 1024, "a world has at most 1,023 hosts");
        let address = IpAddr::from(Ipv4Addr::from(u32::from_be_bytes([10, 0, 0, 0]) + number));
        let id = self.0.state.borrow_mut().add_host(name.to_owned(), address);
        hosts.insert(id, Setup { builder: Builder::new(), cores: 1, program: None, at: Location::caller() });
        id
    }

    /// The time since the world began. It passes while cores run, and jumps when all wait.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.state.borrow().now_ns() - BEGINNING_NS)
    }

    /// Lets that much time pass, in which everything else goes on. The same as [`time::sleep`](crate::time::sleep), and
    /// like it for programs of the world.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::world::World;
    /// use std::time::Duration;
    ///
    /// World::new(1).run(async |world: World| {
    ///     world.advance(Duration::from_secs(3600)).await;
    ///     assert!(world.now() >= Duration::from_secs(3600));
    /// });
    /// ```
    pub async fn advance(&self, time: Duration) {
        crate::time::sleep(time).await;
    }

    /// Has something hold between any two turns of the world's cores: if it does not, the run fails with that name.
    ///
    /// It is called often, so it should be quick. What programs share with it is shared as on one thread, by `Rc`. It
    /// may look at hosts and their files, and is let go of when the run ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::task::yield_now;
    /// use corering_runtime::world::World;
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// World::new(1).run(async |world: World| {
    ///     let (level, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    ///     let (looked_at, most) = (level.clone(), seen.clone());
    ///     world.invariant("the level is low", move || {
    ///         most.set(most.get().max(looked_at.get()));
    ///         looked_at.get() <= 3
    ///     });
    ///     for _ in 0..3 {
    ///         level.set(level.get() + 1);
    ///         world.advance(std::time::Duration::from_millis(1)).await;
    ///     }
    ///     yield_now().await;
    ///     assert_eq!(seen.get(), 3);
    /// });
    /// ```
    pub fn invariant(&self, name: &str, holds: impl Fn() -> bool + 'static) {
        let check = move || if holds() { Ok(()) } else { Err(String::new()) };
        self.0.invariants.borrow_mut().push((name.to_owned(), Rc::new(check)));
    }

    /// Cuts the two hosts off from each other: nothing arrives until it is [healed](Self::heal). Streams send again, and
    /// end with `ETIMEDOUT` after about two minutes; datagrams are lost.
    pub fn partition(&self, a: &Host, b: &Host) {
        self.control(format!("'{}' and '{}' are cut off from each other", a.name(), b.name()), |state| {
            state.network.partition(a.id, b.id);
        });
    }

    /// Cuts one direction only: nothing from `from` arrives at `to`, while all from `to` arrives at `from`.
    pub fn cut(&self, from: &Host, to: &Host) {
        self.control(format!("nothing from '{}' arrives at '{}'", from.name(), to.name()), |state| {
            state.network.cut(from.id, to.id);
        });
    }

    /// Cuts a host off from all others that there are by now, in both directions.
    pub fn isolate(&self, host: &Host) {
        self.control(format!("'{}' is cut off", host.name()), |state| state.network.partition_all(host.id));
    }

    /// Mends what was cut between the two, in both directions.
    pub fn heal(&self, a: &Host, b: &Host) {
        self.control(format!("'{}' and '{}' reach each other", a.name(), b.name()), |state| {
            state.network.heal(a.id, b.id);
        });
    }

    /// Mends whatever was cut. Links stay as they were [set](Self::set_link).
    pub fn heal_all(&self) {
        self.control("all hosts reach each other".to_owned(), |state| state.network.heal_all());
    }

    /// Resets every connection between the two hosts, at both ends at once: their programs see `ECONNRESET`.
    pub fn reset(&self, a: &Host, b: &Host) {
        self.control(format!("connections between '{}' and '{}' are reset", a.name(), b.name()), |state| {
            state.network.reset(a.id, b.id, state.now_ns());
            state.look_at_network();
        });
    }

    /// How the link between the two hosts is, in both directions. What is on its way arrives as it would have.
    pub fn set_link(&self, a: &Host, b: &Host, link: Link) {
        self.0.state.borrow_mut().network.set_link(a.id, b.id, link);
    }

    /// How the link from one host to the other is, in that direction only.
    pub fn set_link_from(&self, from: &Host, to: &Host, link: Link) {
        self.0.state.borrow_mut().network.set_link_from(from.id, to.id, link);
    }

    /// How many connections to `b` the system of `a` knows. The other side may know less, or more.
    pub fn connections(&self, a: &Host, b: &Host) -> usize {
        self.0.state.borrow().network.connections_between(a.id, b.id)
    }

    /// One number for all that has happened so far. The same program and seed give the same one, on any machine; after
    /// any difference it is another, but for a chance of one in 2^64. What the end of the run brings about is not in it.
    pub fn trace_hash(&self) -> u64 {
        self.0.state.borrow().trace.hash()
    }

    /// How many operations its kernels have taken in.
    pub fn operations(&self) -> u64 {
        self.0.state.borrow().operations()
    }

    /// How many steps have been taken: turns of cores, requests and completions.
    pub fn steps(&self) -> u64 {
        self.0.state.borrow().trace.steps()
    }

    fn control<R>(&self, text: String, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.state.borrow_mut();
        state.say(text);
        act(&mut state)
    }

    fn order(&self, order: Order) {
        self.0.orders.borrow_mut().push_back(order);
    }

    fn fail(&self, failure: Failure) {
        self.0.failed.borrow_mut().get_or_insert(failure);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(seed {}, {} steps)", self.seed(), self.steps())
    }
}
