//! redis with a redis-server, and with our own server of its protocol.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use corering::io;
use corering::net::{TcpStream, UnixStream};
use corering::time::timeout;
use corering_ecosystem::redis::connect;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use crate::common::{Killed, clean, example, program, until};

/// What both servers know.
async fn converse(mut connection: MultiplexedConnection) -> io::Result<()> {
    let other = io::Error::other::<redis::RedisError>;
    let () = connection.set("greeting", "hello").await.map_err(other)?;
    assert_eq!(connection.get::<_, String>("greeting").await.map_err(other)?, "hello");
    assert_eq!(connection.get::<_, Option<String>>("nothing").await.map_err(other)?, None);

    // All tasks share one connection, and each gets what it asked for.
    let tasks: Vec<_> = (0..200_u32)
        .map(|number| {
            let mut connection = connection.clone();
            corering::spawn(async move {
                let () = connection.set(format!("key {number}"), number).await?;
                let _: u32 = connection.incr("count", 1).await?;
                connection.get::<_, u32>(format!("key {number}")).await
            })
        })
        .collect();
    for (number, task) in (0..).zip(tasks) {
        assert_eq!(task.await?.map_err(other)?, number);
    }
    assert_eq!(connection.get::<_, u32>("count").await.map_err(other)?, 200);

    let both: (u32, String) =
        redis::pipe().incr("count", 5).get("greeting").query_async(&mut connection).await.map_err(other)?;
    assert_eq!(both, (205, "hello".to_owned()));
    let large = vec![b'x'; 1 << 20];
    let () = connection.set("large", &large).await.map_err(other)?;
    assert!(connection.get::<_, Vec<u8>>("large").await.map_err(other)? == large);

    // Those that are given up do not get in the way of others.
    for number in 0..100_u32 {
        let mut dropped = connection.clone();
        drop(timeout(Duration::ZERO, dropped.get::<_, Vec<u8>>("large")).await);
        assert_eq!(connection.get::<_, u32>(format!("key {number}")).await.map_err(other)?, number);
    }
    Ok(())
}

#[test]
fn redis_is_spoken_to_through_one_connection_by_all_tasks() {
    let Some(server) = program("redis-server") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let mut command = Command::new(server);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Killed(command.spawn().expect("redis-server runs"));
    until("redis-server listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    clean(async || {
        let connection = connect(UnixStream::connect(&socket).await?).await.map_err(io::Error::other)?;
        converse(connection.clone()).await?;

        // A command that waits for ever takes the time that it is given, and the connection goes on.
        let mut waits = connect(UnixStream::connect(&socket).await?).await.map_err(io::Error::other)?;
        assert!(timeout(Duration::from_millis(20), waits.blpop::<_, ()>("empty", 0.0)).await.is_err());
        let mut connection = connection;
        let () = connection.rpush("empty", "now").await.map_err(io::Error::other)?;
        redis::cmd("PING").query_async::<String>(&mut waits).await.map_err(io::Error::other)?;

        // What the server says of a mistake, and that it has gone.
        let wrong = connection.incr::<_, _, u32>("greeting", 1).await.expect_err("no number");
        assert!(wrong.to_string().contains("not an integer"), "{wrong}");
        drop(redis::cmd("SHUTDOWN").arg("NOSAVE").query_async::<()>(&mut waits).await);
        connection.get::<_, Option<u32>>("count").await.expect_err("the server has ended");
        Ok(())
    });
}

#[test]
fn kv_is_spoken_to_as_redis_is() {
    let Some(mut server) = example("kv") else { return };
    let mut server = Killed(server.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("kv runs"));
    let mut line = String::new();
    // Kept: it says more when it ends.
    let mut lines = BufReader::new(server.0.stdout.take().expect("a pipe"));
    lines.read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ").expect("where it listens").to_owned();
    clean(async || {
        let stream = TcpStream::connect(&*address).await?;
        stream.set_nodelay(true)?;
        converse(connect(stream).await.map_err(io::Error::other)?).await
    });
}
