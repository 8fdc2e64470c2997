//! Whether a core stays responsive: a task beside the work that wants to run each millisecond.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Done;
use crate::micro::Timers;

const PERIOD: Duration = Duration::from_millis(1);

/// A task that measures how late it is.
pub(crate) struct Ticker<R: Timers> {
    ticks: Rc<Ticks>,
    task: R::Handle<()>,
}

#[derive(Debug, Default)]
struct Ticks {
    is_over: Cell<bool>,
    late_us: RefCell<Vec<f64>>,
}

impl<R: Timers> Ticker<R> {
    /// Starts it, on the runtime that runs this.
    pub(crate) fn start() -> Self {
        let ticks = Rc::new(Ticks::default());
        let task = R::spawn({
            let ticks = ticks.clone();
            async move {
                while !ticks.is_over.get() {
                    let due = Instant::now() + PERIOD;
                    R::sleep(PERIOD).await;
                    let late = Instant::now().saturating_duration_since(due);
                    ticks.late_us.borrow_mut().push(late.as_nanos() as f64 / 1000.0);
                }
            }
        });
        Self { ticks, task }
    }

    /// Ends it, and adds to what was done how late it was: 99 of 100 times no more.
    pub(crate) async fn stop(self, done: Done) -> Done {
        self.ticks.is_over.set(true);
        self.task.await;
        let mut late = self.ticks.late_us.take();
        late.sort_by(f64::total_cmp);
        let place = (late.len() * 99).div_ceil(100).saturating_sub(1);
        Done { late_us: late.get(place).copied(), ..done }
    }
}
