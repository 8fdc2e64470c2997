//! What goes along with a message: open descriptors, who sends, how the bytes are cut into datagrams.
//!
//! The kernel wants it as records, each with a head (`struct cmsghdr`): written here for a send, and read here, once
//! and at once, after a receive: so a descriptor that has come is owned from then on, whatever becomes of the message.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::driver::calls;
pub use crate::driver::socket_calls::Credentials;

/// What goes along with the bytes of a message. Build it for a send, take from it what a receive has brought.
///
/// | | sent | received |
/// | --- | --- | --- |
/// | descriptors, on Unix sockets | the other side gets its own numbers of the same open files | owned: closed if nobody takes them |
/// | credentials, on Unix sockets | the kernel checks that they are true | only if the socket asks for them |
/// | segment size, on UDP sockets | the bytes go as many datagrams of that size (GSO) | the bytes are as many datagrams (GRO) |
///
/// # Examples
///
/// ```
/// use corering_runtime::op::Ancillary;
/// use std::os::fd::OwnedFd;
///
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let mut along = Ancillary::new().descriptor(theirs);
/// assert_eq!(along.take_descriptors().len(), 1); // closed again, since nobody keeps it
/// # drop(ours);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Ancillary {
    descriptors: Vec<OwnedFd>,
    credentials: Option<Credentials>,
    segment_bytes: Option<u16>,
}

/// `SCM_MAX_FD`: more go with no message.
const MOST_DESCRIPTORS: usize = 253;
/// What the head of a record takes, and what the records are aligned to.
const HEAD: usize = size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = size_of::<usize>();
/// `SCM_CREDENTIALS` is three numbers.
const CREDENTIALS: usize = 12;

impl Ancillary {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends an open descriptor. This process keeps its own until the message has been sent.
    pub fn descriptor(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.descriptors.push(descriptor.into());
        self
    }

    /// Says who sends. Only who may become another may claim to be another.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Has the bytes of a UDP message go as many datagrams of so many bytes each, and a last one of what is left
    /// (`UDP_SEGMENT`).
    pub fn segment_bytes(mut self, bytes: u16) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// The descriptors that have come, or are to be sent. Those that are left are closed.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Who has sent it, if the socket asked for that (`SO_PASSCRED`).
    pub fn sent_by(&self) -> Option<Credentials> {
        self.credentials
    }

    /// How many bytes each of the datagrams has that have come as one (`UDP_GRO`); the last may have fewer.
    pub fn segments(&self) -> Option<u16> {
        self.segment_bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.descriptors.is_empty() && self.credentials.is_none() && self.segment_bytes.is_none()
    }

    /// The records as the kernel reads them. The descriptors stay with `self`, which is to live until it has.
    pub(super) fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if !self.descriptors.is_empty() {
            let numbers = self.descriptors.iter().flat_map(|descriptor| descriptor.as_raw_fd().to_ne_bytes());
            push(&mut records, libc::SOL_SOCKET, libc::SCM_RIGHTS, &numbers.collect::<Vec<u8>>());
        }
        if let Some(Credentials { process, user, group }) = self.credentials {
            let process = process.unwrap_or(0);
            let numbers = [process.to_ne_bytes(), user.to_ne_bytes(), group.to_ne_bytes()];
            push(&mut records, libc::SOL_SOCKET, libc::SCM_CREDENTIALS, numbers.as_flattened());
        }
        if let Some(bytes) = self.segment_bytes {
            push(&mut records, libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
        }
        records
    }

    /// Room for the records of a message with so many descriptors.
    pub(super) fn room(descriptors: usize) -> Vec<u8> {
        let descriptors = descriptors.min(MOST_DESCRIPTORS) * size_of::<RawFd>();
        let sizes = [descriptors, CREDENTIALS, size_of::<i32>()];
        vec![0; sizes.iter().map(|size| HEAD + aligned(*size)).sum()]
    }

