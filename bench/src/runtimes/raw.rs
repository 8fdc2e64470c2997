//! The kernel's own interface: a ring, and echo servers on it that do one thing, as fast as we can write them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, Submitter, cqueue, opcode};

use crate::network::server::{Listening, buffer_bytes};
use crate::workload::Echo;

const GETEVENTS: u32 = 1;

/// A ring with the flags that are best on this kernel, and its own way to enter it.
pub(crate) struct Ring {
    io: IoUring,
}

impl Ring {
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let builder = || {
            let mut builder = IoUring::builder();
            builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all()
                .setup_cqsize(entries * 8);
            builder
        };
        let io = builder().setup_no_sqarray().build(entries).or_else(|_| builder().build(entries))?;
        Ok(Self { io })
    }

    /// # Safety
    ///
    /// What `entry` points to stays valid until its completion.
    pub(crate) unsafe fn push(&mut self, entry: Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.io.submission().push(&entry) }.is_ok() {
                return;
            }
            if let Err(error) = self.enter(false) {
                panic!("the kernel refuses the ring: {error}");
            }
        }
    }

    /// Submits, and waits for a completion if asked to. A burst is fetched whole.
    pub(crate) fn enter(&mut self, wait: bool) -> io::Result<()> {
        let wait = wait && self.io.completion().is_empty();
        self.call(wait)?;
        // The flag may stay set with nothing behind it: what brings nothing is the end.
        let mut ready = 0;
        while wait && self.io.submission().taskrun() && self.io.completion().len() > ready {
            ready = self.io.completion().len();
            self.call(false)?;
        }
        Ok(())
    }

    fn call(&mut self, wait: bool) -> io::Result<()> {
        let queued = self.io.submission().len();
        // SAFETY: no pointers are passed, and what was submitted was pushed under the contract of `push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.io.as_raw_fd(),
                queued,
                u32::from(wait),
                GETEVENTS,
                std::ptr::null::<u8>(),
                0,
            )
        };
        match io::Error::last_os_error() {
            error if result < 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn submitter(&self) -> Submitter<'_> {
        self.io.submitter()
    }

    /// The next completion: its data, result and flags.
    pub(crate) fn next(&mut self) -> Option<(u64, i32, u32)> {
        let next = self.io.completion().next();
        next.map(|entry| (entry.user_data(), entry.result(), entry.flags()))
    }
}

/// What is in the upper half of the data of a completion: what it is of.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const KINDS: u64 = 3 << 32;

/// A socket by its number, or by its place in the ring's own table: a direct descriptor.
enum Socket {
    Open(OwnedFd),
    Direct(u32),
}

struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

/// Accepted sockets inherit it.
fn set_nodelay(listener: &Listening) -> io::Result<()> {
    match listener {
        Listening::Tcp(listener) => socket2::SockRef::from(listener).set_tcp_nodelay(true),
        Listening::Unix(_) => Ok(()),
    }
}

pub(super) fn accept(listener: &impl AsRawFd) -> Entry {
    opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT)
}

pub(super) fn accept_direct(listener: &impl AsRawFd) -> Entry {
    opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).allocate_file_index(true).build().user_data(ACCEPT)
}

