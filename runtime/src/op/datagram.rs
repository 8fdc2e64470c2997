//! Receiving messages: bytes with who sent them and what came along, so that none that has arrived is ever lost.
//!
//! A receive that is dropped is cancelled; what it brings nevertheless is kept with the socket ([`Arrivals`]), and the
//! next one gives it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::task::{Context, Poll};

use io_uring::opcode;
use socket2::{SockAddr, SockAddrStorage};

use super::ancillary::Ancillary;
use super::arrivals::{Arrivals, Claim, Kept};
use super::context;
use super::descriptor::{Descriptor, Held};
use super::multishot::MultishotOperation;
use super::read::{Parts, no_room, room_of};
use super::receive::{got_buffers, pooled_chunk};
use super::{Completion, Operation, Progress, Submission};
use crate::buf::{Chunk, IoBufMut, Room};
use crate::driver::socket_calls;

/// A message that was received, but for its bytes, which lie in the buffer.
#[derive(Debug)]
pub struct Message {
    count: usize,
    length: usize,
    from: Option<SockAddr>,
    ancillary: Ancillary,
    ancillary_cut: bool,
}

impl Message {
    /// Bytes, and nothing else.
    pub(super) fn of_bytes(count: usize) -> Self {
        Self { count, length: count, from: None, ancillary: Ancillary::new(), ancillary_cut: false }
    }

    /// How many bytes lie in the buffer.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes it had: more than [`count`](Self::count) if it was cut. Of streams the same.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether the buffer had less room than the message has bytes: the rest is gone.
    pub fn is_cut(&self) -> bool {
        self.length > self.count
    }

    /// Who sent it, if that has a name.
    pub fn from(&self) -> Option<&SockAddr> {
        self.from.as_ref()
    }

    /// Who sent it, if that is of IP.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.from.as_ref()?.as_socket()
    }

    /// What came along.
    pub fn ancillary(&mut self) -> &mut Ancillary {
        &mut self.ancillary
    }

    /// Whether more came along than there was room for: the kernel has closed descriptors that did not fit, or they are
    /// closed here.
    pub fn is_ancillary_cut(&self) -> bool {
        self.ancillary_cut
    }

    /// The error of a message that was cut.
    fn whole(self) -> io::Result<Self> {
        if self.is_cut() {
            let cut = Truncated { count: self.count, length: self.length, from: self.from };
            return Err(io::Error::new(io::ErrorKind::InvalidData, cut));
        }
        Ok(self)
    }
}

/// The error (of the kind [`InvalidData`](io::ErrorKind::InvalidData)) of a receive whose buffer had less room than the
/// message has bytes. What had room lies in the buffer; the rest is gone.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::Truncated;
///
/// fn length(error: &std::io::Error) -> Option<usize> {
///     Some(error.get_ref()?.downcast_ref::<Truncated>()?.length())
/// }
/// ```
#[derive(Debug)]
pub struct Truncated {
    count: usize,
    length: usize,
    from: Option<SockAddr>,
}

impl Truncated {
    /// How many bytes lie in the buffer.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many the message had.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Who sent it, if the receive asked for that.
    pub fn from(&self) -> Option<&SockAddr> {
        self.from.as_ref()
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes was cut to {}: receive into a larger buffer", self.length, self.count)
    }
}

impl std::error::Error for Truncated {}

/// What a receive gives of a message.
pub trait FromMessage: Sized + 'static {
    /// Whether it says who sent it: if not, the kernel is not asked.
    const WANTS_SENDER: bool = true;

    /// Makes it of a message.
    ///
    /// # Errors
    ///
    /// If the message has not what is asked for, or was cut.
    fn from_message(message: Message) -> io::Result<Self>;
}

impl FromMessage for Message {
    fn from_message(message: Message) -> io::Result<Self> {
        Ok(message)
    }
}

/// How many bytes.
impl FromMessage for usize {
    const WANTS_SENDER: bool = false;

    fn from_message(message: Message) -> io::Result<Self> {
        Ok(message.whole()?.count)
    }
}

/// How many bytes, and who sent them.
impl FromMessage for (usize, SocketAddr) {
    fn from_message(message: Message) -> io::Result<Self> {
        let message = message.whole()?;
        let from = message.socket_addr().ok_or_else(|| io::Error::other("the sender's address is not one of IP"))?;
        Ok((message.count, from))
    }
}

