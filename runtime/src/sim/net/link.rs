//! Links: what the way from one host to another does to what is sent on it.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What the network between two hosts does to packets: how long they take, how many pass, how many get lost.
///
/// Loss, duplication and reordering are seen by datagrams as they are. Bytes of a stream arrive once and in order
/// whatever the link does: there, a loss costs the time until the packet is sent again.
///
/// Values that no link can have are replaced by the nearest that one can have; each method says which.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub(super) latency_ns: RangeInclusive<u64>,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) loss: f64,
    pub(super) duplication: f64,
    pub(super) reordering: f64,
}

/// No packet travels for longer.
const LONGEST: Duration = Duration::from_secs(3600);

impl Link {
    /// A good link: 100 µs to 1 ms, without a limit, and nothing gets lost.
    #[must_use]
    pub const fn new() -> Self {
        Self { latency_ns: 100_000..=1_000_000, bytes_per_second: None, loss: 0.0, duplication: 0.0, reordering: 0.0 }
    }

    /// How long a packet travels, drawn for each.
    ///
    /// More than an hour counts as an hour, and an end before the start counts as the start.
    #[must_use]
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        let start = range.start().min(&LONGEST).as_nanos() as u64;
        let end = range.end().min(&LONGEST).as_nanos() as u64;
        self.latency_ns = start..=end.max(start);
        self
    }

    /// How many bytes pass in a second, in each direction; none passes before those sent earlier have. At least one.
    ///
    /// A datagram that would have to wait for longer than a second is lost: no queue is endless.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    /// How likely a packet gets lost, from 0 to 1; less counts as 0 (and so does what is no number), more as 1.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Self {
        self.loss = possible(probability);
        self
    }

    /// How likely a datagram arrives twice, from 0 to 1; less counts as 0 (and so does what is no number), more as 1.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Self {
        self.duplication = possible(probability);
        self
    }

    /// How likely a packet is held up for another one to four of the longest latencies, so that those sent later
    /// overtake it; from 0 to 1, less counts as 0 (and so does what is no number), more as 1.
    #[must_use]
    pub fn reordering(mut self, probability: f64) -> Self {
        self.reordering = possible(probability);
        self
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

fn possible(probability: f64) -> f64 {
    if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_link_can_have_become_the_nearest_possible() {
        let link = Link::new().loss(2.0).duplication(-1.0).reordering(f64::NAN).bandwidth(0);
        assert_eq!((link.loss, link.duplication, link.reordering), (1.0, 0.0, 0.0));
        assert_eq!(link.bytes_per_second, Some(1));
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is tried")]
        let link = link.latency(Duration::from_millis(2)..=Duration::from_millis(1));
        assert_eq!(link.latency_ns, 2_000_000..=2_000_000);
        let link = link.latency(Duration::ZERO..=Duration::MAX);
        assert_eq!(link.latency_ns, 0..=3_600_000_000_000);
    }
}
