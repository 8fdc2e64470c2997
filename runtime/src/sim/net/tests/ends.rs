//! How connections end.

use super::*;

#[test]
fn what_was_sent_before_closing_arrives_and_then_the_end() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.put(client, b"bye").unwrap();
    net.close(client, net.now_ns);
    assert_eq!(refused(net.get(client)), libc::EBADF);
    net.run_for(10 * MS);
    assert_eq!(net.ready(server), IN | OUT | RDHUP);
    assert_eq!(net.get(server), Ok(Some(b"bye".to_vec())));
    assert_eq!((net.get(server), net.get(server)), (Ok(Some(vec![])), Ok(Some(vec![]))));
    assert!(net.gone(client));
    net.close(server, net.now_ns);
    net.run_for(10 * MS);
    assert!(net.gone(server));
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn who_has_closed_still_sends_what_the_other_end_had_no_room_for() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    let mut sent = 0;
    while let Some(bytes) = net.put(client, &[1; 10_000]).unwrap() {
        sent += bytes;
        net.run_for(10 * MS);
    }
    net.close(client, net.now_ns);
    net.run_for(300 * S);
    let mut got = 0;
    loop {
        match net.get(server).unwrap() {
            Some(bytes) if bytes.is_empty() => break,
            Some(bytes) => got += bytes.len(),
            None => {}
        }
        net.run_for(10 * MS);
    }
    assert_eq!(got, sent);
    assert!(net.gone(client));
}

#[test]
fn a_half_that_is_shut_lets_the_other_go_on() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.put(client, b"question").unwrap();
    assert_eq!(net.shutdown(client, false, true, net.now_ns), Ok(()));
    assert_eq!(refused(net.put(client, b"more")), libc::EPIPE);
    net.run_for(10 * MS);
    assert_eq!(net.get(server), Ok(Some(b"question".to_vec())));
    assert_eq!(net.get(server), Ok(Some(vec![])));
    assert_eq!(net.put(server, b"answer"), Ok(Some(6)));
    net.run_for(10 * MS);
    assert_eq!(net.get(client), Ok(Some(b"answer".to_vec())));
    assert_eq!(net.peer_addr(client), Ok(at(B, 700)));
    assert_eq!(net.shutdown(server, false, true, net.now_ns), Ok(()));
    net.run_for(10 * MS);
    for end in [client, server] {
        assert_eq!(net.ready(end), IN | OUT | HUP | RDHUP);
        assert_eq!(refused(net.peer_addr(end)), libc::ENOTCONN);
        assert_eq!(refused(net.shutdown(end, true, true, net.now_ns)), libc::ENOTCONN);
        assert_eq!(net.get(end), Ok(Some(vec![])));
        net.close(end, net.now_ns);
        assert!(net.gone(end));
    }
}

#[test]
fn who_is_done_reading_sees_the_end_but_what_arrives_may_be_read() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.shutdown(client, true, false, net.now_ns).unwrap();
    assert_eq!((net.get(client), net.ready(client)), (Ok(Some(vec![])), IN | OUT | RDHUP));
    net.put(server, b"late").unwrap();
    net.run_for(MS);
    assert_eq!(net.get(client), Ok(Some(b"late".to_vec())));
}

#[test]
fn both_may_close_at_once() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.close(client, net.now_ns);
    net.close(server, net.now_ns);
    net.run_for(10 * MS);
    assert!(net.gone(client) && net.gone(server));
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn closing_with_something_unread_resets() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.put(client, b"unread").unwrap();
    net.run_for(10 * MS);
    net.close(server, net.now_ns);
    net.run_for(MS);
    assert_eq!(net.ready(client), IN | OUT | ERR | HUP | RDHUP);
    assert_eq!(refused(net.get(client)), libc::ECONNRESET);
    assert_eq!(net.get(client), Ok(Some(vec![])), "told once");
    assert_eq!(refused(net.put(client, b"x")), libc::EPIPE);
    assert_eq!(net.ready(client), IN | OUT | HUP | RDHUP);
}

