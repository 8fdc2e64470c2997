//! Every scenario of `scenarios` holds as it is, whichever of its tasks is aborted at whichever of its polls, and in
//! whatever order its tasks run.
//!
//! A scenario starts its tasks on a [`Stage`], which counts their polls, and aborts one when it is told to. What must
//! hold in the end it says by [`Stage::at_end`]. Then nothing may be left: no task, timer, operation or buffer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering::task::{self, Child};
use corering::time::{sleep, timeout};
use corering::{Builder, JoinHandle, TaskGroup, spawn};

use crate::scenarios::SCENARIOS;
use crate::{Random, clean_on, metrics, paused, seeds, told, watched};

/// Seeds per scenario, unless CORERING_SEEDS says another number.
const SEEDS: u64 = 64;
/// More polls than a task of any scenario has.
const POLLS: usize = 500;

pub(crate) type Program = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) begin: fn(Stage) -> Program,
    /// It talks to the kernel, so the clock is the real one.
    pub(crate) is_real: bool,
}

/// What is done to one task, known by the order in which they are begun.
#[derive(Clone, Copy, Debug)]
struct Blow {
    task: usize,
    when: When,
}

#[derive(Clone, Copy, Debug)]
enum When {
    /// It has been woken, and is aborted before it is polled this time.
    Before(usize),
    /// It waits, and is aborted right after it was polled this time.
    After(usize),
}

/// Where the tasks of a scenario are begun.
#[derive(Clone)]
pub(crate) struct Stage(Rc<State>);

struct State {
    blow: Option<Blow>,
    has_struck: Cell<bool>,
    begun: Cell<usize>,
    at_end: RefCell<Vec<Box<dyn Fn()>>>,
    comes_true: RefCell<Vec<Box<dyn Fn() -> bool>>>,
}

impl Stage {
    fn new(blow: Option<Blow>) -> Self {
        Self(Rc::new(State {
            blow,
            has_struck: Cell::new(false),
            begun: Cell::new(0),
            at_end: RefCell::new(Vec::new()),
            comes_true: RefCell::new(Vec::new()),
        }))
    }

    /// Whether everything must go as planned.
    pub(crate) fn is_calm(&self) -> bool {
        self.0.blow.is_none()
    }

    /// Something that must hold when all tasks have ended, whatever became of them.
    pub(crate) fn at_end(&self, check: impl Fn() + 'static) {
        self.0.at_end.borrow_mut().push(Box::new(check));
    }

    /// Something that comes true when all tasks have ended, perhaps a little later: descriptors are closed in the
    /// background.
    pub(crate) fn comes_true(&self, check: impl Fn() -> bool + 'static) {
        self.0.comes_true.borrow_mut().push(Box::new(check));
    }

    /// Starts a task. It is aborted when what is returned is dropped.
    pub(crate) fn spawn<F: Future<Output: 'static> + 'static>(&self, future: F) -> Task<F::Output> {
        type Slot<T> = Rc<RefCell<Weak<RefCell<JoinHandle<T>>>>>;
        let slot = Slot::<F::Output>::default();
        let own = slot.clone();
        let abort = move || {
            if let Some(handle) = own.borrow().upgrade() {
                handle.borrow().abort();
            }
        };
        let struck = self.struck(future, Some(Box::new(abort)));
        let handle = Rc::new(RefCell::new(spawn(async move { struck.await.expect("aborted, not dropped") })));
        slot.replace(Rc::downgrade(&handle));
        Task(handle)
    }

    /// Starts a task in a group.
    pub(crate) fn child<T, E, F>(&self, group: &TaskGroup<E>, future: F) -> Kid<T>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
        E: 'static,
    {
        let slot = Rc::new(RefCell::new(None));
        let own = slot.clone();
        let abort = move || {
            let child: &Option<Child<T>> = &own.borrow();
            child.as_ref().expect("put there").abort();
        };
        let struck = self.struck(future, Some(Box::new(abort)));
        let child = group.spawn(async move { struck.await.expect("aborted, not dropped") });
        slot.replace(Some(child));
        Kid(slot)
    }

