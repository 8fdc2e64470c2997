//! tokio-postgres with a PostgreSQL of its own.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use corering::io;
use corering_ecosystem::postgres::Database;
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::common::{Killed, clean, program, said, skip, until};

/// A server in a folder of its own, reached by a socket in it. It refuses to be run by root.
pub(crate) struct Server {
    /// Before the folder.
    server: Option<Killed>,
    folder: TempDir,
    end: Command,
}

impl Server {
    /// The one that tests of this moment share.
    pub(crate) fn get() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        // One test that failed here is enough.
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    fn start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("corering-postgres").tempdir().expect("a folder");
        let owner = if folder.path().metadata().expect("there").uid() == 0 { Some(postgres_user()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        let command = |program: PathBuf| {
            let mut command = Command::new(program);
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command.current_dir("/").stdin(Stdio::null());
            command
        };
        let data = folder.path().join("data");
        let mut made = command(program("initdb")?);
        made.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let made = made.output().expect("initdb runs");
        assert!(made.status.success(), "{made:?}");

        let log = folder.path().join("log");
        let mut server = command(program("postgres")?);
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=20"]);
        let lines = File::create(&log).expect("a file");
        let mut end = command(program("pg_ctl")?);
        end.arg("-D").arg(&data).args(["stop", "-m", "immediate"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = server.stdout(Stdio::null()).stderr(lines).spawn().expect("postgres runs");
        let server = Self { server: Some(Killed(server)), folder, end };
        until("postgres is ready", || said(&log).contains("database system is ready to accept connections"));
        Some(server)
    }

    pub(crate) fn configuration(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.path().display())
    }

    fn database(&self) -> Database {
        Database::new(&self.configuration()).expect("a configuration")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends its own processes; killed, it would leave them to find out.
        drop(self.end.status());
        drop(self.server.take());
    }
}

/// The user that Debian's package has made for it, and its group.
fn postgres_user() -> Option<(u32, u32)> {
    let users = said("/etc/passwd".as_ref());
    let user = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    if user.is_none() {
        skip("there is no user postgres, and root may not run it");
    }
    user
}

fn other(error: tokio_postgres::Error) -> io::Error {
    io::Error::other(error)
}

#[test]
fn queries_are_answered_in_order_also_many_at_a_time() {
    let Some(server) = Server::get() else { return };
    let database = server.database();
    clean(async || {
        let client = database.connect().await?;
        let row = client.query_one("SELECT $1::TEXT || ' there', 40 + 2", &[&"hello"]).await.map_err(other)?;
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("hello there", 42));

        let prepared = client.prepare("SELECT $1::INT * 2").await.map_err(other)?;
        let asked = (0..500_i32).map(|number| {
            let (client, prepared) = (&client, &prepared);
            async move { client.query_one(prepared, &[&number]).await.map(|row| row.get::<_, i32>(0)) }
        });
        let doubled = futures_util::future::try_join_all(asked).await.map_err(other)?;
        assert!(doubled.into_iter().eq((0..500).map(|number| number * 2)));

        let wrong = client.query("SELECT nonsense", &[]).await.expect_err("no such column");
        assert_eq!(wrong.code(), Some(&SqlState::UNDEFINED_COLUMN));
        let large: String = client.query_one("SELECT repeat('x', 3000000)", &[]).await.map_err(other)?.get(0);
        assert_eq!(large.len(), 3_000_000);
        Ok(())
    });
}

#[test]
fn a_transaction_that_is_dropped_has_changed_nothing() {
    let Some(server) = Server::get() else { return };
    let database = server.database();
    clean(async || {
        let mut client = database.connect().await?;
        client.batch_execute("CREATE TEMPORARY TABLE stock (item TEXT, number INT)").await.map_err(other)?;
        for commit in [true, false] {
            let transaction = client.transaction().await.map_err(other)?;
            let insert = "INSERT INTO stock VALUES ('apples', $1)";
            assert_eq!(transaction.execute(insert, &[&i32::from(commit)]).await.map_err(other)?, 1);
            if commit {
                transaction.commit().await.map_err(other)?;
            }
        }
        let rows = client.query("SELECT number FROM stock", &[]).await.map_err(other)?;
        assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1]);
        Ok(())
    });
}