#[test]
fn closing_without_lingering_resets_and_what_has_arrived_may_be_read() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.set_linger(server, Some(Duration::ZERO)).unwrap();
    net.put(server, b"last words").unwrap();
    net.run_for(MS);
    net.close(server, net.now_ns);
    net.run_for(MS);
    assert_eq!(net.get(client), Ok(Some(b"last words".to_vec())));
    assert_eq!(net.take_error(client), Some(Errno(libc::ECONNRESET)));
    assert_eq!(net.take_error(client), None);
    assert_eq!(net.get(client), Ok(Some(vec![])));
}

#[test]
fn the_first_bytes_to_one_who_has_closed_are_taken_and_the_next_are_not() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.close(server, net.now_ns);
    net.run_for(10 * MS);
    assert_eq!(net.put(client, b"x"), Ok(Some(1)));
    net.run_for(2 * MS);
    assert_eq!(refused(net.put(client, b"x")), libc::EPIPE);
    assert_eq!(net.get(client), Ok(Some(vec![])));
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn bytes_that_cross_the_end_on_their_way_reset_it() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.put(client, b"crossing").unwrap();
    net.close(server, net.now_ns);
    net.run_for(10 * MS);
    assert_eq!(refused(net.put(client, b"x")), libc::EPIPE, "the end came before the reset");
    assert_eq!(net.get(client), Ok(Some(vec![])));
    net.close(client, net.now_ns);
    assert!(net.gone(client) && net.gone(server));
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn bytes_to_one_who_is_done_in_both_directions_reset_the_connection() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.shutdown(server, true, true, net.now_ns).unwrap();
    net.run_for(10 * MS);
    assert_eq!(net.put(client, b"x"), Ok(Some(1)));
    net.run_for(10 * MS);
    assert_eq!((net.take_error(server), net.get(server)), (Some(Errno(libc::ECONNRESET)), Ok(Some(vec![]))));
    assert_eq!(refused(net.put(client, b"x")), libc::EPIPE);
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn what_was_in_flight_when_its_sender_reset_the_connection_arrives_before_that() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.set_linger(server, Some(Duration::ZERO)).unwrap();
    net.put(server, b"last words").unwrap();
    net.close(server, net.now_ns);
    net.run_for(10 * MS);
    assert_eq!(net.get(client), Ok(Some(b"last words".to_vec())));
    assert_eq!(refused(net.get(client)), libc::ECONNRESET);
    assert!(net.gone(server));
}

#[test]
fn a_socket_that_was_never_connected_is_told_so() {
    let mut net = in_order();
    let id = net.stream(A);
    assert_eq!(net.ready(id), OUT | HUP);
    assert_eq!(refused(net.put(id, b"x")), libc::EPIPE);
    assert_eq!(refused(net.get(id)), libc::ENOTCONN);
    assert_eq!(refused(net.peer_addr(id)), libc::ENOTCONN);
    assert_eq!(refused(net.shutdown(id, true, true, 0)), libc::ENOTCONN);
    assert_eq!((net.get(id), net.ready(id)), (Ok(Some(vec![])), IN | OUT | HUP | RDHUP));
}

#[test]
fn sockets_that_change_are_told_of_once() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    let mut changed = Vec::new();
    net.take_changed(&mut changed);
    changed.clear();
    net.put(client, b"one").unwrap();
    net.put(client, b"two").unwrap();
    net.take_changed(&mut changed);
    assert_eq!(changed, []);
    net.run_for(MS);
    net.take_changed(&mut changed);
    assert_eq!(changed, [server, client]);
}

#[test]
fn to_say_goodbye_to_one_who_has_closed_is_no_error() {
    let mut net = in_order();
    let (client, server) = net.pair(A, B);
    net.close(client, net.now_ns);
    net.run_for(10 * MS);
    assert_eq!(net.shutdown(server, false, true, net.now_ns), Ok(()));
    net.run_for(10 * MS);
    assert_eq!((net.take_error(server), net.ready(server)), (None, IN | OUT | HUP | RDHUP));
}
