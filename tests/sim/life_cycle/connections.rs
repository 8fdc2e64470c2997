//! Connections: each is handed to one accept, waits for the next, or is closed.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use corering::net::TcpStream;
use corering::op::socket2::{Domain, Type};
use corering::op::{AcceptMulti, Connect, Descriptor, Multishot, Op, Readiness};

use super::Stage;
use super::ways::{Fate, any_way};
use crate::cases::{a_moment, below, poll_and_drop};

/// Accepts by multishots that are dropped, closed and made anew, while others connect in all ways.
pub(super) async fn accept(stage: Stage) {
    let listener = Descriptor::socket(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&stage.host.addr(0).into()).expect("a port");
    listener.listen(64).expect("listening");
    let address = listener.local_addr().expect("an address").as_socket().expect("an address");
    let visitors: Vec<_> = (0..1 + below(6))
        .map(|_| {
            corering::spawn(async move {
                a_moment(400).await;
                let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None).expect("a socket");
                // Nobody may be left who waits for ever, so whoever may be connected does so once more, surely.
                drop(any_way(Op::new(Connect::new(&socket, address.into()))).await);
                drop(socket);
                let mut stream = TcpStream::connect(address).await.expect("somebody listens");
                let ended = stream.recv().await;
                assert!(matches!(ended, Ok(None) | Err(_)), "{ended:?}");
            })
        })
        .collect();
    let mut came = BTreeSet::new();
    let mut accepts = Multishot::new(AcceptMulti::new(&listener));
    while !visitors.iter().all(corering::JoinHandle::is_finished) {
        match below(8) {
            0 => drop(std::mem::replace(&mut accepts, Multishot::new(AcceptMulti::new(&listener)))),
            1 => std::mem::replace(&mut accepts, Multishot::new(AcceptMulti::new(&listener))).close().await,
            2 => {
                // Not awaited: perhaps nobody comes any more.
                let ready = Op::new(Readiness::of(&listener, libc::POLLIN));
                poll_and_drop(ready, below(5)).await;
            }
            _ => {}
        }
        let limit = Duration::from_micros(below(200));
        let Ok(accepted) = corering::timeout(limit, poll_fn(|cx| accepts.poll_next(cx))).await else { continue };
        let accepted = accepted.expect("accepted");
        // Some have gone already.
        if let Ok(peer) = accepted.peer_addr() {
            let port = peer.as_socket().expect("an address").port();
            assert!(came.insert(port), "{port} was accepted twice");
        }
        if let Fate::Ended(ready) = any_way(Op::new(Readiness::of(&accepted, libc::POLLOUT))).await {
            drop(ready);
        }
    }
    for visitor in visitors {
        visitor.await.expect("no panic");
    }
    if below(2) == 0 {
        accepts.close().await;
        listener.close().await.expect("nobody else holds it");
    }
}
