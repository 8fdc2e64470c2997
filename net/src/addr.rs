//! What an address may be given as.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address, or text that is one: `"127.0.0.1:80"`, `"[::1]:80"`, `("127.0.0.1", 80)`, a [`SocketAddr`].
///
/// Names are not looked up, except `localhost`, which is `127.0.0.1`.
pub trait ToSocketAddrs {
    /// The address.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is none.
    fn to_socket_addr(&self) -> io::Result<SocketAddr>;
}

impl ToSocketAddrs for SocketAddr {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        Ok(*self)
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        Ok((*self).into())
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        Ok((*self).into())
    }
}

macro_rules! numbers {
    ($($ip:ty),*) => {
        $(impl ToSocketAddrs for ($ip, u16) {
            fn to_socket_addr(&self) -> io::Result<SocketAddr> {
                Ok((self.0, self.1).into())
            }
        })*
    };
}

numbers!(IpAddr, Ipv4Addr, Ipv6Addr, [u8; 4]);

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        let (host, port) = *self;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let ip = match host {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => host
                .parse::<Ipv4Addr>()
                .map(IpAddr::from)
                .or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::from))
                .map_err(|_| invalid(&format!("{host}:{port}")))?,
        };
        Ok((ip, port).into())
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Ok(address);
        }
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid(self))?;
        let port: u16 = port.parse().map_err(|_| invalid(self))?;
        (host, port).to_socket_addr().map_err(|_| invalid(self))
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_socket_addr()
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_socket_addr()
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("'{text}' is not an address: give IP:PORT, such as 127.0.0.1:7000 or [::1]:7000"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_text_a_pair_or_itself() {
        let expected: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        assert_eq!("127.0.0.1:80".to_socket_addr().expect("text"), expected);
        assert_eq!("localhost:80".to_socket_addr().expect("localhost"), expected);
        assert_eq!(("127.0.0.1", 80).to_socket_addr().expect("a pair"), expected);
        assert_eq!(([127, 0, 0, 1], 80).to_socket_addr().expect("bytes"), expected);
        assert!("[::1]:9".to_socket_addr().expect("version 6").is_ipv6());
    }

    #[test]
    fn what_is_no_address_is_named_in_the_error() {
        for text in ["", "example.org:80", "127.0.0.1", "127.0.0.1:http", "1:2:3"] {
            let error = text.to_socket_addr().expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
