//! A client of an API: `api-client [URL] [--orders N] [--at-once N] [--attempts N] [--deadline SECONDS]`.
//!
//! It posts orders as JSON, as a program does that must not lose one nor have it carried out twice:
//!
//! - one session, which keeps its connections; so many orders at a time;
//! - a deadline for each attempt, and another attempt for what may pass: growing pauses, of which a random part is
//!   left out, so that many clients do not come back at the same moment; or as long as the server says (`Retry-After`);
//! - a key that goes along with each attempt (`Idempotency-Key`), by which the server knows that it has had the order.
//!
//! Without a URL it starts a server of its own, which is slow at times, fails at times, and at times forgets to answer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::net::client::{Error, Session, StatusCode, Uri};
use corering::net::{self, TcpListener};
use corering::sync::Semaphore;
use corering::task::JoinSet;
use corering::time::{Duration, Instant, sleep};
use serde::{Deserialize, Serialize};

/// Posts orders, each until it is accepted, refused, or has failed too often.
#[derive(Parser)]
#[command(name = "api-client", version)]
struct Arguments {
    /// Where orders are posted. If it is left out, a server that is started by this very program.
    url: Option<Uri>,
    /// How many orders there are.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    orders: u32,
    /// How many are posted at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How often an order is tried.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// How many seconds an attempt may take.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    deadline: Duration,
}

/// The first pause between two attempts, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) | None => Err("give a number of seconds above 0".to_owned()),
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
    goods: String,
    count: u32,
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    id: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match corering::run(post_all(arguments)).map_err(io::Error::from).and_then(|result| result) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has gone, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-client: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn post_all(arguments: Arguments) -> io::Result<bool> {
    let mut output = io::stdout();
    let shop = match arguments.url {
        Some(_) => None,
        None => Some(Shop::open().await?),
    };
    let url = match (&arguments.url, &shop) {
        (Some(url), _) => url.to_string(),
        (None, shop) => shop.as_ref().map_or_else(String::new, |shop| shop.url.clone()),
    };
    writeln!(output, "posting {} orders to {url}, {} at once", arguments.orders, arguments.at_once)?;

    let client = Rc::new(Client {
        session: Session::builder().timeout(arguments.deadline).limit_per_host(arguments.at_once.into()).build()?,
        slots: Semaphore::new(arguments.at_once.into()),
        url,
        attempts: arguments.attempts,
        retries: Cell::new(0),
    });
    let start = Instant::now();
    let mut orders = JoinSet::new();
    for number in 0..arguments.orders {
        let client = client.clone();
        orders.spawn(async move { (number, client.post(number).await) });
    }
    let (mut accepted, mut failed) = (0, Vec::new());
    while let Some(done) = orders.join_next().await {
        match done? {
            (_, Ok(Receipt { .. })) => accepted += 1,
            (number, Err(error)) => failed.push((number, error)),
        }
    }
    failed.sort_by_key(|(number, _)| *number);
    for (number, error) in &failed {
        writeln!(output, "  order {number}: {error}")?;
    }
    writeln!(
        output,
        "{accepted} accepted, {} not, {} retries, {} connections, {:.2} s",
        failed.len(),
        client.retries.get(),
        client.session.status().made,
        start.elapsed().as_secs_f64()
    )?;
    client.session.close().await;
    if let Some(shop) = shop {
        writeln!(output, "the server has {} orders, and was asked {} times", shop.orders(), shop.asked.get())?;
    }
    Ok(failed.is_empty())
}

struct Client {
    session: Session,
    slots: Semaphore,
    url: String,
    attempts: u32,
    retries: Cell<u32>,
}