    /// A future that is dropped where a task would be aborted: `None` then.
    pub(crate) fn part<F: Future>(&self, future: F) -> Struck<F> {
        self.struck(future, None)
    }

    fn struck<F: Future>(&self, future: F, abort: Option<Box<dyn Fn()>>) -> Struck<F> {
        let number = self.0.begun.replace(self.0.begun.get() + 1);
        Struck { future: Some(Box::pin(future)), number, polls: 0, stage: self.clone(), abort }
    }
}

/// A future that may be struck.
pub(crate) struct Struck<F> {
    future: Option<Pin<Box<F>>>,
    number: usize,
    polls: usize,
    stage: Stage,
    abort: Option<Box<dyn Fn()>>,
}

impl<F: Future> Struck<F> {
    fn strike(&mut self) -> Poll<Option<F::Output>> {
        self.stage.0.has_struck.set(true);
        match &self.abort {
            Some(abort) => {
                abort();
                Poll::Pending
            }
            None => {
                self.future = None;
                Poll::Ready(None)
            }
        }
    }
}

impl<F: Future> Future for Struck<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        let polls = self.polls;
        let when = self.stage.0.blow.filter(|blow| blow.task == self.number).map(|blow| blow.when);
        if matches!(when, Some(When::Before(poll)) if poll == polls) {
            return self.strike();
        }
        let Some(future) = &mut self.future else { panic!("polled after its end") };
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            self.future = None;
            return Poll::Ready(Some(output));
        }
        if matches!(when, Some(When::After(poll)) if poll == polls) { self.strike() } else { Poll::Pending }
    }
}

/// A task of a scenario: gives its output, or `None` if it was aborted.
pub(crate) struct Task<T>(Rc<RefCell<JoinHandle<T>>>);

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let result = ready!(Pin::new(&mut *self.0.borrow_mut()).poll(cx));
        Poll::Ready(match result {
            Ok(output) => Some(output),
            Err(error) => match error.into_panic() {
                Ok(payload) => resume_unwind(payload),
                Err(_) => None,
            },
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.borrow().abort();
    }
}

/// A child of a group: gives its value, or `None` if it was aborted or has failed.
pub(crate) struct Kid<T>(Rc<RefCell<Option<Child<T>>>>);

impl<T> Future for Kid<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut child = self.0.borrow_mut();
        Pin::new(child.as_mut().expect("put there")).poll(cx).map(Result::ok)
    }
}

/// How a run is to go.
#[derive(Clone, Copy, Debug)]
struct Plan {
    blow: Option<Blow>,
    seed: Option<u64>,
}

/// What a run was like.
struct Course {
    has_struck: bool,
    begun: usize,
}

fn run(scenario: &Scenario, plan: Plan) -> Course {
    let mut builder = Builder::new().entries(32).buffers(0, 0).paused_time(!scenario.is_real);
    if let Some(seed) = plan.seed {
        builder = builder.shuffle(seed);
    }
    clean_on(builder, async || {
        let told = told();
        let stage = Stage::new(plan.blow);
        let main = stage.spawn((scenario.begin)(stage.clone()));
        let limit = if scenario.is_real { Duration::from_secs(20) } else { Duration::from_secs(1_000_000) };
        let ended = timeout(limit, main).await;
        let all = || task::all().iter().map(ToString::to_string).collect::<Vec<_>>();
        let ended = ended.unwrap_or_else(|_| panic!("it hangs; its tasks: {:#?}", all()));
        assert!(ended.is_some() || !stage.is_calm());
        // What was aborted, or goes on by itself, ends without anybody who waits for it.
        let tick = Duration::from_millis(if scenario.is_real { 1 } else { 1000 });
        for _ in 0..5000 {
            let metrics = metrics();
            let is_true = stage.0.comes_true.borrow().iter().all(|check| check());
            if (metrics.tasks, metrics.operations, is_true) == (1, 0, true) {
                break;
            }
            sleep(tick).await;
        }
        assert_eq!(all().len(), 1, "these are left: {:#?}", all());
        assert!(stage.0.comes_true.borrow().iter().all(|check| check()), "it does not come true");
        for check in stage.0.at_end.take() {
            check();
        }
        assert!(!told.borrow().iter().any(|what| what.contains("panicked")), "{told:?}");
        Course { has_struck: stage.0.has_struck.get(), begun: stage.0.begun.get() }
    })
}

