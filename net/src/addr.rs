//! What an address may be given as, and looking names up.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use corering_runtime::blocking;
use corering_runtime::op::plain;

/// An address, text that is one, or a name with a port: `"127.0.0.1:80"`, `"[::1]:80"`, `"example.org:80"`,
/// `("example.org", 80)`, a [`SocketAddr`], several of them.
///
/// Nothing is looked up before an address is needed. `localhost` is `127.0.0.1`, and then `::1`, without being looked
/// up.
pub trait ToSocketAddrs {
    /// What is meant.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no address and cannot be a name.
    fn to_target(&self) -> io::Result<Target>;
}

/// Where something is to be sent, or to listen; made by [`ToSocketAddrs::to_target`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An address.
    Address(SocketAddr),
    /// Several, the first first.
    Addresses(Vec<SocketAddr>),
    /// A host that has to be looked up.
    Name {
        /// Its name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Addresses(addresses) => {
                for (at, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if at > 0 { " or " } else { "" })?;
                }
                Ok(())
            }
            Target::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    /// The addresses, never none.
    pub(crate) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found = match self {
            Target::Address(address) => vec![*address],
            Target::Addresses(addresses) => addresses.clone(),
            Target::Name { host, port } => {
                let (name, port) = (host.clone(), *port);
                let found = blocking::call(move || plain::look_up(&name, port)).await;
                found.map_err(|error| io::Error::new(error.kind(), format!("cannot look up {host}: {error}")))?
            }
        };
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{self} has no address")));
        }
        Ok(found)
    }
}

/// Looks up the addresses of a host, by its name.
///
/// # Errors
///
/// That there is no such name, or that nobody answers who would know it (`getaddrinfo(3)`), with the name.
///
/// # Cancel safety
///
/// Dropped, it may go on for a while on a thread beside the core, for nothing.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let mut addresses = corering_net::lookup_host("localhost:80").await?;
///     assert!(addresses.all(|address| address.ip().is_loopback() && address.port() == 80));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(host.to_target()?.addresses().await?.into_iter())
}

impl ToSocketAddrs for Target {
    fn to_target(&self) -> io::Result<Target> {
        Ok(self.clone())
    }
}

impl ToSocketAddrs for SocketAddr {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Address(*self))
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Address((*self).into()))
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_target(&self) -> io::Result<Target> {
        Ok(Target::Addresses(self.to_vec()))
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_target(&self) -> io::Result<Target> {
        self.as_slice().to_target()
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_target(&self) -> io::Result<Target> {
        self.as_slice().to_target()
    }
}

macro_rules! numbers {
    ($($ip:ty),*) => {
        $(impl ToSocketAddrs for ($ip, u16) {
            fn to_target(&self) -> io::Result<Target> {
                Ok(Target::Address((self.0, self.1).into()))
            }
        })*
    };
}

numbers!(IpAddr, Ipv4Addr, Ipv6Addr, [u8; 4]);

impl ToSocketAddrs for (&str, u16) {
    fn to_target(&self) -> io::Result<Target> {
        let (host, port) = *self;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let ip = bare.parse::<Ipv4Addr>().map(IpAddr::from).or_else(|_| bare.parse::<Ipv6Addr>().map(IpAddr::from));
        if let Ok(ip) = ip {
            return Ok(Target::Address((ip, port).into()));
        }
        if host == "localhost" {
            let both = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
            return both.to_target();
        }
        if !may_be_a_name(host) {
            return Err(invalid(&format!("{host}:{port}")));
        }
        Ok(Target::Name { host: host.to_owned(), port })
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_target(&self) -> io::Result<Target> {
        (self.0.as_str(), self.1).to_target()
    }
}

impl ToSocketAddrs for str {
    fn to_target(&self) -> io::Result<Target> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Ok(Target::Address(address));
        }
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid(self))?;
        let port: u16 = port.parse().map_err(|_| invalid(self))?;
        (host, port).to_target().map_err(|_| invalid(self))
    }
}

impl ToSocketAddrs for String {
    fn to_target(&self) -> io::Result<Target> {
        self.as_str().to_target()
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    fn to_target(&self) -> io::Result<Target> {
        (**self).to_target()
    }
}

/// Whether somebody may know that name: what has a colon or a space is a slip.
fn may_be_a_name(host: &str) -> bool {
    !host.is_empty() && host.len() < 256 && !host.contains([':', '/', '[', ']', '\0', ' '])
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("'{text}' is not an address: give HOST:PORT, such as 127.0.0.1:7000, [::1]:7000 or example.org:80"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_text_a_pair_or_itself() {
        let expected = Target::Address("127.0.0.1:80".parse().expect("an address"));
        assert_eq!("127.0.0.1:80".to_target().expect("text"), expected);
        assert_eq!(("127.0.0.1", 80).to_target().expect("a pair"), expected);
        assert_eq!(([127, 0, 0, 1], 80).to_target().expect("bytes"), expected);
        assert_eq!("[::1]:9".to_target().expect("version 6"), Target::Address("[::1]:9".parse().expect("one")));
        let both = ["127.0.0.1:80", "[::1]:80"].map(|text| text.parse().expect("an address")).to_vec();
        assert_eq!("localhost:80".to_target().expect("localhost"), Target::Addresses(both));
    }

    #[test]
    fn a_name_is_one_that_is_yet_to_be_looked_up() {
        let name = Target::Name { host: "example.org".to_owned(), port: 80 };
        assert_eq!("example.org:80".to_target().expect("a name"), name);
        assert_eq!(("example.org", 80).to_target().expect("a name"), name);
        assert_eq!(name.to_string(), "example.org:80");
    }

    #[test]
    fn what_is_no_address_is_named_in_the_error() {
        for text in ["", "nonsense", ":80", "127.0.0.1", "127.0.0.1:http", "1:2:3", "a b:80", "[::1:80"] {
            let error = text.to_target().expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
