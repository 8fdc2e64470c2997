//! The kernel's own interface: datagrams, connections that are closed at once, and streams.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, IntoRawFd};

use io_uring::types::{Fd, Fixed, RecvMsgOut};
use io_uring::{cqueue, opcode};

use super::raw::{BUFFERS, Buffers, Ring, accept, accept_direct, accepted};
use crate::network::server::add_done;
use crate::network::stream::{self, PART, Position, ROOM};
use crate::workload::Flow;

/// What is in the upper half of the data of a completion: what it is of.
const SEND: u64 = 2 << 32;

/// Bytes that the kernel puts before a datagram, and an address of IPv4.
const HEAD: usize = 16;

/// What one answer points to. It stays where it is.
struct Answer {
    address: libc::sockaddr_in,
    part: libc::iovec,
    message: libc::msghdr,
}

/// One multishot receive into buffers that the kernel picks, each sent from where it is.
pub(crate) fn datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut ring = Ring::new(1024)?;
    let mut buffers = Buffers::new(&ring, BUFFERS, 2048)?;
    let fd = Fd(socket.as_raw_fd());
    // SAFETY: all-zero bytes are a valid, empty message.
    let mut wanted: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
    wanted.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: all-zero bytes are valid in each part.
    let mut answers: Box<[Answer]> = (0..256).map(|_| unsafe { std::mem::zeroed() }).collect();
    let receive = opcode::RecvMsgMulti::new(fd, &raw const *wanted, 0).build();
    // SAFETY: the message is on the heap, and outlives the loop.
    unsafe { ring.push(receive.clone()) };
    loop {
        ring.enter(true)?;
        while let Some((data, result, flags)) = ring.next() {
            if data >= SEND {
                buffers.offer((data & 0xffff) as u16);
                continue;
            }
            if let (Some(id), Ok(count)) = (cqueue::buffer_select(flags), usize::try_from(result)) {
                let datagram = RecvMsgOut::parse(&buffers.of(id)[..count], &wanted)
                    .map_err(|()| io::Error::other("a datagram without its head"))?;
                let answer = &mut answers[usize::from(id)];
                answer.address.sin_family = libc::AF_INET as u16;
                let name = datagram.name_data();
                answer.address.sin_port = u16::from_ne_bytes([name[2], name[3]]);
                answer.address.sin_addr.s_addr = u32::from_ne_bytes([name[4], name[5], name[6], name[7]]);
                let payload = datagram.payload_data();
                answer.part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
                answer.message.msg_name = (&raw mut answer.address).cast();
                answer.message.msg_namelen = HEAD as u32;
                answer.message.msg_iov = &raw mut answer.part;
                answer.message.msg_iovlen = 1;
                let send = opcode::SendMsg::new(fd, &raw const answer.message).build();
                // SAFETY: the answer is on the heap, and used again only with the same buffer, which is offered to the
                //         kernel when the send has ended.
                unsafe { ring.push(send.user_data(SEND | u64::from(id))) };
            }
            if !cqueue::more(flags) {
                // SAFETY: as above.
                unsafe { ring.push(receive.clone()) };
            }
        }
    }
}

/// Accepts, and closes.
pub(crate) fn storm(listener: &TcpListener) -> io::Result<()> {
    storm_by(listener, false)
}

/// The same in the ring's own table.
pub(crate) fn storm_direct(listener: &TcpListener) -> io::Result<()> {
    storm_by(listener, true)
}

fn storm_by(listener: &TcpListener, direct: bool) -> io::Result<()> {
    let mut ring = Ring::new(1024)?;
    let accept = if direct {
        ring.submitter().register_files_sparse(256)?;
        accept_direct(listener)
    } else {
        accept(listener)
    };
    // SAFETY: it points to nothing.
    unsafe { ring.push(accept.clone()) };
    loop {
        ring.enter(true)?;
        while let Some((data, result, flags)) = ring.next() {
            if data == SEND {
                add_done(1);
                continue;
            }
            let close = if direct {
                let place = u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
                opcode::Close::new(Fixed(place))
            } else {
                opcode::Close::new(Fd(accepted(result)?.into_raw_fd()))
            };
            // SAFETY: it points to nothing.
            unsafe { ring.push(close.build().user_data(SEND)) };
            if !cqueue::more(flags) {
                // SAFETY: as above.
                unsafe { ring.push(accept.clone()) };
            }
        }
    }
}

pub(crate) fn stream(listener: &TcpListener, flow: Flow) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut ring = Ring::new(8)?;
    let fd = Fd(stream.as_raw_fd());
    let (mut buffer, mut position) = (vec![0; ROOM], Position::default());
    let content = stream::content();
    loop {
        let entry = match flow {
            Flow::ToServer => opcode::Recv::new(fd, buffer.as_mut_ptr(), ROOM as u32).build(),
            Flow::FromServer => opcode::Send::new(fd, content.as_ptr(), PART as u32)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build(),
        };
        // SAFETY: both buffers live on, and nothing touches them until the completion below.
        unsafe { ring.push(entry) };
        ring.enter(true)?;
        let count = loop {
            match ring.next() {
                Some((_, result, _)) => break usize::try_from(result),
                None => ring.enter(true)?,
            }
        };
        let count = count.map_err(|_| io::Error::other("the stream broke off"))?;
        match flow {
            Flow::ToServer if count == 0 => return Ok(()),
            Flow::ToServer => {
                position.take(&buffer[..count])?;
                add_done(count as u64);
            }
            Flow::FromServer => {}
        }
    }
}

/// A multishot receive into buffers that the kernel picks.
pub(crate) fn receive_multi(listener: &TcpListener) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let mut ring = Ring::new(64)?;
    let mut buffers = Buffers::new(&ring, 16, ROOM)?;
    let mut position = Position::default();
    let receive = opcode::RecvMulti::new(Fd(stream.as_raw_fd()), 0).build();
    // SAFETY: it points to nothing.
    unsafe { ring.push(receive.clone()) };
    loop {
        ring.enter(true)?;
        while let Some((_, result, flags)) = ring.next() {
            match (cqueue::buffer_select(flags), usize::try_from(result)) {
                (Some(id), Ok(count)) => {
                    position.take(&buffers.of(id)[..count])?;
                    add_done(count as u64);
                    buffers.offer(id);
                }
                (None, Ok(0)) => return Ok(()),
                (_, Err(_)) if result == -libc::ENOBUFS => {}
                (_, _) => return Err(io::Error::other(format!("the stream broke off ({result})"))),
            }
            if !cqueue::more(flags) {
                // SAFETY: as above.
                unsafe { ring.push(receive.clone()) };
            }
        }
    }
}