/// Runs a test of each scenario; a run that does not end is named.
fn each(test: fn(&Scenario, &dyn Fn(Plan) -> Course)) {
    for scenario in SCENARIOS {
        watched(scenario.name, move |note| {
            test(scenario, &|plan| {
                note(format!("{plan:?}"));
                run(scenario, plan)
            });
        });
    }
}

#[test]
fn every_scenario_holds_as_it_is() {
    each(|scenario, run| {
        let course = run(Plan { blow: None, seed: None });
        assert!(course.begun > 1, "{} has tasks", scenario.name);
    });
}

#[test]
fn every_scenario_holds_whichever_task_is_aborted_at_whichever_poll() {
    each(|scenario, run| {
        let begun = run(Plan { blow: None, seed: None }).begun;
        for task in 0..begun {
            for when in [When::Before, When::After] {
                let strikes = |poll: &usize| {
                    let blow = Some(Blow { task, when: when(*poll) });
                    run(Plan { blow, seed: None }).has_struck
                };
                let polls = (1..POLLS).take_while(strikes).count();
                assert!(polls < POLLS - 1, "{} ends", scenario.name);
            }
        }
    });
}

#[test]
fn every_scenario_holds_in_whatever_order_its_tasks_run() {
    each(|_, run| {
        for seed in 0..seeds(SEEDS) {
            let begun = run(Plan { blow: None, seed: Some(seed) }).begun as u64;
            // And with one of them aborted.
            let mut random = Random::new(seed);
            for _ in 0..2 {
                let poll = 1 + random.below(6) as usize;
                let when = if random.below(2) == 0 { When::Before(poll) } else { When::After(poll) };
                let blow = Blow { task: random.below(begun) as usize, when };
                run(Plan { blow: Some(blow), seed: Some(seed) });
            }
        }
    });
}

/// In the order in which tasks ran, by their numbers.
fn order(seed: Option<u64>) -> Vec<usize> {
    let builder = match seed {
        Some(seed) => paused().shuffle(seed),
        None => paused(),
    };
    clean_on(builder, async || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..6)
            .map(|number| {
                let seen = seen.clone();
                spawn(async move {
                    for _ in 0..3 {
                        seen.borrow_mut().push(number);
                        task::yield_now().await;
                    }
                })
            })
            .collect();
        task::gather(tasks).await.expect("no panic");
        seen.take()
    })
}

#[test]
fn a_seed_gives_the_same_order_each_time_and_another_seed_another() {
    // Here the order is that of the builder's own seed.
    let _special = crate::tasks_in_order();
    let fifo: Vec<_> = (0..18).map(|turn| turn % 6).collect();
    assert_eq!(order(None), fifo);
    let orders: Vec<_> = (0..10).map(|seed| order(Some(seed))).collect();
    for (seed, first) in orders.iter().enumerate() {
        assert_eq!(*first, order(Some(seed as u64)));
        let mut counts = first.clone();
        counts.sort_unstable();
        assert_eq!(counts, (0..18).map(|turn| turn / 3).collect::<Vec<_>>(), "each runs as often");
    }
    let distinct: std::collections::HashSet<_> = orders.iter().collect();
    assert!(distinct.len() >= 9 && !orders.contains(&fifo), "{orders:?}");
    // Each task comes first for some seed.
    let firsts: std::collections::HashSet<_> = (0..60).map(|seed| order(Some(seed))[0]).collect();
    assert_eq!(firsts.len(), 6);
}
