//! Options of sockets. Few change anything here (sizes of buffers, reuse of addresses, lingering, IPv6 alone,
//! broadcasts); the others are remembered and read back.

use std::collections::BTreeMap;

use super::{Kind, Network, Socket, SocketId};
use crate::sim::{Answer, Errno};
use crate::sys::socket_option::SocketOption;

pub(super) struct Options {
    pub(super) reuse_address: bool,
    pub(super) reuse_port: bool,
    pub(super) only_ipv6: bool,
    pub(super) broadcast: bool,
    pub(super) send_buffer: usize,
    pub(super) receive_buffer: usize,
    /// For how many seconds a close may linger; below 0 it does not.
    pub(super) linger: i32,
    remembered: BTreeMap<SocketOption, i32>,
}

const SEND_BUFFER: usize = 64 << 10;
const RECEIVE_BUFFER: usize = 128 << 10;
/// What Linux makes of values below and above (twice that is read back; net.core.rmem_max is a common default).
const LEAST_SEND_BUFFER: usize = 2304;
const LEAST_RECEIVE_BUFFER: usize = 1152;
const LARGEST_BUFFER: usize = 4 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            reuse_address: false,
            reuse_port: false,
            only_ipv6: false,
            broadcast: false,
            send_buffer: SEND_BUFFER,
            receive_buffer: RECEIVE_BUFFER,
            linger: -1,
            remembered: BTreeMap::new(),
        }
    }
}

impl Options {
    /// What a connection gets from the listener that took it.
    pub(super) fn inherited(&self) -> Self {
        Self { remembered: self.remembered.clone(), ..*self }
    }

    fn get(&self, option: SocketOption) -> i32 {
        match option {
            SocketOption::Linger => self.linger,
            SocketOption::ReuseAddress => self.reuse_address.into(),
            SocketOption::ReusePort => self.reuse_port.into(),
            SocketOption::OnlyV6 => self.only_ipv6.into(),
            SocketOption::Broadcast => self.broadcast.into(),
            SocketOption::SendBuffer => 2 * self.send_buffer as i32,
            SocketOption::ReceiveBuffer => 2 * self.receive_buffer as i32,
            SocketOption::Ttl => self.remembered.get(&option).copied().unwrap_or(64),
            SocketOption::KeepIdle => self.remembered.get(&option).copied().unwrap_or(7200),
            SocketOption::KeepInterval => self.remembered.get(&option).copied().unwrap_or(75),
            SocketOption::KeepCount => self.remembered.get(&option).copied().unwrap_or(9),
            SocketOption::HopsV6 => self.remembered.get(&option).copied().unwrap_or(64),
            SocketOption::IncomingCpu => self.remembered.get(&option).copied().unwrap_or(-1),
            SocketOption::QuickAck
            | SocketOption::MulticastTtl
            | SocketOption::MulticastLoop
            | SocketOption::MulticastHopsV6
            | SocketOption::MulticastLoopV6 => self.remembered.get(&option).copied().unwrap_or(1),
            SocketOption::NoDelay
            | SocketOption::KeepAlive
            | SocketOption::FastOpen
            | SocketOption::FastOpenConnect
            | SocketOption::UserTimeout
            | SocketOption::PassCredentials
            | SocketOption::Gro
            | SocketOption::SegmentBytes => self.remembered.get(&option).copied().unwrap_or(0),
        }
    }

    fn set(&mut self, option: SocketOption, value: i32) {
        let size = |least| usize::try_from(value).unwrap_or(0).clamp(least, LARGEST_BUFFER);
        match option {
            SocketOption::Linger => self.linger = value.max(-1),
            SocketOption::ReuseAddress => self.reuse_address = value != 0,
            SocketOption::ReusePort => self.reuse_port = value != 0,
            SocketOption::OnlyV6 => self.only_ipv6 = value != 0,
            SocketOption::Broadcast => self.broadcast = value != 0,
            SocketOption::SendBuffer => self.send_buffer = size(LEAST_SEND_BUFFER),
            SocketOption::ReceiveBuffer => self.receive_buffer = size(LEAST_RECEIVE_BUFFER),
            SocketOption::NoDelay | SocketOption::KeepAlive => {
                self.remembered.insert(option, (value != 0).into());
            }
            SocketOption::Ttl
            | SocketOption::KeepIdle
            | SocketOption::KeepInterval
            | SocketOption::KeepCount
            | SocketOption::QuickAck
            | SocketOption::FastOpen
            | SocketOption::FastOpenConnect
            | SocketOption::UserTimeout
            | SocketOption::IncomingCpu
            | SocketOption::HopsV6
            | SocketOption::MulticastTtl
            | SocketOption::MulticastLoop
            | SocketOption::MulticastHopsV6
            | SocketOption::MulticastLoopV6
            | SocketOption::PassCredentials
            | SocketOption::Gro
            | SocketOption::SegmentBytes => {
                self.remembered.insert(option, value);
            }
        }
    }
}

/// Whether a socket of that kind has it: what belongs to TCP or to IPv6 only theirs have.
fn has_option(socket: &Socket, option: SocketOption) -> bool {
    match option {
        SocketOption::OnlyV6 => socket.ipv6,
        SocketOption::NoDelay
        | SocketOption::KeepIdle
        | SocketOption::KeepInterval
        | SocketOption::KeepCount
        | SocketOption::QuickAck
        | SocketOption::FastOpen
        | SocketOption::FastOpenConnect
        | SocketOption::UserTimeout => socket.kind == Kind::Stream,
        // Nothing here would act on them.
        SocketOption::PassCredentials | SocketOption::Gro | SocketOption::SegmentBytes => false,
        SocketOption::HopsV6 | SocketOption::MulticastHopsV6 | SocketOption::MulticastLoopV6 => socket.ipv6,
        _ => true,
    }
}

impl Network {
    pub(crate) fn set_option(&mut self, id: SocketId, option: SocketOption, value: i32) -> Answer<()> {
        let socket = self.sockets.open_mut(id)?;
        if !has_option(socket, option) {
            return Err(Errno(libc::ENOPROTOOPT));
        }
        let bad = match option {
            SocketOption::OnlyV6 => socket.local.is_some(),
            SocketOption::Ttl => !(1..=255).contains(&value),
            _ => false,
        };
        if bad {
            return Err(Errno(libc::EINVAL));
        }
        socket.options.set(option, value);
        if matches!(option, SocketOption::SendBuffer | SocketOption::ReceiveBuffer) {
            self.note(id);
            self.fill_window_of_peer(id);
            self.settle();
        }
        Ok(())
    }

    pub(crate) fn option(&self, id: SocketId, option: SocketOption) -> Answer<i32> {
        let socket = self.sockets.open(id)?;
        if !has_option(socket, option) {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        Ok(socket.options.get(option))
    }

    /// `SO_ERROR`: told once.
    pub(crate) fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        let error = self.sockets.open_mut(id).ok()?.error.take();
        if error.is_some() {
            self.note(id);
        }
        error
    }
}