#[test]
fn rows_are_copied_in_and_out() {
    let Some(server) = Server::get() else { return };
    let database = server.database();
    clean(async || {
        let client = database.connect().await?;
        client.batch_execute("CREATE TEMPORARY TABLE numbers (number INT, name TEXT)").await.map_err(other)?;
        let mut sink = pin!(client.copy_in("COPY numbers FROM STDIN").await.map_err(other)?);
        const ROWS: u32 = 50_000;
        for block in 0..ROWS / 1000 {
            let rows: String = (block * 1000..(block + 1) * 1000).map(|row| format!("{row}\tnumber {row}\n")).collect();
            sink.send(Bytes::from(rows)).await.map_err(other)?;
        }
        assert_eq!(sink.finish().await.map_err(other)?, u64::from(ROWS));

        let out = client.copy_out("COPY (SELECT * FROM numbers ORDER BY number) TO STDOUT").await.map_err(other)?;
        let mut out = pin!(out);
        let mut text = Vec::new();
        while let Some(part) = out.try_next().await.map_err(other)? {
            text.extend_from_slice(&part);
        }
        let expected: String = (0..ROWS).map(|row| format!("{row}\tnumber {row}\n")).collect();
        assert!(text == expected.as_bytes(), "{} bytes came back", text.len());

        // One that is given up in the middle: what is left of it is read over, and the next is answered.
        let out = client.copy_out("COPY (SELECT * FROM numbers ORDER BY number) TO STDOUT").await.map_err(other)?;
        assert!(Box::pin(out).next().await.is_some());
        assert_eq!(client.query_one("SELECT 1", &[]).await.map_err(other)?.get::<_, i32>(0), 1);
        Ok(())
    });
}

#[test]
fn a_query_that_is_given_up_leaves_the_connection_of_use() {
    let Some(server) = Server::get() else { return };
    let database = server.database();
    clean(async || {
        let client = database.connect().await?;
        // Dropped at any moment of its life: those after it get what is theirs.
        for number in 0..200_i32 {
            {
                // Gone before the next is asked: kept and not polled, it would hold up the connection.
                let mut asked = pin!(client.query_one("SELECT $1::INT", &[&-1_i32]));
                for _ in 0..number % 8 {
                    if futures_util::poll!(asked.as_mut()).is_ready() {
                        break;
                    }
                    corering::task::yield_now().await;
                }
            }
            let row = client.query_one("SELECT $1::INT", &[&number]).await.map_err(other)?;
            assert_eq!(row.get::<_, i32>(0), number);
        }

        // One that takes too long: the server is told, so that the next does not wait for it.
        let slow = client.query_one("SELECT pg_sleep(3600)", &[]);
        let late = database.within(Duration::from_millis(30), &client, slow).await.expect_err("too slow");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(client.query_one("SELECT 7", &[]).await.map_err(other)?.get::<_, i32>(0), 7);

        // And one that is cancelled by another client, while it is waited for.
        let (token, asked) = (client.cancel_token(), client.batch_execute("SELECT pg_sleep(3600)"));
        let ended = corering::spawn({
            let database = database.clone();
            async move {
                let watcher = database.connect().await?;
                let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)' AND \
                                state = 'active'";
                while watcher.query_one(sleeping, &[]).await.map_err(other)?.get::<_, i64>(0) == 0 {}
                database.cancel(&token).await
            }
        });
        assert_eq!(asked.await.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
        ended.await??;
        assert_eq!(client.query_one("SELECT 8", &[]).await.map_err(other)?.get::<_, i32>(0), 8);
        Ok(())
    });
}

#[test]
fn a_server_that_is_gone_is_told_to_whoever_asks() {
    let Some(server) = Server::get() else { return };
    let database = server.database();
    clean(async || {
        let (client, other_client) = (database.connect().await?, database.connect().await?);
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.map_err(other)?.get(0);
        let parameters: [&(dyn ToSql + Sync); 1] = [&backend];
        let (ended, waited) = corering::join!(
            other_client.query_one("SELECT pg_terminate_backend($1)", &parameters),
            client.query("SELECT pg_sleep(3600)", &[]),
        );
        ended.map_err(other)?;
        waited.expect_err("its server has ended");
        assert!(client.query("SELECT 1", &[]).await.expect_err("closed").is_closed());
        Ok(())
    });
}
