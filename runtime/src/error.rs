//! Why a core could not be set up, each reason with what to change.

use std::{fmt, io};

/// A core could not be set up. Its text names the cause and the setting to change.
///
/// # Examples
///
/// ```
/// use corering_runtime::{Builder, SetupError};
///
/// let error = Builder::new().entries(0).build().err().expect("a ring of no entries");
/// assert!(matches!(error, SetupError::InvalidEntries { entries: 0 }));
/// assert!(error.to_string().contains("between 1 and 32768"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// `kernel.io_uring_disabled` forbids rings to this process.
    Disabled {
        /// The value of the setting: 1 (only for `kernel.io_uring_group` and administrators) or 2 (for nobody).
        setting: u32,
    },
    /// A seccomp filter refuses the calls, as most containers' default profiles do.
    Blocked {
        /// The call that was refused.
        call: &'static str,
    },
    /// A security module (SELinux and the like) refuses the ring.
    Denied {
        /// The call that was refused.
        call: &'static str,
    },
    /// The kernel has no io_uring, or something between it and us hides it.
    Unavailable {
        /// The kernel's release.
        kernel: String,
    },
    /// The kernel is older than the oldest one that is supported.
    TooOld {
        /// The kernel's release.
        kernel: String,
    },
    /// The ring needs more locked memory than this user may have.
    LockedMemory {
        /// `RLIMIT_MEMLOCK` in bytes; `None` is unlimited (then it was memory itself that ran out).
        limit: Option<u64>,
        /// What the ring would have needed, in bytes.
        needed: u64,
        /// The submission queue that was asked for.
        entries: u32,
    },
    /// No descriptor was free.
    Descriptors {
        /// `RLIMIT_NOFILE`; `None` is unlimited.
        limit: Option<u64>,
    },
    /// Another runtime lives on this thread.
    AlreadyRunning,
    /// A queue size that no ring can have.
    InvalidEntries {
        /// What was asked for.
        entries: u32,
    },
    /// A set of pooled buffers that no ring can have.
    InvalidBuffers {
        /// How many buffers were asked for.
        count: u32,
        /// Their size in bytes.
        size: u32,
    },
    /// Anything else that the kernel said.
    Other {
        /// What was being done.
        action: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled { setting } => write!(
                f,
                "io_uring is switched off for this process: the sysctl kernel.io_uring_disabled is {setting}; \
                 set it to 0{} (sysctl -w kernel.io_uring_disabled=0)",
                if *setting == 1 { ", or add this user to the group in kernel.io_uring_group" } else { "" }
            ),
            Self::Blocked { call } => write!(
                f,
                "a seccomp filter refuses {call}, as containers do by default; allow io_uring_setup, io_uring_enter \
                 and io_uring_register in its profile (docker and podman: --security-opt seccomp=PROFILE.json)"
            ),
            Self::Denied { call } => write!(
                f,
                "a security module (SELinux, AppArmor or the like) refuses {call}; allow io_uring to this process in \
                 its policy"
            ),
            Self::Unavailable { kernel } => write!(
                f,
                "this system (Linux {kernel}) has no io_uring: the kernel was built without CONFIG_IO_URING, or the \
                 container or sandbox hides it; run on Linux 6.1 or newer, and allow io_uring_setup, io_uring_enter \
                 and io_uring_register in the sandbox"
            ),
            Self::TooOld { kernel } => write!(
                f,
                "Linux {kernel} is too old: single-issuer rings with deferred task work need Linux 6.1 or newer"
            ),
            Self::LockedMemory { limit: Some(limit), needed, entries } => write!(
                f,
                "cannot create an io_uring: RLIMIT_MEMLOCK is {} KiB for all rings of this user, this ring needs {} \
                 KiB; raise it (ulimit -l, LimitMEMLOCK= in systemd) or lower Builder::entries (now {entries})",
                limit / 1024,
                needed.div_ceil(1024)
            ),
            Self::LockedMemory { limit: None, needed, entries } => write!(
                f,
                "cannot create an io_uring: the kernel has no {} KiB of memory for it; lower Builder::entries (now \
                 {entries}) or give the process more memory",
                needed.div_ceil(1024)
            ),
            Self::Descriptors { limit } => {
                write!(f, "cannot create an io_uring: no file descriptor is free")?;
                if let Some(limit) = limit {
                    write!(f, " (RLIMIT_NOFILE is {limit})")?;
                }
                write!(f, "; raise the limit (ulimit -n) or close descriptors")
            }
            Self::AlreadyRunning => f.write_str(
                "a runtime lives on this thread already: await the future or spawn it, or use another thread",
            ),
            Self::InvalidEntries { entries } => write!(
                f,
                "a ring cannot have {entries} entries: Builder::entries takes a number between 1 and 32768, and \
                 Builder::cq_entries one between that and 65536"
            ),
            Self::InvalidBuffers { count, size } => write!(
                f,
                "cannot pool {count} buffers of {size} bytes: Builder::buffers takes a power of two up to 32768 of \
                 them, each of 1 byte to 16 MiB"
            ),
            Self::Other { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Other { source, .. } => Some(source),
            Self::Disabled { .. }
            | Self::Blocked { .. }
            | Self::Denied { .. }
            | Self::Unavailable { .. }
            | Self::TooOld { .. }
            | Self::LockedMemory { .. }
            | Self::Descriptors { .. }
            | Self::AlreadyRunning
            | Self::InvalidEntries { .. }
            | Self::InvalidBuffers { .. } => None,
        }
    }
}

impl From<SetupError> for io::Error {
    fn from(error: SetupError) -> Self {
        let kind = match &error {
            SetupError::Disabled { .. } | SetupError::Blocked { .. } | SetupError::Denied { .. } => {
                io::ErrorKind::PermissionDenied
            }
            SetupError::Unavailable { .. } | SetupError::TooOld { .. } => io::ErrorKind::Unsupported,
            SetupError::LockedMemory { .. } => io::ErrorKind::OutOfMemory,
            SetupError::InvalidEntries { .. } | SetupError::InvalidBuffers { .. } => io::ErrorKind::InvalidInput,
            SetupError::Other { source, .. } => source.kind(),
            SetupError::Descriptors { .. } | SetupError::AlreadyRunning => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
