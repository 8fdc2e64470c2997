//! redis: one connection that all tasks of the core share, over a `PollStream`. It takes its time limits from tokio, unless it
//! has none: so it is given none, and `corering::time::timeout` stands around what is asked.

use corering::net::{PollStream, StreamSocket};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};

/// A client on an open connection, to be cloned for whoever wants one. Its other half is a task of this core, which ends
/// when the last of them is dropped.
///
/// # Errors
///
/// What the server says to it.
pub async fn connect<S: StreamSocket + 'static>(stream: S) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let stream = PollStream::new(stream);
    let begun = MultiplexedConnection::new_with_config(&RedisConnectionInfo::default(), stream, config).await;
    let (connection, driver) = begun?;
    drop(corering::spawn(driver).name("redis"));
    Ok(connection)
}
