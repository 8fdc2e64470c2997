//! A tokio program that has the ring for its files: it serves their lengths and digests by tokio's TCP, and a core on the
//! same thread reads them. Asked by itself, to be seen at work.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::path::PathBuf;

use corering::{Builder, fs, io};
use corering_ecosystem::within_tokio;
use tokio::sync::{mpsc, oneshot};

/// What the tokio side asks of the core.
struct Question {
    path: PathBuf,
    answer: oneshot::Sender<io::Result<u64>>,
}

fn main() -> io::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtime = Builder::new().embedded(true).build()?;
    let (ask, mut questions) = mpsc::channel::<Question>(64);
    let answering = within_tokio::run(&runtime, async move {
        while let Some(Question { path, answer }) = questions.recv().await {
            drop(corering::spawn(async move {
                let bytes = fs::read(path).await.map(|bytes| bytes.len() as u64);
                // If nobody waits for it any more, it is dropped.
                drop(answer.send(bytes));
            }));
        }
    });
    let asking = async {
        let asked = std::env::args_os().skip(1).map(PathBuf::from).map(async |path| {
            let (answer, answered) = oneshot::channel();
            let question = Question { path: path.clone(), answer };
            ask.send(question).await.map_err(|_| io::Error::other("the core has ended"))?;
            let bytes = answered.await.map_err(io::Error::other)??;
            println!("{bytes:>12} {}", path.display());
            io::Result::Ok(bytes)
        });
        let lengths = futures_util::future::try_join_all(asked).await;
        drop(ask);
        lengths
    };
    let (answered, lengths) = tokio.block_on(futures_util::future::join(answering, asking));
    answered?;
    println!("{:>12} in all", lengths?.into_iter().sum::<u64>());
    Ok(())
}
