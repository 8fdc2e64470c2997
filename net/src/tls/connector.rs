//! The client's side.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corering_runtime::blocking;
use corering_runtime::time::timeout;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{HANDSHAKE, TlsStream, certificates, invalid, key, protocols, provider, refused, trust};
use crate::connection::StreamSocket;
use crate::tls::error::explained;

/// Makes connections to servers secure. Clones are cheap, and share what speeds up the next handshake with a server.
///
/// # Examples
///
/// ```no_run
/// use corering_net::{TcpStream, tls::Connector};
/// use corering_runtime::io::{AsyncReadExt, AsyncWrite};
///
/// corering_runtime::run(async {
///     let connector = Connector::new().await?;
///     let stream = TcpStream::connect("example.org:443").await?;
///     let mut stream = connector.connect("example.org", stream).await?;
///     stream.write_all("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").await.0?;
///     let (read, page) = stream.read_to_end(Vec::new()).await;
///     read?;
///     println!("{}", String::from_utf8_lossy(&page));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    handshake: Duration,
}

impl Connector {
    /// It trusts whom this system trusts, as `curl` and Python do: the administrator decides that, in
    /// `/etc/ssl/certs`, and `SSL_CERT_FILE` and `SSL_CERT_DIR` name other places. They are read once per process.
    ///
    /// # Errors
    ///
    /// If there is none whom the system trusts: containers often lack the package `ca-certificates`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is lost.
    pub async fn new() -> io::Result<Self> {
        Self::builder().build().await
    }

    /// With settings.
    pub fn builder() -> ConnectorBuilder {
        ConnectorBuilder {
            roots: RootCertStore::empty(),
            with_system: true,
            identity: None,
            protocols: Vec::new(),
            handshake: HANDSHAKE,
        }
    }

    /// As `rustls` has been told: for all that the [builder](Self::builder) has not.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { config, handshake: HANDSHAKE }
    }

    /// With these protocols, if it has not been told any.
    #[cfg(feature = "client")]
    pub(crate) fn or_protocols(mut self, names: &[&str]) -> Self {
        if self.config.alpn_protocols.is_empty() {
            let mut config = (*self.config).clone();
            config.alpn_protocols = protocols(names);
            self.config = Arc::new(config);
        }
        self
    }

    /// Makes a connection secure, and checks that it leads to `host`: a name, or an IP address.
    ///
    /// # Errors
    ///
    /// That the other side's certificate is refused, and why; that it speaks no TLS, or none that this side does:
    /// [`TlsError`](super::TlsError). [`TimedOut`](io::ErrorKind::TimedOut) if the handshake takes too long.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection.
    pub async fn connect<S: StreamSocket>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| invalid(format!("'{host}' can be no host's name: TLS has nothing to check")))?;
        let session = ClientConnection::new(self.config.clone(), name).map_err(|error| explained(error, Some(host)))?;
        let mut stream = TlsStream::new(stream, session, Some(host));
        match timeout(self.handshake, stream.handshake()).await {
            Ok(done) => done.map(|()| stream),
            Err(_) => {
                let text = format!("no TLS with {host}: the handshake was not over within {:?}", self.handshake);
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("handshake", &self.handshake).finish_non_exhaustive()
    }
}

/// How a [`Connector`] is to be; made by [`Connector::builder`].
pub struct ConnectorBuilder {
    roots: RootCertStore,
    with_system: bool,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    protocols: Vec<Vec<u8>>,
    handshake: Duration,
}

impl ConnectorBuilder {
    /// Trusts the certificates of a PEM text, too.
    ///
    /// # Errors
    ///
    /// If there is none in it, or one that cannot be trusted.
    pub fn add_roots(mut self, pem: impl AsRef<[u8]>) -> io::Result<Self> {
        trust(&mut self.roots, pem.as_ref())?;
        Ok(self)
    }

    /// Trusts the certificates of a PEM text, and not those that the system trusts.
    ///
    /// # Errors
    ///
    /// As [`add_roots`](Self::add_roots).
    pub fn only_roots(mut self, pem: impl AsRef<[u8]>) -> io::Result<Self> {
        self.with_system = false;
        self.add_roots(pem)
    }

    /// What is shown to servers that want to know who this is: a certificate, with those of its issuers after it, and
    /// its key, both as PEM text.
    ///
    /// # Errors
    ///
    /// If either is not there.
    pub fn identity(mut self, chain: impl AsRef<[u8]>, private_key: impl AsRef<[u8]>) -> io::Result<Self> {
        self.identity = Some((certificates(chain.as_ref())?, key(private_key.as_ref())?));
        Ok(self)
    }

    /// The protocols that may be spoken, the best first (ALPN): `["h2", "http/1.1"]`, for one.
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

    /// The connector.
    ///
    /// # Errors
    ///
    /// As [`Connector::new`], unless [`only_roots`](Self::only_roots) was called; that the certificate and its key do
    /// not go together.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is lost.
    pub async fn build(self) -> io::Result<Connector> {
        let Self { mut roots, with_system, identity, protocols, handshake } = self;
        if with_system {
            roots.extend(system_roots().await?.roots.iter().cloned());
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(refused)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocols;
        Ok(Connector { config: Arc::new(config), handshake })
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder")
            .field("roots", &self.roots.len())
            .field("with_system", &self.with_system)
            .finish_non_exhaustive()
    }
}

/// Whom the system trusts. Files are read for it, beside the core, and once.
async fn system_roots() -> io::Result<&'static RootCertStore> {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots);
    }
    let (found, errors) = blocking::call(|| {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Some of what systems trust is odd; that is no reason to trust nobody.
        roots.add_parsable_certificates(loaded.certs);
        (roots, loaded.errors)
    })
    .await;
    if found.is_empty() {
        let why = errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let text = format!(
            "this system trusts no certificates{why}: install ca-certificates, name a file in SSL_CERT_FILE, or say \
             whom to trust by ConnectorBuilder::only_roots"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(ROOTS.get_or_init(|| found))
}