    /// What the kernel has written. Of more descriptors than `most` the others are closed; whether that was so.
    ///
    /// # Safety
    ///
    /// The kernel has just written the records, and nobody has looked at them before.
    pub(super) unsafe fn read(mut records: &[u8], most: usize) -> (Self, bool) {
        let mut read = Self::default();
        while let Some((level, kind, bytes, rest)) = next(records) {
            records = rest;
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for number in numbers(bytes) {
                        // SAFETY: the kernel has opened it for this message: ours, and nobody else's.
                        read.descriptors.push(unsafe { calls::owned(number) });
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    if let [process, user, group] = numbers(bytes).collect::<Vec<_>>()[..] {
                        let process = (process > 0).then_some(process);
                        read.credentials = Some(Credentials { process, user: user as u32, group: group as u32 });
                    }
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    read.segment_bytes = numbers(bytes).next().and_then(|bytes| u16::try_from(bytes).ok());
                }
                // What the socket was asked to tell besides: nobody here knows it.
                _ => {}
            }
        }
        let cut = read.keep_at_most(most);
        (read, cut)
    }

    /// Closes the descriptors behind the first so many; whether there were any.
    pub(super) fn keep_at_most(&mut self, descriptors: usize) -> bool {
        let cut = self.descriptors.len() > descriptors;
        self.descriptors.truncate(descriptors);
        cut
    }
}

fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

fn push(records: &mut Vec<u8>, level: i32, kind: i32, bytes: &[u8]) {
    records.extend((HEAD + bytes.len()).to_ne_bytes());
    records.extend(level.to_ne_bytes());
    records.extend(kind.to_ne_bytes());
    records.extend(bytes);
    records.resize(aligned(records.len()), 0);
}

/// The first record, and what stands behind it; none if there is not a whole one.
fn next(records: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let number = |at: usize| Some(i32::from_ne_bytes(records.get(at..at + 4)?.try_into().ok()?));
    let len = usize::from_ne_bytes(records.get(..ALIGNMENT)?.try_into().ok()?);
    let (level, kind) = (number(ALIGNMENT)?, number(ALIGNMENT + 4)?);
    // The last one has no padding, if the kernel had no room for that.
    let rest = records.get(aligned(len)..).unwrap_or_default();
    Some((level, kind, records.get(HEAD..len)?, rest))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.chunks_exact(4).map(|bytes| i32::from_ne_bytes(std::array::from_fn(|at| bytes[at])))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::IntoRawFd;

    use super::*;

    fn open() -> OwnedFd {
        std::os::unix::net::UnixStream::pair().expect("a pair").0.into()
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        assert!(Ancillary::new().records().is_empty());
        let credentials = Credentials { process: Some(7), user: 8, group: 9 };
        let sent = Ancillary::new().descriptor(open()).descriptor(open()).credentials(credentials);
        let numbers: Vec<_> = sent.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let records = sent.records();
        let Ancillary { descriptors, .. } = sent;
        for descriptor in descriptors {
            // As if the kernel had given them.
            let _ = descriptor.into_raw_fd();
        }
        // SAFETY: the descriptors are nobody's any more.
        let (mut read, cut) = unsafe { Ancillary::read(&records, 2) };
        assert!(!cut);
        assert_eq!(read.sent_by(), Some(credentials));
        let came: Vec<_> = read.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(came, numbers);
        assert_eq!(read.take_descriptors().len(), 2);
    }

    #[test]
    fn more_descriptors_than_were_asked_for_are_closed_and_that_is_told() {
        let pairs = [(); 2].map(|()| std::os::unix::net::UnixStream::pair().expect("a pair"));
        let [(first, mut one), (second, mut other)] = pairs;
        let sent = Ancillary::new().descriptor(first).descriptor(second);
        let records = sent.records();
        for descriptor in sent.descriptors {
            // As if the kernel had given them.
            let _ = descriptor.into_raw_fd();
        }
        // SAFETY: the descriptors are nobody's any more.
        let (read, cut) = unsafe { Ancillary::read(&records, 1) };
        assert!(cut);
        assert_eq!(read.descriptors.len(), 1);
        assert_eq!(other.read(&mut [0]).expect("closed"), 0, "the second is closed");
        one.set_nonblocking(true).expect("set");
        assert_eq!(one.read(&mut [0]).expect_err("open").kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_no_whole_record_is_not_read() {
        let records = Ancillary::new().segment_bytes(1200).records();
        for len in 0..HEAD + 2 {
            assert!(next(&records[..len]).is_none(), "{len} bytes");
        }
        let (level, kind, bytes, rest) = next(&records).expect("a record");
        assert_eq!(
            (level, kind, bytes, rest),
            (libc::SOL_UDP, libc::UDP_SEGMENT, &1200_u16.to_ne_bytes()[..], &[][..])
        );
        // A length that cannot be.
        let mut records = records;
        records[..8].copy_from_slice(&3_usize.to_ne_bytes());
        assert!(next(&records).is_none());
        records[..8].copy_from_slice(&1_000_000_usize.to_ne_bytes());
        assert!(next(&records).is_none());
    }
}
