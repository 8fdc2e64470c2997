//! Submissions as the simulated kernel understands them. What it does not know it names, and takes nothing of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use io_uring::opcode;
use io_uring::squeue::Entry;

use super::memory::{self, Area};
use super::net::Address;

/// What to do it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A number of the host's table.
    Descriptor(i32),
    /// A place in the ring's own table.
    Direct(u32),
}

/// A path, from an open directory if that is not `AT_FDCWD`.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) directory: i32,
    pub(super) path: Vec<u8>,
    /// The `RESOLVE_*` of openat2(2).
    pub(super) resolve: u64,
}

/// What has an attribute.
#[derive(Clone, Debug)]
pub(super) enum Bearer {
    Path(Vec<u8>),
    Open(Target),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Nop { result: i32 },
    Read { target: Target, areas: Vec<Area>, offset: u64, nowait: bool },
    Write { target: Target, areas: Vec<Area>, offset: u64 },
    Sync { target: Target, data_only: bool },
    Truncate { target: Target, bytes: u64 },
    Open { name: Named, flags: i32, mode: u32, into: Option<u32> },
    Close { target: Target },
    Put { number: i32, place: u32 },
    Stat { name: Named, flags: i32, answer: u64 },
    Allocate { target: Target, mode: i32, offset: u64, bytes: u64 },
    Advise { target: Target, advice: i32 },
    SyncRange { target: Target, flags: u32, offset: u64, bytes: u64 },
    GetAttribute { of: Bearer, name: Vec<u8>, value: Area },
    SetAttribute { of: Bearer, name: Vec<u8>, value: Area, flags: i32 },
    Receive { target: Target, areas: Vec<Area>, how: Receiving, head: Option<Head>, group: Option<u16>, multi: bool },
    Send { target: Target, areas: Vec<Area>, how: Sending, to: Option<Address> },
    Accept { target: Target, multi: bool },
    Connect { target: Target, to: Address },
    Poll { target: Target, events: u32, multi: bool },
    Cancel(Which),
    Change(Change),
}

/// How something is received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receiving {
    pub(super) all: bool,
    pub(super) peek: bool,
    /// The result is how long a datagram is, even if it was cut.
    pub(super) length: bool,
}

/// How something is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) all: bool,
    /// Without waiting for room.
    pub(super) at_once: bool,
    pub(super) zero_copy: bool,
    /// As a message, with a header.
    pub(super) message: bool,
}

/// Where a message's header lies, and the room that it names for who sent it and for what comes along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) header: u64,
    pub(super) name: Area,
    pub(super) control: Area,
}

/// A change of names.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Folder { name: Named, mode: u32 },
    Remove { name: Named, folder: bool },
    Move { from: Named, to: Named, flags: u32 },
    Symlink { target: Vec<u8>, name: Named },
    Link { from: Named, to: Named, follow: bool },
}

/// What to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    One(u64),
    AllOf(Target),
    All,
}

/// How it goes on after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linked {
    No,
    IfDone,
    Always,
}

#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) user_data: u64,
    pub(super) request: Request,
    /// The number of the region that its memory is of.
    pub(super) region: Option<u16>,
    pub(super) linked: Linked,
    pub(super) in_worker: bool,
    pub(super) skip_success: bool,
    pub(super) poll_first: bool,
}

impl Submission {
    /// What `entry` says; or what of it the simulated kernel does not know.
    pub(super) fn decode(entry: &Entry) -> Result<Self, String> {
        let fields = Fields(memory::submission(entry));
        let flags = fields.flags();
        if flags & !KNOWN_FLAGS != 0 {
            return Err(format!("{} with the submission flags {:#x}", name(fields.opcode()), flags & !KNOWN_FLAGS));
        }
        let request = fields.request()?;
        let sends_or_receives = matches!(request, Request::Receive { .. } | Request::Send { .. });
        let priority = fields.u16(2);
        let multi = matches!(request, Request::Receive { multi: true, .. } | Request::Accept { multi: true, .. });
        let reports = matches!(request, Request::Send { how: Sending { zero_copy: true, .. }, .. });
        let reports = if reports { REPORT_USAGE } else { 0 };
        if priority & !(if sends_or_receives { POLL_FIRST } else { 0 } | if multi { MULTISHOT } else { 0 } | reports)
            != 0
        {
            return Err(format!("{} with the ioprio {priority:#x}", name(fields.opcode())));
        }
        Ok(Self {
            user_data: fields.u64(32),
            request,
            region: fields.region(),
            linked: match flags {
                flags if flags & IO_HARDLINK != 0 => Linked::Always,
                flags if flags & IO_LINK != 0 => Linked::IfDone,
                _ => Linked::No,
            },
            in_worker: flags & ASYNC != 0,
            skip_success: flags & CQE_SKIP_SUCCESS != 0,
            poll_first: sends_or_receives && priority & POLL_FIRST != 0,
        })
    }

