//! What the runtime asks of the operating system by plain calls: one thin, checked wrapper each.

pub(crate) mod clock;
pub(crate) mod credentials;
pub(crate) mod current;
pub(crate) mod enter;
pub(crate) mod event;
pub(crate) mod interrupt;
pub(crate) mod limits;
pub(crate) mod mmap;
pub(crate) mod random;
pub(crate) mod signal;
pub(crate) mod socket_option;
pub(crate) mod subject;
pub(crate) mod thread;
pub(crate) mod wake;
