//! What a host's program may end with.

use std::fmt::Debug;

/// What a program of a host may return: nothing, or a `Result`. An error fails the run.
#[diagnostic::on_unimplemented(
    message = "a program of a simulated host ends with nothing or a `Result`, not with `{Self}`",
    label = "return `()`, or a `Result` of it"
)]
pub trait Outcome {
    /// The error, in words; `None` if it has ended well.
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<T: Outcome, E: Debug> Outcome for Result<T, E> {
    fn error(self) -> Option<String> {
        match self {
            Ok(value) => value.error(),
            Err(error) => Some(format!("{error:?}")),
        }
    }
}

impl Outcome for std::convert::Infallible {
    fn error(self) -> Option<String> {
        match self {}
    }
}
