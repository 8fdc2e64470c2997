//! Lines that a task prints. Nobody waits for it: if whoever reads them is too slow, there is no room for more.

use corering::io::{self, AsyncWrite};
use corering::sync::{Receiver, Sender, channel};
use corering::{JoinHandle, spawn};

/// So many may wait to be printed.
const LINES: usize = 4096;

/// Where to put them, and what prints them: it ends when all have been printed and nobody can put more.
pub(crate) fn printed() -> (Sender<String>, JoinHandle<()>) {
    let (sender, receiver) = channel(LINES);
    (sender, spawn(print(receiver)).name("the log"))
}

async fn print(lines: Receiver<String>) {
    let mut output = io::stdout();
    while let Ok(line) = lines.get().await {
        let mut text = line.into_inner();
        while let Ok(more) = lines.try_get() {
            text += &*more;
        }
        if output.write_all(text).await.0.is_err() {
            // Nobody reads: from now on, there is no log.
            return;
        }
    }
}
