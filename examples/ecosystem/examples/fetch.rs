//! Fetches URLs by reqwest, all at once: a library that calls tokio, on a core with a runtime of tokio around.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use corering::task::buffer_unordered;
use corering::time::{Duration, timeout};
use corering::{Builder, io};

/// How many are under way at a time.
const AT_ONCE: usize = 8;
/// How long each may take.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Builder::new().tokio_context(tokio.handle().clone()).run(fetch())?
}

async fn fetch() -> io::Result<()> {
    let client = reqwest::Client::builder().build().map_err(io::Error::other)?;
    let mut answers = buffer_unordered(
        AT_ONCE,
        std::env::args().skip(1).map(|url| {
            let client = client.clone();
            async move {
                let fetched = timeout(LIMIT, async { client.get(&url).send().await?.bytes().await }).await;
                (url, fetched)
            }
        }),
    );
    let mut failed = 0;
    while let Some((url, fetched)) = answers.next().await {
        match fetched {
            Ok(Ok(bytes)) => println!("{:>10} bytes  {url}", bytes.len()),
            Ok(Err(error)) => {
                failed += 1;
                println!("{error}");
            }
            Err(elapsed) => {
                failed += 1;
                println!("{url}: {elapsed}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} could not be fetched"))) }
}
