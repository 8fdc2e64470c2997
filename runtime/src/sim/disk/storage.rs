//! What a simulated disk is like: how large, how fast, how faulty.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The disk of a simulated host: its size, how long its operations take, and what goes wrong.
///
/// By default it is a fast disk that never fails and never runs full, but a power loss may take everything that was
/// not synced.
///
/// # Examples
///
/// ```
/// use corering_runtime::world::{Storage, World};
/// use std::time::Duration;
///
/// let old = Storage::new().read_latency(Duration::from_millis(4)..=Duration::from_millis(12)).capacity(1 << 20);
/// World::new(1).run(async |world: World| {
///     let host = world.host("archive");
///     host.storage(old.sync_errors(0.001));
///     host.write_file("/data", b"abc").unwrap();
///     assert_eq!(host.used_bytes(), 4096, "a page");
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Storage {
    capacity: u64,
    read_latency: RangeInclusive<Duration>,
    write_latency: RangeInclusive<Duration>,
    sync_latency: RangeInclusive<Duration>,
    read_errors: f64,
    write_errors: f64,
    sync_errors: f64,
    torn_writes: bool,
    sync_keeps_name: bool,
}

impl Default for Storage {
    fn default() -> Self {
        let micros =
            |range: RangeInclusive<u64>| Duration::from_micros(*range.start())..=Duration::from_micros(*range.end());
        Self {
            capacity: u64::MAX,
            read_latency: micros(60..=200),
            write_latency: micros(5..=40),
            sync_latency: micros(300..=3000),
            read_errors: 0.0,
            write_errors: 0.0,
            sync_errors: 0.0,
            torn_writes: true,
            sync_keeps_name: false,
        }
    }
}

impl Storage {
    /// The disk described above.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes fit, by pages of 4096 that contents take: a write beyond fails with `ENOSPC`, or ends early.
    /// Directories and names take no room. Unlimited by default.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// How long a read takes that the page cache cannot answer. 60 to 200 microseconds by default.
    #[must_use]
    pub fn read_latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.read_latency = range;
        self
    }

    /// How long a write takes; it goes to the page cache. 5 to 40 microseconds by default.
    #[must_use]
    pub fn write_latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.write_latency = range;
        self
    }

    /// How long a sync takes. 300 microseconds to 3 milliseconds by default.
    #[must_use]
    pub fn sync_latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.sync_latency = range;
        self
    }

    /// How often a read that the page cache cannot answer fails with `EIO`: 0 is never, 1 is always.
    ///
    /// # Panics
    ///
    /// If that is not between 0 and 1.
    #[must_use]
    pub fn read_errors(mut self, chance: f64) -> Self {
        self.read_errors = checked(chance);
        self
    }

    /// How often a write fails with `EIO`: 0 is never, 1 is always.
    ///
    /// # Panics
    ///
    /// If that is not between 0 and 1.
    #[must_use]
    pub fn write_errors(mut self, chance: f64) -> Self {
        self.write_errors = checked(chance);
        self
    }

    /// How often a sync fails with `EIO`: 0 is never, 1 is always.
    ///
    /// What it should have made durable then counts as written although it is not, as on Linux: a program reads it
    /// from the page cache, a second sync succeeds without writing it, and a power loss takes it.
    ///
    /// # Panics
    ///
    /// If that is not between 0 and 1.
    #[must_use]
    pub fn sync_errors(mut self, chance: f64) -> Self {
        self.sync_errors = checked(chance);
        self
    }

    /// Whether a write that was not synced may survive a power loss in part, by sectors of 512 bytes. Otherwise it
    /// does as a whole or not at all. True by default.
    #[must_use]
    pub fn torn_writes(mut self, may_be: bool) -> Self {
        self.torn_writes = may_be;
        self
    }

    /// Whether syncing a file makes its name durable, too, as ext4 does it although POSIX does not ask for it.
    /// Otherwise that takes a sync of its directory. False by default.
    #[must_use]
    pub fn sync_keeps_name(mut self, keeps: bool) -> Self {
        self.sync_keeps_name = keeps;
        self
    }

    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn read_latency_ns(&self) -> RangeInclusive<u64> {
        nanoseconds(&self.read_latency)
    }

    pub(crate) fn write_latency_ns(&self) -> RangeInclusive<u64> {
        nanoseconds(&self.write_latency)
    }

    pub(crate) fn sync_latency_ns(&self) -> RangeInclusive<u64> {
        nanoseconds(&self.sync_latency)
    }

    pub(crate) fn read_error_chance(&self) -> f64 {
        self.read_errors
    }

    pub(crate) fn write_error_chance(&self) -> f64 {
        self.write_errors
    }

    pub(crate) fn sync_error_chance(&self) -> f64 {
        self.sync_errors
    }

    pub(crate) fn tears_writes(&self) -> bool {
        self.torn_writes
    }

    pub(crate) fn keeps_name_at_sync(&self) -> bool {
        self.sync_keeps_name
    }
}

fn checked(chance: f64) -> f64 {
    assert!((0.0..=1.0).contains(&chance), "a chance is between 0 and 1, not {chance}");
    chance
}

fn nanoseconds(range: &RangeInclusive<Duration>) -> RangeInclusive<u64> {
    let whole = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    whole(*range.start())..=whole(*range.end())
}
