//! What servers are told on the command line.

use std::time::Duration;

/// A time of some length, in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) | None => Err("give a number of seconds above 0".to_owned()),
    }
}