pub(super) fn accepted(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Receives into the connection's own buffer, then sends from it.
pub(crate) fn echo(listener: &Listening, echo: Echo) -> io::Result<()> {
    let mut ring = Ring::new(1024)?;
    echo_one_by_one(&mut ring, listener, echo, accept(listener), |result| Ok(Socket::Open(accepted(result)?)))
}

/// The same on direct descriptors.
pub(crate) fn echo_direct(listener: &Listening, echo: Echo) -> io::Result<()> {
    let mut ring = Ring::new(1024)?;
    ring.submitter().register_files_sparse(echo.connections as u32 + 64)?;
    echo_one_by_one(&mut ring, listener, echo, accept_direct(listener), |result| {
        u32::try_from(result).map(Socket::Direct).map_err(|_| io::Error::from_raw_os_error(-result))
    })
}

fn echo_one_by_one(
    ring: &mut Ring,
    listener: &Listening,
    echo: Echo,
    accept: Entry,
    accepted: impl Fn(i32) -> io::Result<Socket>,
) -> io::Result<()> {
    let bytes = buffer_bytes(echo.bytes);
    set_nodelay(listener)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    // SAFETY: it points to nothing.
    unsafe { ring.push(accept.clone()) };
    loop {
        ring.enter(true)?;
        while let Some((data, result, flags)) = ring.next() {
            let index = (data & 0xffff_ffff) as usize;
            let kind = data & KINDS;
            if kind == ACCEPT {
                connections.push(Some(Connection { socket: accepted(result)?, buffer: vec![0; bytes] }));
                if !cqueue::more(flags) {
                    // SAFETY: it points to nothing.
                    unsafe { ring.push(accept.clone()) };
                }
                let last = connections.len() - 1;
                receive(ring, &mut connections, last);
            } else if result <= 0 {
                // A direct one stays in the table until the ring ends.
                connections[index] = None;
            } else if kind == RECEIVE {
                send(ring, &connections, index, result as u32);
            } else {
                receive(ring, &mut connections, index);
            }
        }
    }

    fn receive(ring: &mut Ring, connections: &mut [Option<Connection>], index: usize) {
        if let Some(Connection { socket, buffer }) = &mut connections[index] {
            let (start, room) = (buffer.as_mut_ptr(), buffer.len() as u32);
            let entry = match socket {
                Socket::Open(fd) => opcode::Recv::new(Fd(fd.as_raw_fd()), start, room),
                Socket::Direct(place) => opcode::Recv::new(Fixed(*place), start, room),
            };
            // SAFETY: the buffer is on the heap, and given up only when its receive or send has ended.
            unsafe { ring.push(entry.build().user_data(RECEIVE | index as u64)) };
        }
    }

    fn send(ring: &mut Ring, connections: &[Option<Connection>], index: usize, bytes: u32) {
        if let Some(Connection { socket, buffer }) = &connections[index] {
            let entry = match socket {
                Socket::Open(fd) => opcode::Send::new(Fd(fd.as_raw_fd()), buffer.as_ptr(), bytes),
                Socket::Direct(place) => opcode::Send::new(Fixed(*place), buffer.as_ptr(), bytes),
            };
            let entry = entry.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
            // SAFETY: as for the receive.
            unsafe { ring.push(entry.build().user_data(SEND | index as u64)) };
        }
    }
}

/// Buffers that the kernel picks from.
pub(super) struct Buffers {
    memory: Vec<Box<[u8]>>,
    entries: Box<[Page]>,
    count: u16,
    tail: u16,
}

/// The kernel wants the entries aligned to a page.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

/// The most that one page has entries for, of 16 bytes.
pub(super) const BUFFERS: u16 = 256;

impl Buffers {
    /// So many, a power of two, of so many bytes.
    pub(super) fn new(ring: &Ring, count: u16, bytes: usize) -> io::Result<Self> {
        assert!(count <= BUFFERS && count.is_power_of_two(), "{count} buffers");
        let mut buffers = Self {
            memory: (0..count).map(|_| vec![0; bytes].into()).collect(),
            entries: vec![Page([0; 4096])].into(),
            count,
            tail: 0,
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: one page holds as many entries of 16 bytes; it lives as long as the program.
        unsafe { ring.io.submitter().register_buf_ring_with_flags(address, count, 0, 0) }?;
        for id in 0..count {
            buffers.offer(id);
        }
        Ok(buffers)
    }

    pub(super) fn offer(&mut self, id: u16) {
        let memory = &self.memory[usize::from(id)];
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the remainder is below the number of entries.
        let entry = unsafe { base.add(usize::from(self.tail % self.count)) };
        // SAFETY: an entry beyond the tail is ours.
        let entry = unsafe { &mut *entry };
        entry.set_addr(memory.as_ptr() as u64);
        entry.set_len(memory.len() as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first entry of a page-aligned ring.
        let tail = unsafe { BufRingEntry::tail(base) };
        // SAFETY: the tail lies in the reserved field of the first entry.
        let tail = unsafe { std::sync::atomic::AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, std::sync::atomic::Ordering::Release);
    }

    pub(super) fn of(&self, id: u16) -> &[u8] {
        &self.memory[usize::from(id)]
    }
}

/// One multishot receive for each connection, into buffers that the kernel picks.
pub(crate) fn echo_multi(listener: &Listening, echo: Echo) -> io::Result<()> {
    let mut ring = Ring::new(1024)?;
    let mut buffers = Buffers::new(&ring, BUFFERS, buffer_bytes(echo.bytes))?;
    set_nodelay(listener)?;
    let mut connections: Vec<Option<OwnedFd>> = Vec::new();
    // SAFETY: it points to nothing.
    unsafe { ring.push(accept(listener)) };
    loop {
        ring.enter(true)?;
        while let Some((data, result, flags)) = ring.next() {
            let index = (data & 0xffff_ffff) as usize;
            let kind = data & KINDS;
            if kind == ACCEPT {
                connections.push(Some(accepted(result)?));
                if !cqueue::more(flags) {
                    // SAFETY: it points to nothing.
                    unsafe { ring.push(accept(listener)) };
                }
                receive(&mut ring, &connections, connections.len() - 1);
                continue;
            }
            if kind == SEND {
                // The number of the buffer is above that of the connection.
                buffers.offer((data >> 40) as u16);
                continue;
            }
            if result > 0 {
                if let (Some(id), Some(socket)) = (cqueue::buffer_select(flags), &connections[index]) {
                    let bytes = buffers.of(id).as_ptr();
                    let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes, result as u32)
                        .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
                    let data = SEND | u64::from(id) << 40 | index as u64;
                    // SAFETY: the buffer is offered to the kernel again only when the send has ended.
                    unsafe { ring.push(send.build().user_data(data)) };
                }
            }
            if !cqueue::more(flags) {
                if result > 0 || result == -libc::ENOBUFS {
                    receive(&mut ring, &connections, index);
                } else {
                    connections[index] = None;
                }
            }
        }
    }

    fn receive(ring: &mut Ring, connections: &[Option<OwnedFd>], index: usize) {
        if let Some(socket) = &connections[index] {
            let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), 0).build();
            // SAFETY: it points to nothing.
            unsafe { ring.push(entry.user_data(RECEIVE | index as u64)) };
        }
    }
}
