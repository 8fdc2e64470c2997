//! Asks a PostgreSQL: `query "host=/run/postgresql user=postgres" "SELECT now()" ...`. All questions go out at once, and
//! are answered in their order.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use corering::io;
use corering::time::Duration;
use corering_ecosystem::postgres::Database;
use futures_util::future::try_join_all;
use tokio_postgres::SimpleQueryMessage;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(30);

#[corering::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(configuration) = arguments.next() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: query CONFIGURATION QUERY..."));
    };
    let queries: Vec<_> = arguments.collect();
    let database = Database::new(&configuration)?;
    let client = database.connect().await?;
    let all = try_join_all(queries.iter().map(|query| client.simple_query(query)));
    for messages in database.within(LIMIT, &client, all).await? {
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let fields = (0..row.len()).map(|field| row.get(field).unwrap_or("NULL"));
                println!("{}", fields.collect::<Vec<_>>().join("\t"));
            }
        }
    }
    Ok(())
}
