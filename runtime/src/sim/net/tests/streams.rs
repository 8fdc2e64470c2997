//! Bytes of streams: once, in order, and no more than there is room for.

use std::collections::VecDeque;

use super::*;

#[test]
fn in_order_what_was_sent_at_once_arrives_at_once() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    assert_eq!(net.put(client, &[7; 50_000]), Ok(Some(50_000)));
    assert_eq!((net.get(server), net.ready(server)), (Ok(None), OUT));
    net.run_for(MS);
    assert_eq!(net.ready(server), IN | OUT);
    assert_eq!(net.get(server), Ok(Some(vec![7; 50_000])));
    assert_eq!((net.get(server), net.ready(server)), (Ok(None), OUT));
}

#[test]
fn peeked_bytes_stay() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    net.put(client, b"hello").unwrap();
    net.run_for(MS);
    let mut room = [0; 3];
    let received = net.receive(server, &mut room, true).unwrap().expect("bytes");
    assert_eq!((received.copied, &room), (3, b"hel"));
    assert_eq!(net.receive(server, &mut room, false).unwrap().map(|received| received.copied), Some(3));
    assert_eq!(net.receive(server, &mut [], false).unwrap().map(|received| received.copied), Some(0));
    assert_eq!(net.get(server), Ok(Some(b"lo".to_vec())));
    assert_eq!(net.receive(server, &mut [], false), Ok(None));
}

#[test]
fn no_more_is_taken_than_both_buffers_hold() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    let mut sent = 0;
    for _ in 0..10 {
        while let Some(bytes) = net.put(client, &[1; 10_000]).unwrap() {
            sent += bytes;
        }
        net.run_for(S);
    }
    assert_eq!(sent, (64 + 128) << 10);
    assert_eq!((net.ready(client), net.next_event_ns()), (0, None));
    let mut got = 0;
    while let Some(bytes) = net.get(server).unwrap() {
        got += bytes.len();
        net.run_for(S);
    }
    assert_eq!(got, sent);
    assert_eq!(net.ready(client), OUT);
}

#[test]
fn who_was_out_of_room_is_ready_again_only_when_a_third_is_free() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    net.set_option(server, SocketOption::ReceiveBuffer, 16 << 10).unwrap();
    while net.put(client, &[1; 4096]).unwrap().is_some() {
        net.run_for(MS);
    }
    net.get(server).unwrap();
    net.run_for(10 * MS);
    assert_eq!(net.ready(client), 0, "a quarter is free");
    net.get(server).unwrap();
    net.run_for(10 * MS);
    assert_eq!(net.ready(client), OUT);
}

#[test]
fn segments_of_what_was_sent_at_once_may_arrive_one_by_one() {
    let mut short = 0;
    for seed in 0..20 {
        let mut net = network(seed);
        net.set_default_link(Link::new());
        let (client, server) = net.connected(A, B);
        net.put(client, &[1; 1000]).unwrap();
        let mut got = 0;
        while let Some(next_ns) = net.next_event_ns() {
            net.advance(next_ns);
            let bytes = net.get(server).unwrap().map_or(0, |bytes| bytes.len());
            short += usize::from(bytes < 1000);
            got += bytes;
        }
        assert_eq!(got, 1000);
    }
    assert!(short > 3, "{short}");
}

#[test]
fn a_lost_segment_holds_up_the_others_until_it_is_sent_again() {
    let mut net = network(3);
    let (client, server) = net.connected(A, B);
    let begin_ns = net.now_ns;
    net.set_link_from(A, B, Link::new().loss(1.0));
    net.put(client, b"lost ").unwrap();
    net.set_link_from(A, B, link(Duration::from_millis(1)));
    net.put(client, b"held up").unwrap();
    net.advance(begin_ns + 199 * MS);
    assert_eq!(net.get(server), Ok(None));
    net.advance(begin_ns + 210 * MS);
    assert_eq!(net.get(server), Ok(Some(b"lost held up".to_vec())));
}

