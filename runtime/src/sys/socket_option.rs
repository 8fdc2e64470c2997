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
    /// For how many seconds a connection is quiet before it is probed (`TCP_KEEPIDLE`).
    KeepIdle,
    /// How many seconds lie between two probes (`TCP_KEEPINTVL`).
    KeepInterval,
    /// After how many probes without an answer the connection is given up (`TCP_KEEPCNT`).
    KeepCount,
    /// What arrives is acknowledged at once, for now: the kernel decides anew as it goes on (`TCP_QUICKACK`).
    QuickAck,
    /// How many connections that bring data with their first packet may wait to be accepted (`TCP_FASTOPEN`).
    FastOpen,
    /// Connecting waits for the first data, and sends them along (`TCP_FASTOPEN_CONNECT`).
    FastOpenConnect,
    /// For how many milliseconds what was sent may stay without an answer before the connection is given up
    /// (`TCP_USER_TIMEOUT`).
    UserTimeout,
    /// The processor that handles what arrives (`SO_INCOMING_CPU`).
    IncomingCpu,
    /// How many routers a packet of IPv6 may pass (`IPV6_UNICAST_HOPS`).
    HopsV6,
    /// How many routers a packet to a group of IPv4 may pass (`IP_MULTICAST_TTL`).
    MulticastTtl,
    /// Packets to a group of IPv4 come back to this machine, too (`IP_MULTICAST_LOOP`).
    MulticastLoop,
    /// How many routers a packet to a group of IPv6 may pass (`IPV6_MULTICAST_HOPS`).
    MulticastHopsV6,
    /// Packets to a group of IPv6 come back to this machine, too (`IPV6_MULTICAST_LOOP`).
    MulticastLoopV6,
    /// Each message says who sent it (`SO_PASSCRED`).
    PassCredentials,
    /// Datagrams that belong together may be received as one (`UDP_GRO`).
    Gro,
    /// Each message is sent as datagrams of so many bytes; 0 for as it is (`UDP_SEGMENT`).
    SegmentBytes,
}
