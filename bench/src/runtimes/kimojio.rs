//! kimojio, as it comes: it sets up its rings itself, and sleeps when nothing is to be done.

use std::io;
use std::os::fd::OwnedFd;

use ::kimojio::operations::{accept, read, spawn_task, write};
use ::kimojio::{Runtime, configuration::Configuration};

use crate::network::server::{Listening, buffer_bytes};

/// Its calls are on descriptors of any kind.
pub(crate) fn echo(listening: Listening, message: usize) -> io::Result<()> {
    let (listener, is_tcp) = match listening {
        Listening::Tcp(listener) => (OwnedFd::from(listener), true),
        Listening::Unix(listener) => (OwnedFd::from(listener), false),
    };
    let bytes = buffer_bytes(message);
    let mut runtime = Runtime::new(0, Configuration::new());
    let ended = runtime.block_on(async move {
        loop {
            let socket = accept(&listener).await?;
            if is_tcp {
                socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
            }
            spawn_task(async move {
                let mut buffer = vec![0; bytes];
                loop {
                    let count = read(&socket, &mut buffer).await?;
                    if count == 0 {
                        return io::Result::Ok(());
                    }
                    let mut rest = &buffer[..count];
                    while !rest.is_empty() {
                        let sent = write(&socket, rest).await?;
                        rest = &rest[sent..];
                    }
                }
            });
        }
    });
    match ended {
        Some(Ok(result)) => result,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => Ok(()),
    }
}
