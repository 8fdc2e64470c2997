//! Datagrams.

use super::*;

fn numbered(net: &mut Network, to: SocketId) -> Vec<u8> {
    std::iter::from_fn(|| net.get(to).expect("no error").map(|bytes| bytes[0])).collect()
}

fn send_numbered(net: &mut Network, from: SocketId, to: SocketAddr, count: u8) {
    for number in 0..count {
        assert_eq!(net.send(from, &[number], Some(to), net.now_ns), Ok(Some(1)));
    }
}

#[test]
fn a_datagram_arrives_whole_and_says_who_sent_it() {
    let mut net = in_order();
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    net.send(a, b"hello", Some(at(B, 2)), 0).unwrap();
    net.send(a, b"", Some(at(B, 2)), 0).unwrap();
    assert_eq!((net.get(b), net.ready(b)), (Ok(None), OUT));
    net.run_for(MS);
    assert_eq!(net.ready(b), IN | OUT);
    let mut room = [0; 2];
    for peek in [true, false] {
        let received = net.receive(b, &mut room, peek).unwrap();
        assert_eq!(received, Some(Received { copied: 2, length: 5, from: Some(at(A, 1).into()) }));
        assert_eq!(&room, b"he");
    }
    let empty = net.receive(b, &mut room, false).unwrap();
    assert_eq!(empty, Some(Received { copied: 0, length: 0, from: Some(at(A, 1).into()) }));
    assert_eq!(net.get(b), Ok(None));
}

#[test]
fn within_a_host_a_datagram_is_there_at_once() {
    let mut net = in_order();
    let (a, b) = (net.socket(A, Kind::Datagram, false), net.datagrams(A, 2));
    net.send(a, b"hello", Some(at(A, 2)), 0).unwrap();
    assert_eq!(net.get(b), Ok(Some(b"hello".to_vec())));
}

#[test]
fn a_lost_datagram_never_arrives() {
    let mut net = network(1);
    net.set_default_link(Link::new().loss(0.5));
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    send_numbered(&mut net, a, at(B, 2), 200);
    net.run_for(1000 * S);
    let arrived = numbered(&mut net, b).len();
    assert!((70..130).contains(&arrived), "{arrived}");
}

#[test]
fn datagrams_may_arrive_twice() {
    let mut net = network(1);
    net.set_default_link(Link::new().duplication(0.5));
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    send_numbered(&mut net, a, at(B, 2), 200);
    net.run_for(S);
    let mut arrived = numbered(&mut net, b);
    assert!((270..330).contains(&arrived.len()), "{}", arrived.len());
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived.len(), 200);
}

#[test]
fn datagrams_may_be_overtaken_but_not_in_order() {
    for (in_order, reordering, overtaken) in [(true, 1.0, false), (false, 0.0, false), (false, 0.2, true)] {
        let mut net = network(1);
        net.set_in_order(in_order);
        net.set_default_link(link(Duration::from_millis(1)).reordering(reordering));
        let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
        send_numbered(&mut net, a, at(B, 2), 100);
        net.run_for(S);
        let arrived = numbered(&mut net, b);
        assert_eq!((arrived.len(), !arrived.is_sorted()), (100, overtaken));
    }
}

#[test]
fn jitter_alone_lets_datagrams_overtake_each_other() {
    let mut net = network(1);
    net.set_default_link(Link::new());
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    send_numbered(&mut net, a, at(B, 2), 100);
    net.run_for(S);
    assert!(!numbered(&mut net, b).is_sorted());
}

#[test]
fn what_does_not_fit_into_the_receive_buffer_is_dropped() {
    let mut net = in_order();
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    net.set_option(b, SocketOption::ReceiveBuffer, 2000).unwrap();
    for length in [1000, 900, 101, 100, 0] {
        net.send(a, &vec![1; length], Some(at(B, 2)), 0).unwrap();
    }
    net.run_for(MS);
    let lengths: Vec<_> = std::iter::from_fn(|| net.get(b).unwrap()).map(|bytes| bytes.len()).collect();
    assert_eq!(lengths, [1000, 900, 100]);
    net.send(a, b"room again", Some(at(B, 2)), MS).unwrap();
    net.run_for(MS);
    assert!(net.get(b).unwrap().is_some());
}

