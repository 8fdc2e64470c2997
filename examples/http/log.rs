//! A line for each request. No request waits for it: if whoever reads them is too slow, lines are left out.

use std::net::SocketAddr;

use corering::JoinHandle;
use corering::sync::Sender;
use corering::time::Instant;
use hyper::{Method, StatusCode, Version};

use crate::lines::printed;

#[derive(Clone)]
pub(crate) struct Log(Option<Sender<String>>);

/// What prints the lines.
pub(crate) struct Writer(Option<JoinHandle<()>>);

impl Log {
    pub(crate) fn new(is_on: bool) -> (Self, Writer) {
        if !is_on {
            return (Self(None), Writer(None));
        }
        let (sender, writer) = printed();
        (Self(Some(sender)), Writer(Some(writer)))
    }

    pub(crate) fn line(&self, peer: SocketAddr, method: &Method, path: &str, version: Version) -> Option<Line> {
        let log = self.0.clone()?;
        let asked = format!("{peer} {method} {path} {version:?}");
        Some(Line { log, asked, status: None, bytes: 0, began: Instant::now() })
    }
}

impl Writer {
    /// Waits until all has been printed; when the log itself has gone.
    pub(crate) async fn end(self) {
        if let Some(writer) = self.0 {
            // A panic of its has been told.
            drop(writer.await);
        }
    }
}

/// The line of a request, which is printed when that has ended.
pub(crate) struct Line {
    log: Sender<String>,
    asked: String,
    /// None as long as it was not answered.
    pub(crate) status: Option<StatusCode>,
    pub(crate) bytes: u64,
    began: Instant,
}

impl Drop for Line {
    fn drop(&mut self) {
        let status = self.status.map_or("-".to_owned(), |status| status.as_u16().to_string());
        let took = self.began.elapsed();
        let text = format!("{} {status} {} {took:.1?}\n", self.asked, self.bytes);
        // Full, or gone.
        drop(self.log.try_put(text));
    }
}
