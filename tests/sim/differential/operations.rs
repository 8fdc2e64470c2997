//! Not yet.
use super::Run;
pub(super) async fn program(_run: &mut Run) {}
