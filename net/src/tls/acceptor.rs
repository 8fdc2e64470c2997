//! The server's side.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corering_runtime::time::timeout;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::error::explained;
use super::{HANDSHAKE, TlsStream, certificates, invalid, key, protocols, provider, refused, trust};
use crate::connection::StreamSocket;

/// Makes the connections of clients secure. Clones are the same acceptor.
///
/// # Examples
///
/// A server whose certificate is replaced while it runs:
///
/// ```
/// use corering_net::{self as net, TcpListener, tls::Acceptor};
/// use corering_runtime::io::AsyncWrite;
///
/// # const CHAIN: &[u8] = include_bytes!("../../tests/pem/localhost.pem");
/// # const KEY: &[u8] = include_bytes!("../../tests/pem/localhost.key");
/// corering_runtime::run(async {
///     let acceptor = Acceptor::builder().certificate(CHAIN, KEY)?.protocols(&["http/1.1"]).build()?;
///     let accept = acceptor.clone();
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let server = net::serve(listener, async move |stream, _peer| {
///         let mut stream = accept.accept(stream).await?;
///         stream.write_all("hello").await.0?;
///         stream.shutdown().await
///     });
///     // When there is a new one; connections that there are keep what they have:
///     acceptor.replace(&Acceptor::new(CHAIN, KEY)?);
///     server.shutdown(async {}).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Acceptor {
    config: Rc<RefCell<Arc<ServerConfig>>>,
    handshake: Duration,
}

impl Acceptor {
    /// With one certificate, those of its issuers after it, and its key, both as PEM text.
    ///
    /// # Errors
    ///
    /// If either is not there, or they do not go together.
    pub fn new(chain: impl AsRef<[u8]>, private_key: impl AsRef<[u8]>) -> io::Result<Self> {
        Self::builder().certificate(chain, private_key)?.build()
    }

    /// With settings.
    pub fn builder() -> AcceptorBuilder {
        AcceptorBuilder {
            keys: Keys::default(),
            clients: RootCertStore::empty(),
            must_know_clients: true,
            protocols: Vec::new(),
            handshake: HANDSHAKE,
        }
    }

    /// As `rustls` has been told: for all that the [builder](Self::builder) has not.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config: Rc::new(RefCell::new(config)), handshake: HANDSHAKE }
    }

    /// Makes a connection secure that a client has begun.
    ///
    /// # Errors
    ///
    /// That the client breaks off, speaks no TLS, or none that this side does, or shows a certificate that is refused:
    /// [`TlsError`](super::TlsError). [`TimedOut`](io::ErrorKind::TimedOut) if the handshake takes too long.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection.
    pub async fn accept<S: StreamSocket>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = self.config.borrow().clone();
        let session = ServerConnection::new(config).map_err(|error| explained(error, None))?;
        let mut stream = TlsStream::new(stream, session, None);
        match timeout(self.handshake, stream.handshake()).await {
            Ok(done) => done.map(|()| stream),
            Err(_) => {
                let text = format!("no TLS with the client: the handshake was not over within {:?}", self.handshake);
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }

    /// From now on, connections are made secure as `other` does it: with the certificates that it has been given.
    pub fn replace(&self, other: &Self) {
        let config = other.config.borrow().clone();
        self.config.replace(config);
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("handshake", &self.handshake).finish_non_exhaustive()
    }
}

/// How an [`Acceptor`] is to be; made by [`Acceptor::builder`].
#[derive(Debug)]
pub struct AcceptorBuilder {
    keys: Keys,
    clients: RootCertStore,
    must_know_clients: bool,
    protocols: Vec<Vec<u8>>,
    handshake: Duration,
}

/// Which certificate is shown to whom.
#[derive(Debug, Default)]
struct Keys {
    /// To those who want no name that is known.
    any: Option<Arc<CertifiedKey>>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.by_name.get(&name.to_ascii_lowercase()));
        named.or(self.any.as_ref()).cloned()
    }
}

fn certified(chain: &[u8], private_key: &[u8]) -> io::Result<Arc<CertifiedKey>> {
    let key = CertifiedKey::from_der(certificates(chain)?, key(private_key)?, &provider()).map_err(refused)?;
    Ok(Arc::new(key))
}

impl AcceptorBuilder {
    /// What is shown to clients: a certificate, with those of its issuers after it, and its key, both as PEM text.
    ///
    /// # Errors
    ///
    /// If either is not there, or they do not go together.
    pub fn certificate(mut self, chain: impl AsRef<[u8]>, private_key: impl AsRef<[u8]>) -> io::Result<Self> {
        self.keys.any = Some(certified(chain.as_ref(), private_key.as_ref())?);
        Ok(self)
    }

    /// What is shown to clients that want the host of this name (SNI).
    ///
    /// # Errors
    ///
    /// As [`certificate`](Self::certificate).
    pub fn certificate_for(
        mut self,
        host: &str,
        chain: impl AsRef<[u8]>,
        private_key: impl AsRef<[u8]>,
    ) -> io::Result<Self> {
        let key = certified(chain.as_ref(), private_key.as_ref())?;
        self.keys.by_name.insert(host.to_ascii_lowercase(), key);
        Ok(self)
    }

    /// Wants certificates of clients that one of a PEM text has issued, and refuses all others.
    ///
    /// # Errors
    ///
    /// If there is none in it, or one that cannot be trusted.
    pub fn client_roots(mut self, pem: impl AsRef<[u8]>) -> io::Result<Self> {
        trust(&mut self.clients, pem.as_ref())?;
        Ok(self)
    }

    /// With [`client_roots`](Self::client_roots): lets clients in, too, that show no certificate.
    #[must_use]
    pub fn allow_unknown_clients(mut self) -> Self {
        self.must_know_clients = false;
        self
    }

    /// The protocols that may be spoken, the best first (ALPN): `["h2", "http/1.1"]`, for one. A client that speaks
    /// others is refused.
    #[must_use]
    pub fn protocols(mut self, names: &[&str]) -> Self {
        self.protocols = protocols(names);
        self
    }

    /// How long a handshake may take: 10 s, if not told.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// The acceptor.
    ///
    /// # Errors
    ///
    /// If it has no certificate.
    pub fn build(self) -> io::Result<Acceptor> {
        let Self { keys, clients, must_know_clients, protocols, handshake } = self;
        if keys.any.is_none() && keys.by_name.is_empty() {
            return Err(invalid("a server needs a certificate: AcceptorBuilder::certificate"));
        }
        let config =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(refused)?;
        let config = if clients.is_empty() {
            config.with_no_client_auth()
        } else {
            let known = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider());
            let known = if must_know_clients { known } else { known.allow_unauthenticated() };
            let known = known.build().map_err(|error| invalid(format!("clients cannot be known so: {error}")))?;
            config.with_client_cert_verifier(known)
        };
        let mut config = config.with_cert_resolver(Arc::new(keys));
        config.alpn_protocols = protocols;
        Ok(Acceptor { config: Rc::new(RefCell::new(Arc::new(config))), handshake })
    }
}
