//! Addresses and ports.

use super::*;

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

#[test]
fn port_0_is_the_next_free_one() {
    let mut net = in_order();
    let ports: Vec<_> = (0..3)
        .map(|_| {
            let id = net.stream(A);
            net.bind(id, any(0)).unwrap();
            net.local_addr(id).unwrap().port()
        })
        .collect();
    assert_eq!(ports, [49152, 49153, 49154]);
}

#[test]
fn a_port_is_bound_once_on_each_host() {
    let mut net = in_order();
    net.listener(A, 80);
    let second = net.stream(A);
    assert_eq!(refused(net.bind(second, any(80))), libc::EADDRINUSE);
    assert_eq!(refused(net.bind(second, local(80))), libc::EADDRINUSE);
    assert_eq!(net.bind(second, any(81)), Ok(()));
    assert_eq!(refused(net.bind(second, any(82))), libc::EINVAL);
    net.listener(B, 80);
    net.datagrams(A, 80);
}

#[test]
fn different_addresses_may_have_the_same_port() {
    let mut net = in_order();
    let [first, second] = [local(80), at(A, 80)].map(|address| {
        let id = net.stream(A);
        net.bind(id, address).unwrap();
        net.listen(id, 1).unwrap();
        id
    });
    let client = net.stream(A);
    net.connect(client, at(A, 80), 0).unwrap();
    assert!(net.accept(first).unwrap().is_none() && net.accept(second).unwrap().is_some());
}

#[test]
fn an_address_of_another_host_cannot_be_bound() {
    let mut net = in_order();
    let id = net.stream(A);
    assert_eq!(refused(net.bind(id, at(B, 80))), libc::EADDRNOTAVAIL);
    assert_eq!(refused(net.bind(id, "[::1]:80".parse().unwrap())), libc::EAFNOSUPPORT);
}

#[test]
fn reused_addresses_may_be_bound_twice_but_one_listens() {
    let mut net = in_order();
    let [first, second, third] = [0; 3].map(|_| {
        let id = net.stream(A);
        net.set_option(id, SocketOption::ReuseAddress, 1).unwrap();
        id
    });
    assert_eq!((net.bind(first, any(80)), net.bind(second, any(80))), (Ok(()), Ok(())));
    net.listen(first, 1).unwrap();
    assert_eq!(refused(net.listen(second, 1)), libc::EADDRINUSE);
    assert_eq!(refused(net.bind(third, any(80))), libc::EADDRINUSE);
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let mut net = in_order();
    let listeners = [0; 4].map(|_| {
        let id = net.stream(B);
        net.set_option(id, SocketOption::ReusePort, 1).unwrap();
        net.bind(id, any(80)).unwrap();
        net.listen(id, 100).unwrap();
        id
    });
    for _ in 0..40 {
        net.begin(A, at(B, 80));
    }
    net.run_for(S);
    for listener in listeners {
        let accepted = std::iter::from_fn(|| net.accept(listener).unwrap());
        assert_eq!(accepted.count(), 10);
    }
}

#[test]
fn a_port_is_free_again_when_its_socket_is_closed() {
    let mut net = in_order();
    let (client, server) = net.connected(A, B);
    let listener = net.listener(B, 80);
    net.close(listener, net.now_ns);
    net.listener(B, 80);
    net.listener(B, 700);
    assert_eq!(net.put(client, b"still there"), Ok(Some(11)));
    net.run_for(S);
    assert_eq!(net.get(server), Ok(Some(b"still there".to_vec())));
}

#[test]
fn when_all_ports_are_taken_there_is_none_to_be_had() {
    let mut net = in_order();
    for _ in 49152..=65535 {
        let id = net.stream(A);
        net.bind(id, any(0)).unwrap();
    }
    let id = net.stream(A);
    assert_eq!(refused(net.bind(id, any(0))), libc::EADDRINUSE);
    assert_eq!(refused(net.connect(id, at(B, 80), 0)), libc::EADDRNOTAVAIL);
}

#[test]
fn a_stale_id_finds_nothing() {
    let mut net = in_order();
    let old = net.stream(A);
    net.close(old, 0);
    let new = net.stream(A);
    assert_eq!(refused(net.bind(old, any(80))), libc::EBADF);
    net.close(old, 0);
    assert_eq!(net.ready(old), libc::POLLNVAL as u32);
    assert_eq!(net.bind(new, any(80)), Ok(()));
}

#[test]
fn options_are_remembered_and_sizes_are_read_back_doubled() {
    let mut net = in_order();
    let id = net.stream(A);
    for option in [SocketOption::NoDelay, SocketOption::KeepAlive, SocketOption::ReuseAddress] {
        assert_eq!(net.option(id, option), Ok(0));
        net.set_option(id, option, 1).unwrap();
        assert_eq!(net.option(id, option), Ok(1));
    }
    net.set_option(id, SocketOption::SendBuffer, 10_000).unwrap();
    assert_eq!(net.option(id, SocketOption::SendBuffer), Ok(20_000));
    net.set_option(id, SocketOption::ReceiveBuffer, 1).unwrap();
    assert_eq!(net.option(id, SocketOption::ReceiveBuffer), Ok(2304));
    net.set_option(id, SocketOption::Linger, 3).unwrap();
    assert_eq!(net.option(id, SocketOption::Linger), Ok(3));
}
