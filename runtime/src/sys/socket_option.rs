//! The settings of sockets that the runtime knows.

/// A setting of a socket. Its value is the `int` of `setsockopt(2)`: 0 and 1 where it is off or on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SocketOption {
    /// Small writes are sent at once (`TCP_NODELAY`).
    NoDelay,
    /// The address can be bound while connections that it had are still remembered (`SO_REUSEADDR`).
    ReuseAddress,
    /// Several sockets may be bound to the address (`SO_REUSEPORT`).
    ReusePort,
    /// A quiet connection is probed from time to time (`SO_KEEPALIVE`).
    KeepAlive,
    /// How many bytes may wait to be sent (`SO_SNDBUF`). The kernel doubles what is set.
    SendBuffer,
    /// How many bytes may wait to be received (`SO_RCVBUF`). The kernel doubles what is set.
    ReceiveBuffer,
    /// For how many seconds a close waits for what is unsent, which is then thrown away; 0 resets the connection, and
    /// -1 does none of that (`SO_LINGER`).
    Linger,
    /// Datagrams may go to a broadcast address (`SO_BROADCAST`).
    Broadcast,
    /// How many routers a packet of IPv4 may pass (`IP_TTL`).
    Ttl,
    /// A socket of IPv6 keeps away from IPv4 (`IPV6_V6ONLY`).
    OnlyV6,
}