#[test]
fn a_connected_socket_hears_only_its_peer() {
    let mut net = in_order();
    let (a, b, c) = (net.datagrams(A, 1), net.datagrams(B, 2), net.datagrams(C, 3));
    assert_eq!(refused(net.put(b, b"whereto?")), libc::EDESTADDRREQ);
    assert_eq!(net.connect(b, at(A, 1), 0), Ok(true));
    assert_eq!((net.connect_result(b), net.peer_addr(b)), (Some(Ok(())), Ok(at(A, 1))));
    net.send(a, b"peer", Some(at(B, 2)), 0).unwrap();
    net.send(c, b"stranger", Some(at(B, 2)), 0).unwrap();
    net.put(b, b"to the peer").unwrap();
    net.run_for(MS);
    assert_eq!(net.get(b), Ok(Some(b"peer".to_vec())));
    assert_eq!(net.get(b), Ok(None));
    assert_eq!(net.get(a), Ok(Some(b"to the peer".to_vec())));
}

#[test]
fn who_is_connected_is_told_once_that_nobody_is_there() {
    let mut net = in_order();
    let a = net.datagrams(A, 1);
    net.send(a, b"x", Some(at(B, 2)), 0).unwrap();
    net.run_for(S);
    assert_eq!((net.get(a), net.ready(a)), (Ok(None), OUT), "only who is connected is told");
    net.connect(a, at(B, 2), S).unwrap();
    assert_eq!(net.put(a, b"x"), Ok(Some(1)));
    net.run_for(2 * MS);
    assert_eq!(net.ready(a), OUT | ERR);
    assert_eq!(refused(net.put(a, b"x")), libc::ECONNREFUSED);
    assert_eq!(net.put(a, b"x"), Ok(Some(1)));
    net.run_for(2 * MS);
    assert_eq!(refused(net.get(a)), libc::ECONNREFUSED);
    assert_eq!(net.get(a), Ok(None));
}

#[test]
fn a_datagram_has_a_largest_size() {
    let mut net = in_order();
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    assert_eq!(refused(net.send(a, &[0; 65508], Some(at(B, 2)), 0)), libc::EMSGSIZE);
    net.send(a, &[0; 65507], Some(at(B, 2)), 0).unwrap();
    net.run_for(MS);
    assert_eq!(net.get(b).unwrap().map(|bytes| bytes.len()), Some(65507));
}

#[test]
fn sockets_that_share_a_port_share_the_senders() {
    let mut net = in_order();
    let sharing = [0; 2].map(|_| {
        let id = net.socket(B, Kind::Datagram, false);
        net.set_option(id, SocketOption::ReusePort, 1).unwrap();
        net.bind(id, at(B, 2)).unwrap();
        id
    });
    for port in 10..20 {
        let from = net.datagrams(A, port);
        send_numbered(&mut net, from, at(B, 2), 3);
    }
    net.run_for(MS);
    assert_eq!(sharing.map(|id| numbered(&mut net, id).len()), [15, 15]);
}

#[test]
fn a_socket_that_is_shut_sees_the_end() {
    let mut net = in_order();
    let a = net.datagrams(A, 1);
    assert_eq!(refused(net.shutdown(a, true, true, 0)), libc::ENOTCONN);
    assert_eq!(net.ready(a), IN | OUT | HUP | RDHUP);
    assert_eq!(net.get(a), Ok(Some(vec![])));
    assert_eq!(refused(net.send(a, b"x", Some(at(B, 2)), 0)), libc::EPIPE);
}

#[test]
fn a_broadcast_has_to_be_allowed() {
    let mut net = in_order();
    let a = net.datagrams(A, 1);
    let all = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_eq!(refused(net.send(a, b"x", Some(all), 0)), libc::EACCES);
}
