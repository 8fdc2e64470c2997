//! Sockets of the Unix family: between programs of one machine, by paths, by abstract names, or as pairs.
//!
//! Where a path is taken, one that begins with a zero byte (`"\0name"`) is an abstract name: it is in no folder, and
//! goes with the last socket that has it. A path stays when its socket is closed, and cannot be bound again until it is
//! removed ([`fs::remove_file`](https://docs.rs/corering/latest/corering/fs/fn.remove_file.html)): whether somebody
//! else listens there by now, only the program can know.

mod datagram;
mod listener;
mod seqpacket;
mod stream;

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use corering_runtime::op::{Connect, Descriptor, Op};
use socket2::{Domain, SockAddr, Type};

pub use self::datagram::UnixDatagram;
pub use self::listener::UnixListener;
pub use self::seqpacket::{UnixSeqpacket, UnixSeqpacketListener};
pub use self::stream::UnixStream;
pub use corering_runtime::op::Credentials;
pub use std::os::unix::net::SocketAddr;

/// An address of the kernel's as one of the standard library's.
pub(crate) fn address(address: SockAddr) -> io::Result<SocketAddr> {
    if let Some(name) = address.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    match address.as_pathname() {
        Some(path) => SocketAddr::from_pathname(path),
        None if address.is_unix() => unnamed(),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, "the socket's address is not one of the Unix family")),
    }
}

/// The address of a socket that has none.
pub(crate) fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

/// Who is at the other side of a connection that [`serve`](crate::serve) has accepted. Displayed, it is a path, a name
/// after an `@`, or `unnamed`.
#[derive(Clone, Debug)]
pub struct Peer(pub SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_pathname(), self.0.as_abstract_name()) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => f.write_str("unnamed"),
        }
    }
}

/// A path, or an abstract name, as the kernel takes it.
fn named(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path)
}

/// An address of the standard library's as the kernel takes it.
fn of_address(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(name) = address.as_abstract_name() {
        let mut path = vec![0];
        path.extend_from_slice(name);
        return SockAddr::unix(std::ffi::OsStr::from_bytes(&path));
    }
    match address.as_pathname() {
        Some(path) => SockAddr::unix(path),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no name")),
    }
}

/// An error of what was done with a path.
fn error_of(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let shown = path.to_string_lossy().replace('\0', "@");
    io::Error::new(error.kind(), format!("cannot {what} {shown}: {error}"))
}

fn socket(kind: Type) -> io::Result<Descriptor> {
    Descriptor::socket(Domain::UNIX, kind, None)
}

/// A socket that is bound to a path.
fn bound(kind: Type, path: &Path) -> io::Result<Descriptor> {
    let socket = socket(kind)?;
    socket.bind(&named(path)?).map_err(|error| error_of("bind to", path, &error))?;
    Ok(socket)
}

/// A socket that listens at a path.
fn listening(kind: Type, path: &Path) -> io::Result<Descriptor> {
    let socket = bound(kind, path)?;
    socket.listen(crate::listener::BACKLOG).map_err(|error| error_of("listen on", path, &error))?;
    Ok(socket)
}

/// A socket that is connected to what listens at a path.
async fn connected(kind: Type, path: &Path) -> io::Result<Descriptor> {
    let socket = socket(kind)?;
    let done = Op::new(Connect::new(&socket, named(path)?)).await;
    done.map_err(|error| error_of("connect to", path, &error))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_to_the_kernel_and_back() {
        let path = SocketAddr::from_pathname("/tmp/a").expect("a path");
        let name = SocketAddr::from_abstract_name("name").expect("a name");
        let back = |there: &SocketAddr| address(of_address(there).expect("named")).expect("of the family");
        assert_eq!(back(&path).as_pathname(), Some(Path::new("/tmp/a")));
        assert_eq!(back(&name).as_abstract_name(), Some(&b"name"[..]));
        assert_eq!(
            address(named(Path::new("\0name")).expect("short")).expect("one").as_abstract_name(),
            Some(&b"name"[..])
        );
        assert!(unnamed().expect("one").is_unnamed());
        assert!(of_address(&unnamed().expect("one")).is_err());
        assert!(named(Path::new(&"x".repeat(200))).is_err(), "too long");
    }
}