impl Client {
    /// Posts an order until it is known what became of it, or it has failed too often.
    async fn post(&self, number: u32) -> Result<Receipt, Error> {
        let order = Order { number, goods: "apples".to_owned(), count: 1 + number % 9 };
        let mut pause = PAUSE;
        for attempt in 1.. {
            let (error, wanted) = match self.attempt(&order).await {
                Ok(receipt) => return Ok(receipt),
                Err(failed) => failed,
            };
            if attempt == self.attempts || !may_pass(&error) {
                return Err(error);
            }
            self.retries.set(self.retries.get() + 1);
            // At least half of the pause, so that there is one.
            let part = pause.mul_f64(0.5 + 0.5 * f64::from((corering::random() >> 32) as u32) / f64::from(u32::MAX));
            sleep(wanted.unwrap_or(part).min(LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the last attempt returns")
    }

    /// One attempt. If it fails, also when the server wants the next one.
    async fn attempt(&self, order: &Order) -> Result<Receipt, (Error, Option<Duration>)> {
        let plain = |error| (error, None);
        // The pauses are outside of it: nobody waits for another's.
        let _slot = self.slots.acquire().await;
        let request = self.session.post(&self.url).header("idempotency-key", format!("order-{}", order.number));
        let response = request.json(order).send().await.map_err(plain)?;
        let wanted =
            response.header("retry-after").and_then(|text| Duration::try_from_secs_f64(text.parse().ok()?).ok());
        let mut response = response.error_for_status().map_err(|error| (error, wanted))?;
        response.json().await.map_err(plain)
    }
}

/// Whether another attempt may help. The key makes it harmless, also after one that may have arrived.
fn may_pass(error: &Error) -> bool {
    match error.status() {
        Some(status) => status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        None => !matches!(error, Error::Url { .. } | Error::Request(_) | Error::Json { .. }),
    }
}

/// The server of its own.
struct Shop {
    url: String,
    /// By their keys.
    receipts: Rc<RefCell<HashMap<String, u64>>>,
    asked: Rc<Cell<u32>>,
}

impl Shop {
    async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/orders", listener.local_addr()?);
        let shop = Self { url, receipts: Rc::default(), asked: Rc::default() };
        let (receipts, asked) = (shop.receipts.clone(), shop.asked.clone());
        let server = net::serve(listener, async move |mut stream, _peer| {
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.recv().await? {
                bytes.extend_from_slice(&chunk);
                let Some((key, body)) = request(&bytes) else { continue };
                asked.set(asked.get() + 1);
                let answer = answer_to(&key, body, asked.get(), &receipts).await;
                bytes.clear();
                // Nothing, if it has forgotten.
                stream.write_all(answer).await.0?;
            }
            Ok(())
        });
        corering::spawn(server.into_future()).name("the shop");
        Ok(shop)
    }

    fn orders(&self) -> usize {
        self.receipts.borrow().len()
    }
}

/// The key and the body of a request, once it is there to its end. The least of HTTP: the server is not what is shown
/// here.
fn request(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let length: usize = value("content-length:")?.parse().ok()?;
    Some((value("idempotency-key:")?, bytes.get(end..end + length)?))
}

async fn answer_to(key: &str, body: &[u8], asked: u32, receipts: &RefCell<HashMap<String, u64>>) -> String {
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let Ok(order) = serde_json::from_slice::<Order>(body) else {
        return answer("422 Unprocessable Content", "", "no order");
    };
    match asked % 23 {
        3 => return answer("503 Service Unavailable", "", "come back later"),
        11 => return answer("429 Too Many Requests", "Retry-After: 0.02\r\n", "not so fast"),
        17 => sleep(Duration::from_millis(20)).await,
        _ => {}
    }
    let next = receipts.borrow().len() as u64 + 1;
    let id = *receipts.borrow_mut().entry(key.to_owned()).or_insert(next);
    if asked % 97 == 50 {
        // It was accepted, and nobody learns of it.
        return String::new();
    }
    if order.count > 100 {
        return answer("409 Conflict", "", "there are not so many");
    }
    answer("201 Created", "Content-Type: application/json\r\n", &format!("{{\"id\": {id}}}"))
}
