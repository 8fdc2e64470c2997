//! Connecting and accepting.

use super::*;

#[test]
fn a_connection_takes_a_round_trip_and_may_be_accepted_half_a_one_later() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    let client = net.begin(A, at(B, 80));
    assert_eq!((net.connect_result(client), net.ready(client)), (None, 0));
    net.advance(2 * MS - 1);
    assert_eq!(net.connect_result(client), None);
    net.advance(2 * MS);
    assert_eq!((net.connect_result(client), net.ready(client)), (Some(Ok(())), OUT));
    assert_eq!((net.accept(listener), net.ready(listener)), (Ok(None), 0));
    net.advance(3 * MS);
    assert_eq!(net.ready(listener), IN);
    let server = net.accept(listener).unwrap().expect("a connection");
    assert_eq!(net.peer_addr(server), net.local_addr(client));
    assert_eq!(net.local_addr(server), Ok(at(B, 80)));
    assert_eq!(net.peer_addr(client), Ok(at(B, 80)));
    assert_eq!(net.next_event_ns(), None, "nothing is left of the handshake");
}

#[test]
fn within_a_host_connecting_is_done_at_once() {
    let mut net = in_order();
    let listener = net.listener(A, 80);
    for to in [local(80), at(A, 80), SocketAddr::from(([0, 0, 0, 0], 80))] {
        let client = net.stream(A);
        assert_eq!(net.connect(client, to, 5), Ok(true));
        let server = net.accept(listener).unwrap().expect("a connection");
        assert_eq!(net.put(client, b"hello"), Ok(Some(5)));
        assert_eq!(net.get(server), Ok(Some(b"hello".to_vec())));
        assert_eq!(net.peer_addr(server), net.local_addr(client));
    }
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn where_nobody_listens_connecting_is_refused_after_a_round_trip() {
    let mut net = in_order();
    let client = net.begin(A, at(B, 80));
    net.advance(2 * MS - 1);
    assert_eq!(net.connect_result(client), None);
    net.advance(2 * MS);
    assert_eq!(net.ready(client), IN | OUT | ERR | HUP | RDHUP);
    assert_eq!(net.connect_result(client), Some(Err(Errno(libc::ECONNREFUSED))));
    assert_eq!(net.ready(client), OUT | HUP, "told once, the socket is as new");
    assert_eq!(net.next_event_ns(), None);
    net.listener(B, 80);
    assert_eq!(net.connect(client, at(B, 80), 2 * MS), Ok(false));
    net.run_for(S);
    assert_eq!(net.connect_result(client), Some(Ok(())));
}

#[test]
fn within_a_host_refusal_is_an_error_of_the_call() {
    let mut net = in_order();
    let client = net.stream(A);
    assert_eq!(refused(net.connect(client, local(80), 0)), libc::ECONNREFUSED);
    assert_eq!(net.ready(client), OUT | HUP);
    assert_eq!(net.local_addr(client), Ok(SocketAddr::from(([0, 0, 0, 0], 0))));
}

#[test]
fn an_address_of_no_host_cannot_be_reached() {
    let mut net = in_order();
    let client = net.stream(A);
    assert_eq!(refused(net.connect(client, SocketAddr::from(([192, 0, 2, 1], 80)), 0)), libc::ENETUNREACH);
    let datagrams = net.datagrams(A, 53);
    let answer = net.send(datagrams, b"x", Some(SocketAddr::from(([192, 0, 2, 1], 80))), 0);
    assert_eq!(refused(answer), libc::ENETUNREACH);
}

#[test]
fn who_is_connected_or_about_to_be_is_told_so() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    let client = net.begin(A, at(B, 80));
    assert_eq!(refused(net.connect(client, at(B, 80), 0)), libc::EALREADY);
    assert_eq!(net.put(client, b"early"), Ok(None));
    assert_eq!(net.get(client), Ok(None));
    net.run_for(S);
    assert_eq!(refused(net.connect(client, at(B, 80), S)), libc::EISCONN);
    assert_eq!(refused(net.connect(listener, at(B, 80), S)), libc::EISCONN);
    assert_eq!(refused(net.listen(client, 1)), libc::EINVAL);
    assert_eq!(refused(net.accept(client)), libc::EINVAL);
}

#[test]
fn a_request_that_nobody_answers_times_out_after_127_seconds() {
    for within_host in [false, true] {
        let mut net = in_order();
        let listener = net.listener(B, 80);
        net.listen(listener, 0).unwrap();
        let from = if within_host { B } else { A };
        let first = net.stream(from);
        net.connect(first, at(B, 80), 0).unwrap();
        net.run_for(S);
        let second = net.begin(from, at(B, 80));
        net.advance(128 * S - 1);
        assert_eq!(net.connect_result(second), None);
        net.advance(128 * S);
        assert_eq!(net.connect_result(second), Some(Err(Errno(libc::ETIMEDOUT))));
        assert_eq!(net.next_event_ns(), None);
    }
}