#[test]
fn a_narrow_link_takes_its_time() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    let begin_ns = net.now_ns;
    net.set_default_link(link(Duration::from_millis(1)).bandwidth(1_000_000));
    net.put(client, &[1; 50_000]).unwrap();
    net.advance(begin_ns + 51 * MS - 1);
    assert_eq!(net.get(server), Ok(None));
    net.advance(begin_ns + 51 * MS);
    assert_eq!(net.get(server).unwrap().map(|bytes| bytes.len()), Some(50_000));
}

/// One direction of a conversation, and what is known of it.
struct Flow {
    from: SocketId,
    to: SocketId,
    expected: VecDeque<u8>,
    sent: usize,
    got: usize,
}

impl Flow {
    fn new(from: SocketId, to: SocketId) -> Self {
        Self { from, to, expected: VecDeque::new(), sent: 0, got: 0 }
    }

    fn send(&mut self, net: &mut Network, random: &mut Random, most: u64) {
        let length = random.within(1..=most);
        let bytes: Vec<_> = (0..length).map(|_| random.next() as u8).collect();
        let taken = net.put(self.from, &bytes).expect("a connection").unwrap_or(0);
        self.expected.extend(&bytes[..taken]);
        self.sent += taken;
    }

    fn receive(&mut self, net: &mut Network, random: &mut Random) {
        let mut room = vec![0; random.within(1..=30_000) as usize];
        if let Some(received) = net.receive(self.to, &mut room, false).expect("a connection") {
            let expected: Vec<_> = self.expected.drain(..received.copied).collect();
            assert_eq!(&room[..received.copied], expected);
            self.got += received.copied;
        }
    }
}

/// What two hosts say to each other over bad links, while one disturbs them. Gives what was seen on the way.
fn conversation(seed: u64) -> Vec<(u64, Vec<SocketId>, usize)> {
    let mut random = Random::new(seed);
    let mut net = network(random.next());
    let (client, server) = net.connected(A, B);
    let longest = Duration::from_micros(random.within(0..=5000));
    let link = Link::new().latency(Duration::ZERO..=longest).loss(0.05).reordering(0.1).duplication(0.1);
    net.set_default_link(if random.chance(0.5) { link.bandwidth(10_000_000) } else { link });
    let mut flows = [Flow::new(client, server), Flow::new(server, client)];
    let (mut seen, mut cut_ns) = (Vec::new(), 0);
    for round in 0.. {
        let flow = &mut flows[random.below(2) as usize];
        match random.below(8) {
            0..3 if round < 300 => flow.send(&mut net, &mut random, 20_000),
            3 if round < 300 => flow.send(&mut net, &mut random, 10),
            4..7 => flow.receive(&mut net, &mut random),
            7 if random.chance(0.05) => {
                cut_ns = net.now_ns;
                net.partition(A, B);
            }
            7 => net.heal_all(),
            _ => {}
        }
        let next_ns = net.next_event_ns();
        if random.chance(0.5) {
            net.advance(next_ns.unwrap_or(0).min(net.now_ns + 10 * S));
        }
        if net.now_ns > cut_ns + 20 * S {
            net.heal_all();
        }
        let mut changed = Vec::new();
        net.take_changed(&mut changed);
        seen.push((net.now_ns, changed, flows[0].got + flows[1].got));
        let all = flows.iter().all(|flow| flow.got == flow.sent);
        if round >= 300 && all && next_ns.is_none() {
            break;
        }
        assert!(round < 100_000, "it comes to an end");
    }
    assert!(flows.iter().all(|flow| flow.expected.is_empty() && flow.sent > 0));
    seen
}

#[test]
fn whatever_the_links_do_each_byte_arrives_once_and_in_order() {
    for seed in 0..100 {
        conversation(seed);
    }
}

#[test]
fn the_same_seed_makes_the_same_happen_at_the_same_times() {
    for seed in 0..10 {
        assert!(conversation(seed) == conversation(seed), "seed {seed}");
    }
    assert!(conversation(1) != conversation(2));
}
