//! A client and its server, joined.
//!
//! Invariant: a tunnel that ends otherwise than by both sides' ends breaks both connections off. What was cut short, by a
//! reset, a time-out or the end of the proxy, never looks as if it were whole.

use corering::io;
use corering::net::{self, TcpStream};
use corering::time::Duration;

use crate::log::Line;

pub(crate) struct Tunnel {
    client: TcpStream,
    server: TcpStream,
    line: Line,
    is_whole: bool,
}

impl Tunnel {
    pub(crate) fn new(client: TcpStream, server: TcpStream, mut line: Line) -> Self {
        line.ended = "given up".to_owned();
        Self { client, server, line, is_whole: false }
    }

    pub(crate) async fn carry(mut self, idle: Duration) {
        let Self { client, server, line, .. } = &mut self;
        let mut proxy = Carried { proxy: net::proxy(client, server).idle_timeout(idle), line };
        let ended: io::Result<_> = (&mut proxy.proxy).await;
        drop(proxy);
        self.is_whole = ended.is_ok();
        self.line.ended = match ended {
            Ok(_) => "ended".to_owned(),
            Err(error) => error.to_string(),
        };
    }
}

/// Tells the log how much was carried, also if it is dropped.
struct Carried<'a> {
    proxy: net::Proxy<'a>,
    line: &'a mut Line,
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        (self.line.there, self.line.back) = self.proxy.sent();
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.is_whole {
            // Closed so, the other side gets a reset. If it cannot be set, the connection is broken already.
            drop((self.client.set_linger(Some(Duration::ZERO)), self.server.set_linger(Some(Duration::ZERO))));
        }
    }
}
