//! What this kernel and this container allow.

use std::fmt;

use io_uring::opcode;

use super::{Ring, Sizes};
use crate::error::SetupError;
use crate::sys::limits;

/// What the runtime can do here, and what would have to change for more. Prints as a report.
///
/// # Examples
///
/// ```
/// let probe = corering_runtime::probe();
/// println!("{probe}");
/// if let Err(reason) = probe.available() {
///     eprintln!("no io_uring: {reason}");
/// }
/// ```
#[derive(Debug)]
pub struct Probe {
    kernel: String,
    ring: Result<Features, SetupError>,
    locked_memory: Option<u64>,
    descriptors: Option<u64>,
    seccomp: bool,
}

/// What a ring can do on this kernel.
#[derive(Clone, Copy, Debug)]
struct Features {
    absolute_waits: bool,
    no_iowait: bool,
    no_sqarray: bool,
    truncate: bool,
    bind_listen: bool,
}

/// Finds out what this kernel and this container allow, by making a small ring and closing it again.
///
/// Never fails: what cannot be had is in the [`Probe`], with the reason.
pub fn probe() -> Probe {
    let sizes = Sizes { submissions: 4, completions: 8 };
    Probe {
        kernel: limits::kernel_release(),
        ring: Ring::new(sizes).map(|ring| ring.features()),
        locked_memory: limits::locked_memory(),
        descriptors: limits::descriptors(),
        seccomp: limits::seccomp_filtered(),
    }
}

impl Probe {
    /// Whether a runtime can be set up here.
    ///
    /// # Errors
    ///
    /// The reason why not, which names the setting to change.
    pub fn available(&self) -> Result<(), &SetupError> {
        self.ring.as_ref().map(|_| ())
    }

    /// The kernel's release, such as `6.18.44`.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// `RLIMIT_MEMLOCK` in bytes, which all rings of a user share; `None` is unlimited.
    pub fn locked_memory(&self) -> Option<u64> {
        self.locked_memory
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}", self.kernel)?;
        match &self.ring {
            Err(reason) => writeln!(f, "io_uring: not available: {reason}")?,
            Ok(features) => {
                writeln!(f, "io_uring: available")?;
                for (has, what, without) in [
                    (features.no_sqarray, "rings without index array (6.6)", "one memory access more per submission"),
                    (features.absolute_waits, "waits until a time (6.12)", "one clock read more per wait"),
                    (
                        features.no_iowait,
                        "idle is not counted as waiting for the disk (6.15)",
                        "an idle core shows as iowait",
                    ),
                    (features.truncate, "ftruncate by ring (6.9)", "File::set_len is a plain call"),
                    (features.bind_listen, "bind and listen by ring (6.11)", "both are plain calls, as always here"),
                ] {
                    if has {
                        writeln!(f, "  yes  {what}")?;
                    } else {
                        writeln!(f, "  no   {what}: {without}; a newer kernel has it")?;
                    }
                }
            }
        }
        match self.locked_memory {
            None => writeln!(f, "locked memory: unlimited")?,
            Some(bytes) => writeln!(f, "locked memory: {} KiB for all rings of this user (ulimit -l)", bytes / 1024)?,
        }
        match self.descriptors {
            None => writeln!(f, "descriptors: unlimited")?,
            Some(count) => writeln!(f, "descriptors: {count} (ulimit -n)")?,
        }
        write!(f, "seccomp: {}", if self.seccomp { "a filter is in force, as in a container" } else { "no filter" })
    }
}

impl Ring {
    fn features(&self) -> Features {
        let mut probe = io_uring::Probe::new();
        // An old or restricted ring that cannot be asked simply shows no operations beyond the oldest kernel's.
        let known = self.io.submitter().register_probe(&mut probe).is_ok();
        Features {
            absolute_waits: self.absolute_waits,
            no_iowait: self.no_iowait,
            no_sqarray: limits::version_of(&limits::kernel_release()) >= (6, 6),
            truncate: known && probe.is_supported(opcode::Ftruncate::CODE),
            bind_listen: known && probe.is_supported(opcode::Bind::CODE),
        }
    }
}
