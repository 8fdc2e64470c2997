//! Partitions, resets and crashes.

use super::*;

#[test]
fn after_a_partition_a_stream_goes_on_within_a_retransmission() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    net.put(client, b"on the way ").unwrap();
    net.partition(A, B);
    net.put(client, b"held back").unwrap();
    net.run_for(5 * S);
    assert_eq!(net.get(server), Ok(None));
    net.heal(A, B);
    net.run_for(7 * S);
    assert_eq!(net.get(server), Ok(Some(b"on the way held back".to_vec())));
}

#[test]
fn a_partition_loses_datagrams() {
    let mut net = in_order();
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    net.send(a, b"on the way", Some(at(B, 2)), 0).unwrap();
    net.partition(A, B);
    net.send(a, b"too late", Some(at(B, 2)), 0).unwrap();
    net.run_for(S);
    net.heal(A, B);
    net.run_for(S);
    assert_eq!(net.get(b), Ok(None));
}

#[test]
fn a_partition_that_lasts_ends_connections_after_two_minutes() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    let (idle, _) = net.connected(A, B);
    net.partition_all(A);
    let begin_ns = net.now_ns;
    net.put(client, b"lost").unwrap();
    net.close(server, net.now_ns);
    net.advance(begin_ns + 120 * S - 1);
    assert_eq!((net.get(client), net.gone(server)), (Ok(None), false));
    net.advance(begin_ns + 120 * S);
    assert_eq!(refused(net.get(client)), libc::ETIMEDOUT);
    assert_eq!(net.get(client), Ok(Some(vec![])));
    assert!(net.gone(server));
    assert_eq!(net.next_event_ns(), None);
    net.heal_all();
    assert_eq!(net.put(idle, b"nobody noticed"), Ok(Some(14)));
}

#[test]
fn a_cut_stops_one_direction_alone() {
    let mut net = in_order();
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    net.cut(A, B);
    net.send(a, b"x", Some(at(B, 2)), 0).unwrap();
    net.send(b, b"y", Some(at(A, 1)), 0).unwrap();
    net.run_for(MS);
    assert_eq!((net.get(a), net.get(b)), (Ok(Some(b"y".to_vec())), Ok(None)));
}

#[test]
fn who_asks_while_the_answer_cannot_come_back_times_out() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    net.cut(B, A);
    let client = net.begin(A, at(B, 80));
    net.advance(127 * S - 1);
    assert_eq!(net.connect_result(client), None);
    net.advance(127 * S);
    assert_eq!(net.connect_result(client), Some(Err(Errno(libc::ETIMEDOUT))));
    net.run_for(200 * S);
    assert_eq!((net.accept(listener), net.next_event_ns()), (Ok(None), None));
    assert_eq!(net.sockets.iter().count(), 2);
}

#[test]
fn a_request_gets_through_after_a_partition() {
    let mut net = in_order();
    let listener = net.listener(B, 80);
    net.partition(A, B);
    let client = net.begin(A, at(B, 80));
    net.run_for(2 * S);
    net.heal(A, B);
    net.run_for(2 * S);
    assert_eq!(net.connect_result(client), Some(Ok(())));
    assert!(net.accept(listener).unwrap().is_some());
}

#[test]
fn a_reset_ends_connections_between_two_hosts_at_both_ends() {
    let mut net = in_order();
    let ends = net.connected(A, B);
    let spared = net.connected(A, C);
    assert_eq!((net.connections_between(A, B), net.connections_between(A, C)), (1, 1));
    net.put(ends.0, b"on the way").unwrap();
    net.reset(B, A, net.now_ns);
    for id in [ends.0, ends.1] {
        assert_eq!(refused(net.get(id)), libc::ECONNRESET);
        assert_eq!(net.get(id), Ok(Some(vec![])));
    }
    assert_eq!((net.connections_between(A, B), net.connections_between(A, C)), (0, 1));
    assert_eq!(net.next_event_ns(), None);
    net.put(spared.0, b"still there").unwrap();
    net.run_for(S);
    assert_eq!(net.get(spared.1), Ok(Some(b"still there".to_vec())));
}

#[test]
fn a_crash_says_nothing_and_the_host_that_is_up_again_knows_nothing() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    net.crash(B);
    assert_eq!(refused(net.get(server)), libc::EBADF);
    net.run_for(S);
    assert_eq!((net.get(client), net.ready(client)), (Ok(None), OUT));
    net.put(client, b"anyone?").unwrap();
    net.run_for(S);
    assert_eq!(net.get(client), Ok(None));
    net.start(B);
    net.run_for(S);
    assert_eq!(refused(net.get(client)), libc::ECONNRESET);
    assert_eq!(net.next_event_ns(), None);
}

#[test]
fn a_host_that_is_down_answers_nobody() {
    let mut net = in_order();
    net.crash(B);
    let client = net.begin(A, at(B, 80));
    let datagrams = net.datagrams(A, 1);
    net.connect(datagrams, at(B, 2), 0).unwrap();
    net.put(datagrams, b"x").unwrap();
    net.run_for(100 * S);
    assert_eq!((net.connect_result(client), net.get(datagrams)), (None, Ok(None)));
    net.start(B);
    net.run_for(26 * S);
    assert_eq!(net.connect_result(client), None);
    net.run_for(S);
    assert_eq!(net.connect_result(client), Some(Err(Errno(libc::ETIMEDOUT))));
}