/// How many bytes, and who sent them, if that has a name.
impl FromMessage for (usize, Option<SockAddr>) {
    fn from_message(message: Message) -> io::Result<Self> {
        let message = message.whole()?;
        Ok((message.count, message.from))
    }
}

/// One buffer or several, in turn, to receive into.
pub trait Rooms: 'static {
    /// What the caller gets back.
    type Back;

    /// Adds what the kernel is to fill.
    #[doc(hidden)]
    fn parts(&mut self, parts: &mut Vec<libc::iovec>);

    /// The room, if it is one buffer's.
    #[doc(hidden)]
    fn only(&mut self) -> Option<Room<'_>>;

    /// So many bytes have been put into the parts, one after the other.
    ///
    /// # Safety
    ///
    /// They have, and the buffers have not changed since [`parts`](Self::parts).
    #[doc(hidden)]
    unsafe fn advance(&mut self, count: usize);

    /// Copies bytes to where the kernel would put them, and says how many had room.
    #[doc(hidden)]
    fn fill_from(&mut self, bytes: &[u8]) -> usize;

    /// The buffer, or the buffers.
    #[doc(hidden)]
    fn back(self) -> Self::Back;
}

/// One buffer.
#[derive(Debug)]
pub struct One<B>(pub B);

impl<B: IoBufMut> Rooms for One<B> {
    type Back = B;

    fn parts(&mut self, parts: &mut Vec<libc::iovec>) {
        let (start, len) = room_of(&mut self.0);
        parts.push(libc::iovec { iov_base: start.cast(), iov_len: len as usize });
    }

    fn only(&mut self) -> Option<Room<'_>> {
        Some(self.0.room())
    }

    unsafe fn advance(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.advance(count) };
    }

    fn fill_from(&mut self, bytes: &[u8]) -> usize {
        self.0.fill_from(bytes)
    }

    fn back(self) -> B {
        self.0
    }
}

impl<B: IoBufMut> Rooms for Vec<B> {
    type Back = Self;

    fn parts(&mut self, parts: &mut Vec<libc::iovec>) {
        parts.extend(self.iter_mut().map(|buffer| {
            let (start, len) = room_of(buffer);
            libc::iovec { iov_base: start.cast(), iov_len: len as usize }
        }));
    }

    fn only(&mut self) -> Option<Room<'_>> {
        match &mut self[..] {
            [buffer] => Some(buffer.room()),
            _ => None,
        }
    }

    unsafe fn advance(&mut self, count: usize) {
        let mut left = count;
        for buffer in self {
            let count = left.min(buffer.room().len());
            // SAFETY: the rooms are filled in turn, each to its end before the next.
            unsafe { buffer.advance(count) };
            left -= count;
        }
    }

    fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for buffer in self {
            rest = &rest[buffer.fill_from(rest)..];
        }
        bytes.len() - rest.len()
    }

    fn back(self) -> Self {
        self
    }
}

/// How a receive is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// The socket is a stream: it has bytes, and no messages that could be cut.
    pub stream: bool,
    /// The socket is connected, so that it is known who sends.
    pub connected: bool,
    /// What is received stays there for the next receive.
    pub peek: bool,
    /// So many descriptors may come along. None: nothing that comes along is looked at.
    pub descriptors: Option<usize>,
}

/// Receives a message into one buffer ([`One`]) or several; output `(io::Result<M>, the buffers)`.
///
/// One receive of a socket is with the kernel at a time; others wait for it. What lies there already is received by a plain
/// call, if it is one buffer and nothing is asked for that comes along: of a busy socket that costs less than the ring.
///
/// # Cancel safety
///
/// Dropped, it is cancelled, and what it brings nevertheless is kept in the [`Arrivals`]: the next receive gives it. A
/// message that had more bytes than the dropped one had room for is cut then, and says so.
#[derive(Debug)]
pub struct ReceiveMessage<R, M> {
    held: Held,
    arrivals: Arrivals,
    claim: Option<Claim>,
    rooms: R,
    how: How,
    /// Made when it goes to the ring: a plain call needs none.
    envelope: Option<Box<Envelope>>,
    /// Nothing is kept, and it looks first whether something lies there.
    looks: bool,
    /// What was kept for it, or lay there.
    kept: Option<Message>,
    gives: PhantomData<fn() -> M>,
}