    pub(super) fn target(&self) -> Option<Target> {
        match &self.request {
            Request::Read { target, .. }
            | Request::Write { target, .. }
            | Request::Sync { target, .. }
            | Request::Truncate { target, .. }
            | Request::Receive { target, .. }
            | Request::Send { target, .. }
            | Request::Accept { target, .. }
            | Request::Connect { target, .. }
            | Request::Allocate { target, .. }
            | Request::Advise { target, .. }
            | Request::SyncRange { target, .. }
            | Request::GetAttribute { of: Bearer::Open(target), .. }
            | Request::SetAttribute { of: Bearer::Open(target), .. }
            | Request::Poll { target, .. } => Some(*target),
            Request::Nop { .. }
            | Request::Open { .. }
            | Request::Close { .. }
            | Request::Put { .. }
            | Request::Stat { .. }
            | Request::GetAttribute { of: Bearer::Path(_), .. }
            | Request::SetAttribute { of: Bearer::Path(_), .. }
            | Request::Change(_)
            | Request::Cancel(_) => None,
        }
    }

    /// The memory that the kernel may touch until it is over.
    pub(super) fn areas(&self) -> &[Area] {
        match &self.request {
            Request::Read { areas, .. } | Request::Write { areas, .. } => areas,
            Request::Receive { areas, .. } | Request::Send { areas, .. } => areas,
            Request::GetAttribute { value, .. } | Request::SetAttribute { value, .. } => std::slice::from_ref(value),
            _ => &[],
        }
    }
}

const FIXED_FILE: u8 = 1;
const IO_LINK: u8 = 1 << 2;
const IO_HARDLINK: u8 = 1 << 3;
const ASYNC: u8 = 1 << 4;
const BUFFER_SELECT: u8 = 1 << 5;
const CQE_SKIP_SUCCESS: u8 = 1 << 6;
const KNOWN_FLAGS: u8 = FIXED_FILE | IO_LINK | IO_HARDLINK | ASYNC | BUFFER_SELECT | CQE_SKIP_SUCCESS;

/// `IORING_RECVSEND_POLL_FIRST`, and `IORING_RECV_MULTISHOT`; `IORING_ACCEPT_MULTISHOT` is the lowest bit.
const POLL_FIRST: u16 = 1;
/// `IORING_SEND_ZC_REPORT_USAGE`.
const REPORT_USAGE: u16 = 1 << 3;
const RECV_MULTISHOT: u16 = 2;
const ACCEPT_MULTISHOT: u16 = 1;
const MULTISHOT: u16 = RECV_MULTISHOT | ACCEPT_MULTISHOT;
const POLL_ADD_MULTI: u32 = 1;
const CANCEL_ALL: u32 = 1;
const CANCEL_FD: u32 = 1 << 1;
const CANCEL_ANY: u32 = 1 << 2;
const CANCEL_FD_FIXED: u32 = 1 << 3;
const NOP_INJECT_RESULT: u32 = 1;

/// The kernel's `struct io_uring_sqe`, by the offsets of its fields, which are its interface.
struct Fields([u8; 64]);