#[test]
fn what_is_on_the_way_to_a_host_that_crashes_is_lost_even_if_it_is_up_at_once() {
    let mut net = in_order();
    let (client, _) = net.connected(A, B);
    let a = net.datagrams(A, 1);
    net.send(a, b"x", Some(at(B, 2)), net.now_ns).unwrap();
    net.put(client, b"x").unwrap();
    net.crash(B);
    net.start(B);
    let b = net.datagrams(B, 2);
    net.run_for(100 * MS);
    assert_eq!((net.get(b), net.get(client)), (Ok(None), Ok(None)));
    net.run_for(200 * MS);
    assert_eq!(refused(net.get(client)), libc::ECONNRESET);
}

#[test]
fn what_a_host_had_sent_before_it_crashed_arrives() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    let (a, b) = (net.datagrams(A, 1), net.datagrams(B, 2));
    net.send(a, b"datagram", Some(at(B, 2)), net.now_ns).unwrap();
    net.put(client, b"stream").unwrap();
    net.crash(A);
    net.run_for(10 * MS);
    assert_eq!(net.get(b), Ok(Some(b"datagram".to_vec())));
    assert_eq!(net.get(server), Ok(Some(b"stream".to_vec())));
    assert_eq!((net.get(server), net.gone(client)), (Ok(None), true));
}

#[test]
fn what_a_host_would_have_sent_again_is_lost_with_it() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    net.put(client, b"first ").unwrap();
    net.run_for(MS);
    net.partition(A, B);
    net.put(client, b"lost").unwrap();
    net.heal(A, B);
    net.put(client, b"held up").unwrap();
    net.crash(A);
    net.start(A);
    net.run_for(10 * S);
    assert_eq!(net.get(server), Ok(Some(b"first ".to_vec())));
    assert_eq!((net.get(server), net.next_event_ns(), net.gone(client)), (Ok(None), None, true));
}

#[test]
fn who_waits_for_room_at_a_host_that_crashes_finds_out() {
    let mut net = in_order();
    let (client, _) = net.connected(A, B);
    while net.put(client, &[1; 10_000]).unwrap().is_some() {
        net.run_for(10 * MS);
    }
    assert_eq!(net.next_event_ns(), None);
    net.crash(B);
    net.run_for(121 * S);
    assert_eq!(refused(net.get(client)), libc::ETIMEDOUT);
}

#[test]
fn a_client_that_crashes_while_connecting_does_not_hold_the_backlog() {
    for after_ns in [MS / 2, 3 * MS / 2, 5 * MS / 2] {
        let mut net = in_order();
        let listener = net.listener(B, 80);
        net.begin(A, at(B, 80));
        net.run_for(after_ns);
        net.crash(A);
        net.start(A);
        net.run_for(300 * S);
        while let Some(accepted) = net.accept(listener).unwrap() {
            net.close(accepted, net.now_ns);
            net.run_for(S);
        }
        assert_eq!((net.sockets.iter().count(), net.next_event_ns()), (1, None), "{after_ns}");
    }
}

/// Crashes, resets and cuts at any time leave no socket behind, and no event.
#[test]
fn after_any_faults_nothing_is_left_once_all_is_closed() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut net = network(random.next());
        net.set_default_link(Link::new().loss(0.1).reordering(0.1));
        let mut listeners = [A, B, C].map(|host| net.listener(host, 80));
        let mut open = Vec::new();
        for _ in 0..300 {
            let [a, b] = [0; 2].map(|_| HostId(random.below(3) as u16));
            let now_ns = net.now_ns;
            let some = open.get(random.below(open.len() as u64) as usize).copied();
            match (random.below(11), some) {
                (0 | 1, _) => {
                    let client = net.stream(a);
                    let _ = net.connect(client, at(b, 80), now_ns);
                    open.push(client);
                }
                (2, _) => open.extend(listeners.iter().filter_map(|id| net.accept(*id).ok().flatten())),
                (3 | 4, Some(id)) => drop(net.put(id, &vec![1; random.below(100_000) as usize])),
                (5, Some(id)) => drop(net.get(id)),
                (6, Some(id)) => drop(net.shutdown(id, random.chance(0.5), random.chance(0.5), now_ns)),
                (7, Some(id)) => net.close(id, now_ns),
                (8, _) if random.chance(0.2) => net.reset(a, b, now_ns),
                (8, _) => net.cut(a, b),
                (9, _) => net.heal_all(),
                (10, _) if random.chance(0.1) => {
                    net.crash(a);
                    net.run_for(random.below(10 * MS));
                    net.start(a);
                    listeners[usize::from(a.0)] = net.listener(a, 80);
                }
                _ => net.run_for(random.below(400 * MS)),
            }
        }
        net.heal_all();
        open.extend(listeners);
        for id in open {
            net.close(id, net.now_ns);
        }
        net.run_for(1000 * S);
        assert_eq!((net.sockets.iter().count(), net.next_event_ns()), (0, None), "seed {seed}");
        assert!([A, B, C].iter().all(|host| net.hosts[host].at_port(Kind::Stream, 80).is_empty()));
    }
}