#[test]
fn one_more_than_the_backlog_may_wait_and_the_next_gets_in_when_one_is_accepted() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    net.listen(listener, 1).unwrap();
    let clients: Vec<_> = (0..3).map(|_| net.begin(A, at(B, 80))).collect();
    net.advance(900 * MS);
    assert_eq!(clients.iter().filter(|id| net.connect_result(**id).is_some()).count(), 2);
    net.accept(listener).unwrap().expect("a connection");
    net.advance(1100 * MS);
    assert_eq!(net.connect_result(clients[2]), Some(Ok(())));
}

#[test]
fn connections_are_accepted_in_the_order_of_their_arrival() {
    let mut net = in_order();
    net.set_link(B, C, link(Duration::from_micros(100)));
    let listener = net.listener(B, 80);
    let far = net.begin(A, at(B, 80));
    let near = net.begin(C, at(B, 80));
    net.run_for(S);
    let accepted = [0, 1].map(|_| net.accept(listener).unwrap().expect("a connection"));
    assert_eq!(accepted.map(|id| net.peer_addr(id)), [near, far].map(|id| net.local_addr(id)));
}

#[test]
fn what_waits_to_be_accepted_is_reset_when_its_listener_closes() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    let complete = net.begin(A, at(B, 80));
    net.run_for(10 * MS);
    let pending = net.begin(A, at(B, 80));
    net.run_for(MS);
    net.close(listener, net.now_ns);
    net.run_for(10 * MS);
    assert_eq!(refused(net.get(complete)), libc::ECONNRESET);
    // Its answer was on the way before the reset, or the reset came first: either way it learns of it.
    assert_eq!(net.ready(pending) & (ERR | HUP), ERR | HUP);
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn a_listener_that_is_shut_for_reading_no_longer_listens() {
    let mut net = in_order();
    let listener = net.listener(A, 80);
    assert_eq!(net.shutdown(listener, true, true, 0), Ok(()));
    assert_eq!(refused(net.accept(listener)), libc::EINVAL);
    assert_eq!(net.ready(listener), OUT | HUP);
    let client = net.stream(A);
    assert_eq!(refused(net.connect(client, local(80), 0)), libc::ECONNREFUSED);
    assert_eq!(net.listen(listener, 1), Ok(()));
    assert_eq!(net.connect(client, local(80), 0), Ok(true));
    let unbound = net.stream(A);
    net.listen(unbound, 1).unwrap();
    net.shutdown(unbound, true, false, 0).unwrap();
    assert_eq!(net.local_addr(unbound).unwrap().port(), 0, "nobody asked for that port");
}

#[test]
fn who_closes_while_connecting_leaves_nothing_behind() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    let client = net.begin(A, at(B, 80));
    net.run_for(MS);
    net.close(client, net.now_ns);
    net.run_for(10 * S);
    assert_eq!(net.accept(listener), Ok(None));
    assert_eq!(net.next_event_ns(), None);
    assert_eq!(net.sockets.iter().count(), 1);
}

#[test]
fn connecting_may_be_given_up_and_tried_again() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    let client = net.begin(A, at(B, 80));
    assert_eq!(net.shutdown(client, true, true, 0), Ok(()));
    assert_eq!(net.connect(client, at(B, 80), 0), Ok(false));
    net.run_for(S);
    assert_eq!(net.connect_result(client), Some(Ok(())));
    assert!(net.accept(listener).unwrap().is_some());
    assert_eq!(net.accept(listener), Ok(None));
}

#[test]
fn a_socket_of_ipv6_that_is_bound_to_all_takes_connections_of_ipv4() {
    let mut net = in_order();
    let listener = net.socket(A, Kind::Stream, true);
    let any6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 80));
    net.bind(listener, any6).unwrap();
    net.listen(listener, 1).unwrap();
    let client = net.stream(A);
    assert_eq!(net.connect(client, local(80), 0), Ok(true));
    let server = net.accept(listener).unwrap().expect("a connection");
    assert_eq!(net.local_addr(server).unwrap().to_string(), "[::ffff:127.0.0.1]:80");
    net.close(listener, 0);
    let alone = net.socket(A, Kind::Stream, true);
    net.set_option(alone, SocketOption::OnlyIpv6, 1).unwrap();
    net.bind(alone, any6).unwrap();
    net.listen(alone, 1).unwrap();
    let client = net.stream(A);
    assert_eq!(refused(net.connect(client, local(80), 0)), libc::ECONNREFUSED);
    let client = net.socket(A, Kind::Stream, true);
    assert_eq!(net.connect(client, SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 80)), 0), Ok(true));
}

#[test]
fn a_refusal_of_an_earlier_attempt_does_not_end_the_next() {
    let mut net = in_order();
    net.listener(B, 80);
    let client = net.begin(A, at(B, 79));
    net.run_for(MS);
    net.shutdown(client, true, true, net.now_ns).unwrap();
    assert_eq!(net.connect(client, at(B, 80), net.now_ns), Ok(false));
    net.run_for(10 * MS);
    assert_eq!(net.connect_result(client), Some(Ok(())));
}
