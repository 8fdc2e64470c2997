//! tokio-postgres, without its feature `runtime`: it reads and writes a `PollStream`, and its connection is a task of the
//! core. Nothing of tokio runs, and nothing has to be `Send`.

use corering::io;
use corering::net::{PollStream, StreamSocket, TcpStream, UnixStream};
use corering::time::{Duration, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Client, Config, NoTls};

/// How long a server has for giving a query up before it is told again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long it has in all, before it counts as gone.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A database, by the first host of its configuration.
#[derive(Clone, Debug)]
pub struct Database {
    config: Config,
}

impl Database {
    /// By what libpq calls a connection string: `host=/run/postgresql user=app dbname=shop`, or a URL.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn new(configuration: &str) -> io::Result<Self> {
        let config = configuration.parse().map_err(io::Error::other)?;
        Ok(Self { config })
    }

    /// A client. Its connection is a task of this core, which ends when the client is dropped; what goes wrong on it is
    /// also told by whatever the client was asked.
    ///
    /// # Errors
    ///
    /// Of the connection, and what the server says to it.
    pub async fn connect(&self) -> io::Result<Client> {
        match self.place()? {
            Place::Path(path) => self.begin(UnixStream::connect(path).await?).await,
            Place::Name(name, port) => {
                let stream = TcpStream::connect((&*name, port)).await?;
                stream.set_nodelay(true)?;
                self.begin(stream).await
            }
        }
    }

    async fn begin<S: StreamSocket + 'static>(&self, stream: S) -> io::Result<Client> {
        let begun = self.config.connect_raw(PollStream::new(stream), NoTls).await;
        let (client, connection) = begun.map_err(io::Error::other)?;
        drop(corering::spawn(async move {
            // Whoever has asked something is told, and nobody else needs to know.
            drop(connection.await);
        }));
        Ok(client)
    }

    /// Asks the server to give up what the client of `token` is waiting for, which then fails with
    /// `SqlState::QUERY_CANCELED`. It may have ended before.
    ///
    /// # Errors
    ///
    /// Of the connection that this takes.
    pub async fn cancel(&self, token: &CancelToken) -> io::Result<()> {
        let asked = match self.place()? {
            Place::Path(path) => token.cancel_query_raw(PollStream::new(UnixStream::connect(path).await?), NoTls).await,
            Place::Name(name, port) => {
                token.cancel_query_raw(PollStream::new(TcpStream::connect((&*name, port)).await?), NoTls).await
            }
        };
        asked.map_err(io::Error::other)
    }

    /// What a query gives that may take so long at most. If it takes longer, the server gives it up, too, and the client
    /// is free for the next: a query that is only dropped goes on there, and those after it wait.
    ///
    /// # Errors
    ///
    /// What the query says, and `TimedOut`.
    pub async fn within<T>(
        &self,
        limit: Duration,
        client: &Client,
        query: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> io::Result<T> {
        match timeout(limit, query).await {
            Ok(given) => given.map_err(io::Error::other),
            Err(elapsed) => {
                // A server that has not begun with a query does not hear that it should give it up, so it is told until
                // it gets to what comes next; that may be given up as well.
                let give_up = async {
                    loop {
                        self.cancel(&client.cancel_token()).await?;
                        if timeout(AGAIN, client.batch_execute("")).await.is_ok() {
                            return io::Result::Err(elapsed.into());
                        }
                    }
                };
                timeout(GIVE_UP, give_up).await.unwrap_or_else(|_| {
                    let text =
                        "the query took too long, and the server does not say that it has given it up: drop the client";
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                })
            }
        }
    }

    fn place(&self) -> io::Result<Place> {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Unix(folder)) => Ok(Place::Path(folder.join(format!(".s.PGSQL.{port}")))),
            Some(Host::Tcp(name)) => Ok(Place::Name(name.clone(), port)),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the configuration names no host")),
        }
    }
}

enum Place {
    Path(std::path::PathBuf),
    Name(String, u16),
}
