//! The settings that TCP sockets share, whether they are yet to be connected, are, or listen.

/// Keeping a quiet connection alive, or finding out that it is dead: see
/// [`TcpStream::set_keepalive`](crate::TcpStream::set_keepalive).
///
/// What is not set stays as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    pub(crate) idle: Option<std::time::Duration>,
    pub(crate) interval: Option<std::time::Duration>,
    pub(crate) count: Option<u32>,
}

impl Keepalive {
    /// As the system has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first probe is sent when nothing has come for so long (whole seconds, at least one).
    pub fn idle(mut self, idle: std::time::Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// So long after a probe, the next one is sent (whole seconds, at least one).
    pub fn interval(mut self, interval: std::time::Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// After so many probes without an answer, the connection is given up.
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Sets it.
    pub(crate) fn apply(self, socket: &corering_runtime::op::Descriptor) -> std::io::Result<()> {
        use corering_runtime::op::SocketOption;
        let seconds = |time: std::time::Duration| i32::try_from(time.as_secs().max(1)).unwrap_or(i32::MAX);
        socket.set_option(SocketOption::KeepAlive, 1)?;
        let settings = [
            (SocketOption::KeepIdle, self.idle.map(seconds)),
            (SocketOption::KeepInterval, self.interval.map(seconds)),
            (SocketOption::KeepCount, self.count.map(crate::connection::size)),
        ];
        for (option, value) in settings {
            if let Some(value) = value {
                socket.set_option(option, value)?;
            }
        }
        Ok(())
    }
}

/// Getters and setters of a type that has the method `socket`.
macro_rules! tcp_options {
    ($socket:ident) => {
        impl $socket {
            /// Sends small writes at once (`TCP_NODELAY`).
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
                self.socket().set_option(SocketOption::NoDelay, on.into())
            }

            /// Whether small writes are sent at once.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn nodelay(&self) -> io::Result<bool> {
                Ok(self.socket().option(SocketOption::NoDelay)? != 0)
            }

            /// Has the kernel look from time to time whether the other side is still there, or not (`SO_KEEPALIVE` and
            /// its like). A connection of a listener has this from it.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_keepalive(&self, keepalive: Option<crate::Keepalive>) -> io::Result<()> {
                match keepalive {
                    Some(keepalive) => keepalive.apply(self.socket()),
                    None => self.socket().set_option(SocketOption::KeepAlive, 0),
                }
            }

            /// Whether it does.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn keepalive(&self) -> io::Result<bool> {
                Ok(self.socket().option(SocketOption::KeepAlive)? != 0)
            }

            /// For how long (whole seconds) a close waits for what is unsent, which is then thrown away; with 0 a close
            /// resets the connection (`SO_LINGER`).
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_linger(&self, wait: Option<std::time::Duration>) -> io::Result<()> {
                let seconds = wait.map_or(-1, |wait| i32::try_from(wait.as_secs()).unwrap_or(i32::MAX));
                self.socket().set_option(SocketOption::Linger, seconds)
            }

            /// For how long it does; `None` if it does not wait, and what is unsent is sent in the background.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn linger(&self) -> io::Result<Option<std::time::Duration>> {
                let seconds = self.socket().option(SocketOption::Linger)?;
                Ok(u64::try_from(seconds).ok().map(std::time::Duration::from_secs))
            }

            /// Acknowledges at once what arrives, for now: the kernel decides anew as it goes on (`TCP_QUICKACK`).
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_quickack(&self, on: bool) -> io::Result<()> {
                self.socket().set_option(SocketOption::QuickAck, on.into())
            }

            /// Whether it does at the moment.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn quickack(&self) -> io::Result<bool> {
                Ok(self.socket().option(SocketOption::QuickAck)? != 0)
            }

            /// How many routers a packet may pass (`IP_TTL`, or `IPV6_UNICAST_HOPS` of a socket of IPv6).
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
                let option = crate::options::ttl_of(self.socket())?;
                self.socket().set_option(option, crate::connection::size(ttl))
            }

            /// How many it may.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn ttl(&self) -> io::Result<u32> {
                let option = crate::options::ttl_of(self.socket())?;
                self.socket().option(option).map(|ttl| ttl as u32)
            }

            /// For how long (whole milliseconds) what was sent may stay without an answer before the connection is
            /// given up; `None` as the system has it (`TCP_USER_TIMEOUT`).
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_user_timeout(&self, wait: Option<std::time::Duration>) -> io::Result<()> {
                let ms = wait.map_or(0, |wait| i32::try_from(wait.as_millis().max(1)).unwrap_or(i32::MAX));
                self.socket().set_option(SocketOption::UserTimeout, ms)
            }

            /// For how long it may.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn user_timeout(&self) -> io::Result<Option<std::time::Duration>> {
                let ms = u64::try_from(self.socket().option(SocketOption::UserTimeout)?).unwrap_or(0);
                Ok((ms > 0).then(|| std::time::Duration::from_millis(ms)))
            }

            /// The name of the algorithm that controls its congestion, such as `cubic` (`TCP_CONGESTION`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn congestion(&self) -> io::Result<String> {
                self.socket().congestion().map(|name| String::from_utf8_lossy(&name).into_owned())
            }

            /// Has another algorithm control its congestion.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says: that the kernel has none of that name, or that it is not allowed.
            pub fn set_congestion(&self, algorithm: &str) -> io::Result<()> {
                self.socket().set_congestion(algorithm.as_bytes())
            }

            /// The processor that has handled what arrived last (`SO_INCOMING_CPU`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn incoming_cpu(&self) -> io::Result<Option<usize>> {
                self.socket().option(SocketOption::IncomingCpu).map(|cpu| usize::try_from(cpu).ok())
            }
        }
    };
}

pub(crate) use tcp_options;

/// What its family calls how many routers a packet may pass.
pub(crate) fn ttl_of(socket: &corering_runtime::op::Descriptor) -> std::io::Result<corering_runtime::op::SocketOption> {
    use corering_runtime::op::SocketOption;
    Ok(if socket.local_addr()?.is_ipv6() { SocketOption::HopsV6 } else { SocketOption::Ttl })
}