impl<R: Rooms, M: FromMessage> ReceiveMessage<R, M> {
    /// Receives from `socket`, whose arrivals these are.
    pub fn new(socket: &Descriptor, arrivals: &Arrivals, rooms: R, how: How) -> Self {
        Self {
            held: Held::to_look(socket),
            arrivals: arrivals.clone(),
            claim: None,
            rooms,
            how,
            envelope: None,
            looks: false,
            kept: None,
            gives: PhantomData,
        }
    }

    fn envelope(&mut self) -> &mut Envelope {
        let descriptors = self.how.descriptors;
        self.envelope.get_or_insert_with(|| {
            let control = descriptors.map_or_else(Vec::new, Ancillary::room);
            Box::new(Envelope { control, ..Envelope::default() })
        })
    }

    fn has_room(&mut self) -> bool {
        let mut parts = std::mem::take(&mut self.envelope().parts.0);
        parts.clear();
        self.rooms.parts(&mut parts);
        let has_room = parts.iter().any(|part| part.iov_len > 0);
        self.envelope().parts.0 = parts;
        has_room
    }

    /// Without an address and without what comes along, the kernel has less to do. But if it is dropped, whoever gets
    /// what it brings may want to know the sender.
    fn is_plain(&mut self) -> bool {
        !self.asks_for_sender() && self.how.descriptors.is_none() && self.envelope().parts.0.len() == 1
    }

    fn asks_for_sender(&self) -> bool {
        M::WANTS_SENDER || !(self.how.connected || self.how.stream)
    }

    fn flags(&self) -> i32 {
        let peek = if self.how.peek { libc::MSG_PEEK } else { 0 };
        // On a stream, that would throw bytes away. On others it has the result say how long the message is.
        let length = if self.how.stream { 0 } else { libc::MSG_TRUNC };
        peek | length
    }

    /// Whether a plain call can do it: one buffer, and nothing that comes along.
    fn is_for_a_plain_call(&mut self) -> bool {
        !self.how.stream && self.how.descriptors.is_none() && self.rooms.only().is_some_and(|room| !room.is_empty())
    }

    /// Receives what lies there, by a plain call.
    fn receive_now(&mut self) -> Option<i32> {
        let (flags, wants_sender) = (self.flags(), self.asks_for_sender());
        let mut room = self.rooms.only()?;
        let len = room.len();
        // SAFETY: the room is the buffer's, and borrowed from it for longer than this slice lives.
        let bytes = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<MaybeUninit<u8>>(), len) };
        let fd = self.held.descriptor().as_fd();
        let received = socket_calls::receive_message_now(fd, bytes, flags, wants_sender);
        let found = !received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.arrivals.has_looked(found);
        match received {
            Ok((length, from)) => {
                let count = length.min(len);
                // SAFETY: the kernel has written so many bytes to the room.
                unsafe { self.rooms.advance(count) };
                let length = if self.how.peek { count } else { length };
                // A family alone is no name.
                let from = from.filter(|from| from.len() as usize > size_of::<libc::sa_family_t>());
                self.kept = Some(Message { length, from, ..Message::of_bytes(count) });
                Some(0)
            }
            Err(error) => match error.raw_os_error() {
                None | Some(libc::EAGAIN | libc::EINTR) => None,
                Some(number) => Some(-number),
            },
        }
    }

    /// The message of a completion; the rooms are advanced.
    fn message(&mut self, completion: Completion) -> io::Result<Message> {
        let length = completion.to_result()? as usize;
        let room = self.envelope().parts.0.iter().map(|part| part.iov_len).sum();
        let count = length.min(room);
        // SAFETY: the kernel has filled the parts in turn, as far as the message went; they are as `submission` made
        // them.
        unsafe { self.rooms.advance(count) };
        let length = if self.how.stream || self.how.peek { count } else { length };
        if self.is_plain() {
            return Ok(Message { length, ..Message::of_bytes(count) });
        }
        let descriptors = self.how.descriptors;
        // SAFETY: a completion without an error: the kernel has filled the envelope in.
        Ok(unsafe { self.envelope().open(count, length, descriptors) })
    }
}