impl Fields {
    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|byte| self.0[at + byte]))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(std::array::from_fn(|byte| self.0[at + byte]))
    }

    fn opcode(&self) -> u8 {
        self.0[0]
    }

    fn flags(&self) -> u8 {
        self.0[1]
    }

    fn fd(&self) -> i32 {
        self.u32(4) as i32
    }

    fn offset(&self) -> u64 {
        self.u64(8)
    }

    fn address(&self) -> u64 {
        self.u64(16)
    }

    fn len(&self) -> u32 {
        self.u32(24)
    }

    /// `rw_flags`, `msg_flags`, `open_flags` and so on: what it is called depends on the opcode.
    fn own_flags(&self) -> u32 {
        self.u32(28)
    }

    fn file_index(&self) -> Option<u32> {
        self.u32(44).checked_sub(1)
    }

    fn target(&self) -> Target {
        if self.flags() & FIXED_FILE != 0 { Target::Direct(self.fd() as u32) } else { Target::Descriptor(self.fd()) }
    }

    fn area(&self) -> Area {
        Area { address: self.address(), len: self.len() as usize }
    }

    fn areas(&self, vectored: bool) -> Vec<Area> {
        if vectored { memory::vectors(self.address(), self.len() as usize) } else { vec![self.area()] }
    }

    /// Its opcode says whether the memory is of a region.
    fn region(&self) -> Option<u16> {
        matches!(self.opcode(), opcode::ReadFixed::CODE | opcode::WriteFixed::CODE).then(|| self.u16(40))
    }

    fn group(&self) -> Option<u16> {
        (self.flags() & BUFFER_SELECT != 0).then(|| self.u16(40))
    }

    fn request(&self) -> Result<Request, String> {
        let (target, own) = (self.target(), self.own_flags());
        let known = |flags: u32| self.check(own, flags);
        Ok(match self.opcode() {
            opcode::Nop::CODE => {
                known(NOP_INJECT_RESULT)?;
                Request::Nop { result: if own & NOP_INJECT_RESULT != 0 { self.len() as i32 } else { 0 } }
            }
            opcode::Read::CODE | opcode::Readv::CODE | opcode::ReadFixed::CODE => {
                known(libc::RWF_NOWAIT as u32)?;
                let areas = self.areas(self.opcode() == opcode::Readv::CODE);
                let nowait = own & libc::RWF_NOWAIT as u32 != 0;
                self.no_buffers()?;
                Request::Read { target, areas, offset: self.offset(), nowait }
            }
            opcode::Write::CODE | opcode::Writev::CODE | opcode::WriteFixed::CODE => {
                known(0)?;
                let areas = self.areas(self.opcode() == opcode::Writev::CODE);
                Request::Write { target, areas, offset: self.offset() }
            }
            opcode::Fsync::CODE => {
                known(1)?;
                Request::Sync { target, data_only: own == 1 }
            }
            opcode::Ftruncate::CODE => Request::Truncate { target, bytes: self.offset() },
            opcode::OpenAt::CODE => {
                let name = self.named(self.fd(), self.address());
                Request::Open { name, flags: own as i32, mode: self.len(), into: self.file_index() }
            }
            opcode::OpenAt2::CODE => {
                if self.len() as usize != memory::OPEN_HOW {
                    return Err(format!("OPENAT2 with {} bytes that say how", self.len()));
                }
                let (flags, mode, resolve) = memory::open_how(self.offset());
                let name = Named { resolve, ..self.named(self.fd(), self.address()) };
                Request::Open { name, flags: flags as i32, mode: mode as u32, into: self.file_index() }
            }
            opcode::Close::CODE => {
                let target = self.file_index().map_or(target, Target::Direct);
                Request::Close { target }
            }
            opcode::FilesUpdate::CODE => {
                if self.len() != 1 {
                    return Err("FILES_UPDATE of several places".to_owned());
                }
                let number = Area { address: self.address(), len: 4 }.load();
                let number = i32::from_ne_bytes(std::array::from_fn(|byte| number[byte]));
                Request::Put { number, place: self.offset() as u32 }
            }
            opcode::Statx::CODE => {
                known((libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_SYNC_TYPE | libc::AT_EMPTY_PATH) as u32)?;
                let name = self.named(self.fd(), self.address());
                Request::Stat { name, flags: own as i32, answer: self.offset() }
            }
            opcode::MkDirAt::CODE
            | opcode::UnlinkAt::CODE
            | opcode::SymlinkAt::CODE
            | opcode::RenameAt::CODE
            | opcode::LinkAt::CODE => Request::Change(self.change()?),
            opcode::Fallocate::CODE => {
                let (offset, bytes) = (self.offset(), self.address());
                Request::Allocate { target, mode: self.len() as i32, offset, bytes }
            }
            opcode::Fadvise::CODE => Request::Advise { target, advice: own as i32 },
            opcode::SyncFileRange::CODE => {
                Request::SyncRange { target, flags: own, offset: self.offset(), bytes: self.len().into() }
            }
            opcode::GetXattr::CODE | opcode::FGetXattr::CODE => {
                known(0)?;
                Request::GetAttribute { of: self.bearer(), name: memory::path(self.address()), value: self.value() }
            }
            opcode::SetXattr::CODE | opcode::FSetXattr::CODE => {
                let (name, value) = (memory::path(self.address()), self.value());
                Request::SetAttribute { of: self.bearer(), name, value, flags: own as i32 }
            }
            opcode::Recv::CODE => {
                let how = self.receiving(libc::MSG_NOSIGNAL)?;
                let multi = self.u16(2) & RECV_MULTISHOT != 0;
                Request::Receive { target, areas: vec![self.area()], how, head: None, group: self.group(), multi }
            }
            opcode::RecvMsg::CODE => {
                let how = self.receiving(libc::MSG_CMSG_CLOEXEC)?;
                let multi = self.u16(2) & RECV_MULTISHOT != 0;
                let header = memory::message(self.address());
                let areas = match multi {
                    true => Vec::new(),
                    false => memory::vectors(header.msg_iov as u64, header.msg_iovlen),
                };
                let name = Area { address: header.msg_name as u64, len: header.msg_namelen as usize };
                let control = Area { address: header.msg_control as u64, len: header.msg_controllen };
                let head = Some(Head { header: self.address(), name, control });
                Request::Receive { target, areas, how, head, group: self.group(), multi }
            }
            opcode::SendMsg::CODE => {
                let how = self.sending(false, true)?;
                self.no_buffers()?;
                let header = memory::message(self.address());
                if header.msg_controllen > 0 {
                    return Err("SENDMSG with something that goes along".to_owned());
                }
                let to = match header.msg_namelen {
                    0 => None,
                    len => Some(self.socket_address(header.msg_name as u64, len as usize)?),
                };
                let areas = memory::vectors(header.msg_iov as u64, header.msg_iovlen);
                Request::Send { target, areas, how, to }
            }
            opcode::Send::CODE | opcode::SendZc::CODE => {
                let how = self.sending(self.opcode() == opcode::SendZc::CODE, false)?;
                self.no_buffers()?;
                let to = match self.offset() {
                    0 => None,
                    address => Some(self.socket_address(address, usize::from(self.u16(44)))?),
                };
                Request::Send { target, areas: vec![self.area()], how, to }
            }
            opcode::Accept::CODE => {
                known((libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u32)?;
                if self.address() != 0 || self.file_index().is_some() {
                    return Err("ACCEPT that asks for the address, or for a direct place".to_owned());
                }
                Request::Accept { target, multi: self.u16(2) & ACCEPT_MULTISHOT != 0 }
            }
            opcode::Connect::CODE => {
                let to = self.socket_address(self.address(), self.offset() as usize)?;
                Request::Connect { target, to }
            }
            opcode::PollAdd::CODE => {
                if self.len() & !POLL_ADD_MULTI != 0 {
                    return Err(format!("POLL_ADD with the flags {:#x}", self.len()));
                }
                Request::Poll { target, events: poll_events(own), multi: self.len() & POLL_ADD_MULTI != 0 }
            }
            opcode::AsyncCancel::CODE => Request::Cancel(match own {
                0 => Which::One(self.address()),
                flags if flags == CANCEL_FD | CANCEL_ALL => Which::AllOf(Target::Descriptor(self.fd())),
                flags if flags == CANCEL_FD | CANCEL_FD_FIXED | CANCEL_ALL => {
                    Which::AllOf(Target::Direct(self.fd() as u32))
                }
                flags if flags == CANCEL_ANY | CANCEL_ALL || flags == CANCEL_ANY => Which::All,
                flags => return Err(format!("ASYNC_CANCEL with the flags {flags:#x}")),
            }),
            opcode => return Err(name(opcode)),
        })
    }

    fn check(&self, flags: u32, known: u32) -> Result<(), String> {
        match flags & !known {
            0 => Ok(()),
            unknown => Err(format!("{} with the flags {unknown:#x}", name(self.opcode()))),
        }
    }

    fn no_buffers(&self) -> Result<(), String> {
        match self.group() {
            None => Ok(()),
            Some(_) => Err(format!("{} with provided buffers", name(self.opcode()))),
        }
    }

    fn change(&self) -> Result<Change, String> {
        let own = self.own_flags();
        let first = || self.named(self.fd(), self.address());
        let other = || self.named(self.len() as i32, self.offset());
        Ok(match self.opcode() {
            opcode::MkDirAt::CODE => Change::Folder { name: first(), mode: self.len() },
            opcode::UnlinkAt::CODE => {
                self.check(own, libc::AT_REMOVEDIR as u32)?;
                Change::Remove { name: first(), folder: own != 0 }
            }
            opcode::SymlinkAt::CODE => {
                let name = self.named(self.fd(), self.offset());
                Change::Symlink { target: memory::path(self.address()), name }
            }
            opcode::RenameAt::CODE => {
                self.check(own, libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE)?;
                Change::Move { from: first(), to: other(), flags: own }
            }
            opcode::LinkAt::CODE => {
                self.check(own, libc::AT_SYMLINK_FOLLOW as u32)?;
                Change::Link { from: first(), to: other(), follow: own != 0 }
            }
            opcode => return Err(name(opcode)),
        })
    }

    fn named(&self, directory: i32, path: u64) -> Named {
        Named { directory, path: memory::path(path), resolve: 0 }
    }

    /// What has an attribute: the path of some opcodes stands behind all else.
    fn bearer(&self) -> Bearer {
        if matches!(self.opcode(), opcode::GetXattr::CODE | opcode::SetXattr::CODE) {
            return Bearer::Path(memory::path(self.u64(48)));
        }
        Bearer::Open(self.target())
    }

    fn value(&self) -> Area {
        Area { address: self.offset(), len: self.len() as usize }
    }

    fn receiving(&self, also: i32) -> Result<Receiving, String> {
        let own = self.own_flags();
        self.check(own, (libc::MSG_WAITALL | libc::MSG_PEEK | libc::MSG_TRUNC | also) as u32)?;
        let has = |flag: i32| own & flag as u32 != 0;
        Ok(Receiving { all: has(libc::MSG_WAITALL), peek: has(libc::MSG_PEEK), length: has(libc::MSG_TRUNC) })
    }

    fn sending(&self, zero_copy: bool, message: bool) -> Result<Sending, String> {
        let own = self.own_flags();
        self.check(own, (libc::MSG_WAITALL | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32)?;
        let has = |flag: i32| own & flag as u32 != 0;
        Ok(Sending { all: has(libc::MSG_WAITALL), at_once: has(libc::MSG_DONTWAIT), zero_copy, message })
    }

    fn socket_address(&self, address: u64, len: usize) -> Result<Address, String> {
        let bytes = Area { address, len }.load();
        socket_address(&bytes).ok_or_else(|| format!("{} to an address of such a family", name(self.opcode())))
    }
}

/// An address as the system writes it.
fn socket_address(bytes: &[u8]) -> Option<Address> {
    let family = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
    if i32::from(family) == libc::AF_UNIX {
        let name = &bytes[2..];
        // A path ends with a zero, or with the address.
        let is_path = name.first().is_some_and(|first| *first != 0);
        let end = name.iter().position(|byte| *byte == 0).filter(|_| is_path).unwrap_or(name.len());
        return Some(Address::Unix(name[..end].to_vec()));
    }
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    let ip: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?).into(),
        _ => return None,
    };
    Some(Address::Ip((ip, port).into()))
}

