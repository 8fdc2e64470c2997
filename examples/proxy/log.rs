//! A line for each connection. None waits for it: if whoever reads them is too slow, lines are left out.

use std::net::SocketAddr;

use corering::JoinHandle;
use corering::sync::Sender;
use corering::time::Instant;

use crate::lines::printed;

pub(crate) struct Log(Sender<String>);

/// What prints the lines.
pub(crate) struct Writer(JoinHandle<()>);

impl Log {
    pub(crate) fn new() -> (Self, Writer) {
        let (sender, writer) = printed();
        (Self(sender), Writer(writer))
    }

    pub(crate) fn line(&self, peer: SocketAddr) -> Line {
        let (target, ended) = ("-".to_owned(), "given up".to_owned());
        Line { log: self.0.clone(), peer, target, there: 0, back: 0, ended, began: Instant::now() }
    }
}

impl Writer {
    /// Waits until all has been printed; when the log itself has gone.
    pub(crate) async fn end(self) {
        // A panic of its has been told.
        drop(self.0.await);
    }
}

/// The line of a connection, which is printed when that has ended.
pub(crate) struct Line {
    log: Sender<String>,
    peer: SocketAddr,
    pub(crate) target: String,
    /// Bytes from the client to the server.
    pub(crate) there: u64,
    pub(crate) back: u64,
    pub(crate) ended: String,
    began: Instant,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { peer, target, there, back, ended, .. } = self;
        let took = self.began.elapsed();
        // Full, or gone.
        drop(self.log.try_put(format!("{peer} {target} {there} {back} {took:.1?} {ended}\n")));
    }
}