// SAFETY: the rooms are the buffers', and name and records lie in `envelope`, which is on the heap: nobody moves or looks
//         at any of them while the kernel fills them.
unsafe impl<R: Rooms, M: FromMessage> Operation for ReceiveMessage<R, M> {
    type Output = (io::Result<M>, R::Back);

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.arrivals.poll_free(cx)
    }

    fn may_end_now(&mut self) -> bool {
        self.looks = self.is_for_a_plain_call() && self.arrivals.is_worth_a_look();
        self.looks || !self.arrivals.is_empty() || !self.has_room()
    }

    fn try_now(&mut self) -> Option<i32> {
        if self.looks {
            return self.receive_now();
        }
        if !self.has_room() {
            return Some(-libc::EINVAL);
        }
        if self.how.peek {
            let fill = |kept: &Kept| self.rooms.fill_from(&kept.bytes);
            let count = self.arrivals.look(fill)?;
            let from = self.arrivals.look(|kept| kept.message.from.clone()).flatten();
            self.kept = Some(Message { from, ..Message::of_bytes(count) });
            return Some(0);
        }
        let Kept { mut message, mut bytes } = self.arrivals.take()?;
        message.count = self.rooms.fill_from(&bytes);
        if self.how.stream {
            message.length = message.count;
            if message.count < bytes.len() {
                // What came along came with the first of the bytes.
                let rest = bytes.split_off(message.count);
                self.arrivals.put_back(rest);
            }
        }
        if let Some(most) = self.how.descriptors {
            message.ancillary_cut |= message.ancillary.keep_at_most(most);
        }
        self.kept = Some(message);
        Some(0)
    }

    fn submission(&mut self) -> Submission {
        self.claim.get_or_insert_with(|| self.arrivals.claim());
        // Where the parts lie was found out before it was moved to where it is now.
        self.has_room();
        let flags = self.flags();
        if self.is_plain() {
            let part = self.envelope().parts.0[0];
            let len = part.iov_len as u32;
            return opcode::Recv::new(self.held.fd(), part.iov_base.cast(), len).flags(flags).build();
        }
        let asks_for_sender = self.asks_for_sender();
        let header = self.envelope().address(asks_for_sender);
        let flags = (flags | libc::MSG_CMSG_CLOEXEC) as u32;
        opcode::RecvMsg::new(self.held.fd(), header).flags(flags).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> Self::Output {
        let result = match self.kept.take() {
            Some(message) => M::from_message(message),
            None if self.claim.is_none() && completion.result == -libc::EINVAL => Err(no_room()),
            None => self.message(completion).and_then(M::from_message),
        };
        (result, self.rooms.back())
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }

    /// Keeps it, before whoever waits for this to end goes on.
    fn orphaned(mut self, completion: Completion) {
        let mut copies = Vec::new();
        if !self.how.peek {
            let mut left = completion.result.max(0) as usize;
            for part in &self.envelope().parts.0 {
                let len = left.min(part.iov_len);
                // SAFETY: a part that `submission` made, of a room that the kernel has filled so far and that nobody
                // has
                //         touched since.
                let filled = unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), len) };
                copies.extend_from_slice(filled);
                left -= len;
            }
        }
        match self.message(completion) {
            // The end of a stream is found again by the next one.
            Ok(mut message) if !self.how.peek && (message.count > 0 || !self.how.stream) => {
                if self.how.connected && message.from.is_none() {
                    message.from = self.held.descriptor().peer_addr().ok();
                }
                self.arrivals.keep(Kept { message, bytes: copies });
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// What the kernel fills in beside the bytes.
struct Envelope {
    header: libc::msghdr,
    from: SockAddrStorage,
    parts: Parts,
    control: Vec<u8>,
}

// SAFETY: the addresses in it are of what the same operation owns, and are used by nobody but the kernel.
unsafe impl Send for Envelope {}
// SAFETY: as above; a shared reference gives nobody access to the memory.
unsafe impl Sync for Envelope {}

impl Default for Envelope {
    fn default() -> Self {
        Self { header: header(), from: SockAddrStorage::zeroed(), parts: Parts::default(), control: Vec::new() }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope")
    }
}

/// A header with nothing in it.
pub(super) fn header() -> libc::msghdr {
    // SAFETY: it consists of numbers and pointers, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

impl Envelope {
    /// Says to the kernel where all lies, now that it does not move any more.
    fn address(&mut self, wants_sender: bool) -> *mut libc::msghdr {
        self.header = header();
        if wants_sender {
            self.header.msg_name = (&raw mut self.from).cast();
            self.header.msg_namelen = self.from.size_of();
        }
        self.header.msg_iov = self.parts.0.as_mut_ptr();
        self.header.msg_iovlen = self.parts.0.len();
        if !self.control.is_empty() {
            self.header.msg_control = self.control.as_mut_ptr().cast();
            self.header.msg_controllen = self.control.len();
        }
        &raw mut self.header
    }

    /// What the kernel has filled in.
    ///
    /// # Safety
    ///
    /// The receive has ended without an error, and this is done once.
    unsafe fn open(&mut self, count: usize, length: usize, descriptors: Option<usize>) -> Message {
        let name_len = self.header.msg_namelen.min(self.from.size_of());
        let from = (!self.header.msg_name.is_null()).then(|| {
            let from = std::mem::replace(&mut self.from, SockAddrStorage::zeroed());
            // SAFETY: the kernel has written an address of that length; the rest is zeroed.
            unsafe { address(from, name_len) }
        });
        let written = self.header.msg_controllen.min(self.control.len());
        // SAFETY: the kernel has written the records, and they are read once.
        let (ancillary, cut) = unsafe { Ancillary::read(&self.control[..written], descriptors.unwrap_or(0)) };
        let cut = cut || descriptors.is_some() && self.header.msg_flags & libc::MSG_CTRUNC != 0;
        Message { count, length, from: from.flatten(), ancillary, ancillary_cut: cut }
    }
}

/// The address of a sender; none if it has no name.
///
/// # Safety
///
/// The storage holds an address of that length, as the kernel writes it.
unsafe fn address(storage: SockAddrStorage, len: libc::socklen_t) -> Option<SockAddr> {
    // A family alone is no name.
    (len as usize > size_of::<libc::sa_family_t>()).then(|| {
        // SAFETY: the caller's promise.
        unsafe { SockAddr::new(storage, len) }
    })
}

/// A datagram in a pooled buffer.
#[derive(Debug)]
pub struct Datagram {
    /// Its bytes.
    pub bytes: Chunk,
    /// Who sent it, if that has a name.
    pub from: Option<SockAddr>,
}

/// Receives datagrams again and again into buffers of the core's pool, one item each.
///
/// It takes in what arrives without being asked. What was not fetched when it is dropped is kept in the [`Arrivals`].
#[derive(Debug)]
pub struct ReceiveMessages {
    held: Held,
    group: u16,
    arrivals: Arrivals,
    claim: Option<Claim>,
    /// How much room the kernel leaves for names.
    header: Box<Header>,
}

#[derive(Debug)]
struct Header(libc::msghdr);

// SAFETY: it has no addresses, only lengths.
unsafe impl Send for Header {}
// SAFETY: as above.
unsafe impl Sync for Header {}

/// `struct io_uring_recvmsg_out`: the lengths of name, records and bytes, and flags.
const OUT: usize = 16;
/// Enough for the name of any socket.
const NAME: usize = size_of::<libc::sockaddr_un>();

/// What stands before the bytes of a datagram in a pooled buffer.
struct Head {
    /// Of the whole datagram, also if it was cut.
    length: usize,
    from: Option<SockAddr>,
}

impl Head {
    /// `None` if the buffer is too short to have one.
    fn read(buffer: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(buffer.get(at..at + 4)?.try_into().ok()?) as usize);
        let (name_len, length) = (number(0)?, number(8)?);
        let mut storage = SockAddrStorage::zeroed();
        let name = &buffer[OUT.min(buffer.len())..(OUT + NAME.min(name_len)).min(buffer.len())];
        // SAFETY: a structure of numbers, for which any bytes are a value, and not larger than the storage.
        let place = unsafe { storage.view_as::<[u8; NAME]>() };
        place[..name.len()].copy_from_slice(name);
        // SAFETY: any bytes are an address of some family; the kernel has written the name of a socket.
        let from = unsafe { address(storage, name.len() as libc::socklen_t) };
        Some(Self { length, from })
    }
}

impl ReceiveMessages {
    /// Receives from `socket` into buffers of the pool that fits datagrams of so many bytes best. `None` outside a
    /// runtime, and where the core has no pool with room for one byte.
    pub fn new(socket: &Descriptor, arrivals: &Arrivals, bytes: usize) -> Option<Self> {
        let whole = bytes.saturating_add(OUT + NAME);
        let (group, size) =
            context::with(|operations| operations.pool(whole).map(|pool| (pool.group(), pool.size())))??;
        let mut header = header();
        header.msg_namelen = NAME as libc::socklen_t;
        let header = Box::new(Header(header));
        let arrivals = arrivals.clone();
        (size as usize > OUT + NAME).then(|| Self { held: Held::to_look(socket), group, arrivals, claim: None, header })
    }

    /// What lies in a buffer of the pool: the lengths, the name, the bytes.
    fn unpack(&mut self, completion: Completion) -> io::Result<(Chunk, Message)> {
        let mut chunk = pooled_chunk(self.group, completion)?;
        let Some(Head { length, from }) = Head::read(&chunk) else {
            return Err(io::Error::other("the kernel gave a datagram without a head"));
        };
        chunk.advance((OUT + NAME).min(chunk.len()));
        // Also if it was cut, as MSG_TRUNC says: the length is the datagram's own.
        let count = chunk.len();
        Ok((chunk, Message { length, from, ..Message::of_bytes(count) }))
    }
}

// SAFETY: the header is on the heap, and nobody touches it; the kernel picks the buffers itself.
unsafe impl MultishotOperation for ReceiveMessages {
    type Item = io::Result<Datagram>;

    fn submission(&mut self) -> Submission {
        self.claim.get_or_insert_with(|| self.arrivals.claim());
        // MSG_TRUNC, so that the length is that of the datagram even if it was cut.
        opcode::RecvMsgMulti::new(self.held.fd(), &raw const self.header.0, self.group)
            .flags(libc::MSG_TRUNC as u32)
            .build()
    }

    fn gives_item(&mut self, completion: Completion) -> bool {
        !got_buffers(self.group, completion)
    }

    fn item(&mut self, completion: Completion) -> io::Result<Datagram> {
        let (bytes, message) = self.unpack(completion)?;
        let from = message.whole()?.from;
        Ok(Datagram { bytes, from })
    }

    /// Keeps it.
    fn orphaned(&mut self, completion: Completion) {
        if let Ok((chunk, message)) = self.unpack(completion) {
            self.arrivals.keep(Kept { message, bytes: chunk.to_vec() });
        }
    }

    fn takes_cancel(&mut self) -> bool {
        self.held.takes_cancel()
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

impl Arrivals {
    /// The next that was kept, as a datagram.
    pub fn take_datagram(&self) -> Option<io::Result<Datagram>> {
        let Kept { message, bytes } = self.take()?;
        Some(message.whole().map(|message| Datagram { bytes: Chunk::from(bytes), from: message.from }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, NAME, OUT};

    /// Buffers of every length with every kind of nonsense in them.
    #[test]
    fn whatever_the_kernel_writes_before_a_datagram_is_read_without_a_panic() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state >> 33
        };
        for round in 0..50_000_usize {
            let len = round % (OUT + NAME + 20);
            let mut buffer: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            // Lengths that are too long, too short, and right; families that there are.
            if let Some(place) = buffer.get_mut(..4) {
                let name_len = [0, 1, 2, 3, 16, 28, NAME, NAME + 1, 500, usize::MAX][random() as usize % 10];
                place.copy_from_slice(&(name_len as u32).to_ne_bytes());
            }
            if let Some(place) = buffer.get_mut(OUT..OUT + 2) {
                let family = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, 0, 999][random() as usize % 5];
                place.copy_from_slice(&(family as u16).to_ne_bytes());
            }
            let head = Head::read(&buffer);
            assert_eq!(head.is_some(), len >= 12, "{len} bytes");
            let Some(from) = head.and_then(|head| head.from) else { continue };
            assert!((3..=NAME).contains(&(from.len() as usize)) && from.len() as usize <= len - OUT);
            let _ = (from.as_socket(), from.as_pathname().map(|_| ()), from.as_abstract_namespace().map(|_| ()));
        }
    }
}
