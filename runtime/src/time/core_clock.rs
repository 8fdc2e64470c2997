//! The core's clock for primitives that know no runtime.

use std::time::Duration;

use corering_sync::Clock;

use super::{Instant, sleep_until};
use crate::driver::clock;

/// The clock of the core on which it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreClock;

impl Clock for CoreClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(clock::now_ns())
    }

    async fn sleep_until(&self, deadline: Duration) {
        sleep_until(Instant::now() + deadline.saturating_sub(self.now())).await;
    }
}
