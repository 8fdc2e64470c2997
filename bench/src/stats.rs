//! What was measured, and the medians of it.

use std::collections::BTreeMap;

use crate::workload::Workload;

/// Metrics of one measurement.
pub(crate) type Measured = BTreeMap<String, f64>;

/// All measurements of one workload.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) workload: &'static Workload,
    pub(crate) rows: Vec<(&'static str, Vec<Measured>)>,
    /// What went wrong, of which runtime.
    pub(crate) failures: Vec<String>,
}

/// Least, middle and most of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { min: *first, median, max: *last })
    }
}

impl Results {
    pub(crate) fn new(workload: &'static Workload, runtimes: &[&'static str]) -> Self {
        Self { workload, rows: runtimes.iter().map(|runtime| (*runtime, Vec::new())).collect(), failures: Vec::new() }
    }

    /// The round stays without a result, so that the others are still compared with those of the same round.
    pub(crate) fn failed(&mut self, runtime: &str, error: &std::io::Error) {
        self.add(runtime, Measured::new());
        self.failures.push(error.to_string());
    }

    pub(crate) fn add(&mut self, runtime: &str, measured: Measured) {
        if let Some((_, rounds)) = self.rows.iter_mut().find(|(name, _)| *name == runtime) {
            rounds.push(measured);
        }
    }

    /// The metrics that any runtime has, the one that is compared first.
    pub(crate) fn metrics(&self) -> Vec<&str> {
        let mut metrics: Vec<&str> = self
            .rows
            .iter()
            .flat_map(|(_, rounds)| rounds.iter().flat_map(|round| round.keys()))
            .map(String::as_str)
            .collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics.sort_by_key(|metric| *metric != self.workload.metric);
        metrics
    }

    pub(crate) fn spread(&self, runtime: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.rounds(runtime).iter().filter_map(|round| round.get(metric).copied()))
    }

    /// The median of the ratios round by round.
    pub(crate) fn ratio(&self, runtime: &str, other: &str, metric: &str) -> Option<Spread> {
        let pairs = self.rounds(runtime).iter().zip(self.rounds(other));
        Spread::of(pairs.filter_map(|(ours, theirs)| Some(ours.get(metric)? / theirs.get(metric)?)))
    }

    /// How many times as good as another a runtime is, round by round.
    pub(crate) fn advantage(&self, runtime: &str, other: &str, metric: &str) -> Option<Spread> {
        let (_, more_is_better) = crate::workload::unit(metric);
        if more_is_better { self.ratio(runtime, other, metric) } else { self.ratio(other, runtime, metric) }
    }

    /// The best of the other runtimes on io_uring, by the metric that is compared.
    pub(crate) fn best_peer(&self) -> Option<&'static str> {
        self.best_of(|name| crate::workload::PEERS.contains(&name))
    }

    /// The better of the raw loops, by the metric that is compared.
    pub(crate) fn best_raw(&self) -> Option<&'static str> {
        self.best_of(|name| name.starts_with("raw"))
    }

    fn best_of(&self, is_meant: impl Fn(&str) -> bool) -> Option<&'static str> {
        let (_, more_is_better) = crate::workload::unit(self.workload.metric);
        let meant = self.rows.iter().filter(|(name, _)| is_meant(name));
        let rated = meant.filter_map(|(name, _)| Some((*name, self.spread(name, self.workload.metric)?.median)));
        let best = rated.min_by(|(_, a), (_, b)| if more_is_better { b.total_cmp(a) } else { a.total_cmp(b) });
        best.map(|(name, _)| name)
    }

    fn rounds(&self, runtime: &str) -> &[Measured] {
        let row = self.rows.iter().find(|(name, _)| *name == runtime);
        row.map_or(&[], |(_, rounds)| rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_failed_is_compared_with_nothing_and_the_others_stay_in_their_rounds() {
        let workload = &crate::workload::WORKLOADS[0];
        let mut results = Results::new(workload, &["corering", "tokio"]);
        let measured = |value| Measured::from([(workload.metric.to_owned(), value)]);
        results.failed("corering", &std::io::Error::other("lost"));
        results.add("corering", measured(6.0));
        results.add("tokio", measured(1.0));
        results.add("tokio", measured(2.0));
        assert_eq!(results.failures, ["lost"]);
        let ratio = results.ratio("corering", "tokio", workload.metric).expect("a round of both");
        assert_eq!((ratio.min, ratio.max), (3.0, 3.0));
    }

    #[test]
    fn a_spread_is_the_least_the_middle_and_the_most() {
        let spread = Spread::of([3.0, 1.0, 2.0]).expect("three values");
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([1.0, 4.0]).expect("two values").median, 2.5);
        assert_eq!(Spread::of([]), None);
    }
}