/// The events stand with their halves exchanged on machines with the other byte order.
fn poll_events(field: u32) -> u32 {
    if cfg!(target_endian = "big") { field.rotate_left(16) } else { field }
}

/// The name of an opcode, as the kernel's header has it.
pub(super) fn name(opcode: u8) -> String {
    match NAMES.get(usize::from(opcode)) {
        Some(name) => (*name).to_owned(),
        None => format!("opcode {opcode}"),
    }
}

const NAMES: [&str; 63] = [
    "NOP",
    "READV",
    "WRITEV",
    "FSYNC",
    "READ_FIXED",
    "WRITE_FIXED",
    "POLL_ADD",
    "POLL_REMOVE",
    "SYNC_FILE_RANGE",
    "SENDMSG",
    "RECVMSG",
    "TIMEOUT",
    "TIMEOUT_REMOVE",
    "ACCEPT",
    "ASYNC_CANCEL",
    "LINK_TIMEOUT",
    "CONNECT",
    "FALLOCATE",
    "OPENAT",
    "CLOSE",
    "FILES_UPDATE",
    "STATX",
    "READ",
    "WRITE",
    "FADVISE",
    "MADVISE",
    "SEND",
    "RECV",
    "OPENAT2",
    "EPOLL_CTL",
    "SPLICE",
    "PROVIDE_BUFFERS",
    "REMOVE_BUFFERS",
    "TEE",
    "SHUTDOWN",
    "RENAMEAT",
    "UNLINKAT",
    "MKDIRAT",
    "SYMLINKAT",
    "LINKAT",
    "MSG_RING",
    "FSETXATTR",
    "SETXATTR",
    "FGETXATTR",
    "GETXATTR",
    "SOCKET",
    "URING_CMD",
    "SEND_ZC",
    "SENDMSG_ZC",
    "READ_MULTISHOT",
    "WAITID",
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_WAITV",
    "FIXED_FD_INSTALL",
    "FTRUNCATE",
    "BIND",
    "LISTEN",
    "RECV_ZC",
    "EPOLL_WAIT",
    "READV_FIXED",
    "WRITEV_FIXED",
    "PIPE",
];
