//! TLS for both sides of a connection, by `rustls` (feature `tls`).
//!
//! ```text
//!            handshake                    read:  receive --> rustls --> plain bytes
//!  stream --------------> TlsStream
//!   Connector | Acceptor                  write: plain bytes --> rustls --> sendmsg(2), as a PollStream writes
//! ```
//!
//! The safe things are the default: TLS 1.2 and 1.3, the certificates of the system's administrator, names that are
//! checked, handshakes that have a limit. A connection that ends without having said so (`close_notify`) is an error,
//! since somebody else may have cut it; and one that is [shut down](corering_runtime::io::AsyncWrite::shutdown) says
//! so.
//!
//! # Examples
//!
//! ```
//! use corering_net::tls::{Acceptor, Connector};
//! use corering_net::{TcpListener, TcpStream};
//! use corering_runtime::io::{AsyncReadExt, AsyncWrite};
//!
//! # const CHAIN: &[u8] = include_bytes!("../../tests/pem/localhost.pem");
//! # const KEY: &[u8] = include_bytes!("../../tests/pem/localhost.key");
//! # const ROOT: &[u8] = include_bytes!("../../tests/pem/root.pem");
//! corering_runtime::run(async {
//!     let acceptor = Acceptor::new(CHAIN, KEY)?; // the text of PEM files
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let server = corering_runtime::spawn(async move {
//!         let (stream, _peer) = listener.accept().await?;
//!         let mut stream = acceptor.accept(stream).await?;
//!         stream.write_all("hello").await.0?;
//!         stream.shutdown().await
//!     });
//!
//!     let connector = Connector::builder().only_roots(ROOT)?.build().await?;
//!     let mut stream = connector.connect("localhost", TcpStream::connect(address).await?).await?;
//!     let (read, greeting) = stream.read_to_string(String::new()).await;
//!     assert_eq!((read?, greeting.as_str()), (5, "hello"));
//!     server.await.unwrap()
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```

mod acceptor;
mod connector;
mod error;
mod stream;

pub use self::acceptor::{Acceptor, AcceptorBuilder};
pub use self::connector::{Connector, ConnectorBuilder};
pub use self::error::TlsError;
pub use self::stream::TlsStream;
/// The library that does the work, for settings that are not here.
pub use rustls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long a handshake may take, unless told otherwise.
const HANDSHAKE: Duration = Duration::from_secs(10);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// The certificates of a PEM text.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(invalid("the PEM text has no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(invalid(format!("the PEM text of the certificates is broken: {error}"))),
    }
}

fn key(pem: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| invalid(format!("the PEM text has no private key: {error}")))
}

/// Adds the certificates of a PEM text to those that are trusted.
fn trust(roots: &mut RootCertStore, pem: &[u8]) -> io::Result<()> {
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| invalid(format!("no certificate to be trusted: {error}")))?;
    }
    Ok(())
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// What settings that do not go together say.
fn refused(error: rustls::Error) -> io::Error {
    invalid(format!("TLS cannot be set up so: {error}"))
}
