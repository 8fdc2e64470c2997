//! A tokio runtime that is entered while the core runs, for libraries that call tokio themselves.
//!
//! Entered in each call that runs tasks or drops them, and left again when it ends: so it is always left in the reverse
//! order, which tokio demands, whatever else the thread has entered around.

/// What is entered; without the feature, nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Around(#[cfg(feature = "tokio-context")] Option<tokio::runtime::Handle>);

#[cfg(feature = "tokio-context")]
impl Around {
    pub(super) fn of(handle: tokio::runtime::Handle) -> Self {
        Self(Some(handle))
    }

    /// Entered for as long as what comes back lives.
    pub(super) fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.0.as_ref().map(tokio::runtime::Handle::enter)
    }
}

#[cfg(not(feature = "tokio-context"))]
impl Around {
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn enter(&self) -> Option<std::convert::Infallible> {
        None
    }
}
