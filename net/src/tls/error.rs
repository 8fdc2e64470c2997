//! What was wrong with the other side, in words.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why there is no TLS with the other side. It is within the [`io::Error`] of the handshake, of a read or a write:
///
/// ```
/// use corering_net::tls::TlsError;
///
/// fn has_expired(error: &std::io::Error) -> bool {
///     let refused = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
///     refused.is_some_and(|refused| refused.to_string().contains("has expired"))
/// }
/// # assert!(!has_expired(&std::io::ErrorKind::Other.into()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TlsError {
    /// Who the other side is, if it has a name.
    peer: Option<Box<str>>,
    error: rustls::Error,
}

impl TlsError {
    /// What `rustls` says.
    pub fn reason(&self) -> &rustls::Error {
        &self.error
    }

    /// Whether a certificate was refused: this side's or, if the other side has said so, by that one.
    pub fn is_certificate(&self) -> bool {
        use AlertDescription as Alert;
        match &self.error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
            rustls::Error::AlertReceived(alert) => matches!(
                alert,
                Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::CertificateRequired
                    | Alert::UnknownCA
            ),
            _ => false,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented};
        let peer = self.peer.as_deref().unwrap_or("the other side");
        match &self.error {
            InvalidCertificate(wrong) => match wrong {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    write!(f, "the certificate of {peer} has expired: {wrong}")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    write!(f, "the certificate of {peer} is not valid yet: {wrong}")
                }
                CertificateError::UnknownIssuer => write!(
                    f,
                    "the certificate of {peer} was issued by nobody who is trusted here; if it should be, trust its issuer"
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    write!(f, "the certificate is not one of {peer}: {wrong}")
                }
                CertificateError::Revoked => write!(f, "the certificate of {peer} was revoked"),
                // Of no self-made enum: the rest says itself what it is.
                other => write!(f, "the certificate of {peer} is refused: {other}"),
            },
            NoCertificatesPresented => write!(f, "{peer} has shown no certificate"),
            AlertReceived(AlertDescription::CertificateRequired) => {
                write!(f, "{peer} wants a certificate of this side")
            }
            AlertReceived(alert) => write!(f, "{peer} breaks off: {alert:?}"),
            InvalidMessage(wrong) => write!(f, "{peer} does not speak TLS, or not rightly: {wrong:?}"),
            other => write!(f, "no TLS with {peer}: {other}"),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The error of a connection, from what `rustls` says.
pub(super) fn explained(error: rustls::Error, peer: Option<&str>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TlsError { peer: peer.map(Into::into), error })
}

/// The error of an end that nobody has announced.
pub(super) fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection ended without close_notify: what was sent may have been cut",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whose_certificate_was_refused_and_why() {
        let text = |error| explained(error, Some("example.org")).to_string();
        let refused = |wrong| text(rustls::Error::InvalidCertificate(wrong));
        assert!(refused(CertificateError::Expired).starts_with("the certificate of example.org has expired"));
        assert!(refused(CertificateError::UnknownIssuer).contains("was issued by nobody who is trusted here"));
        assert!(refused(CertificateError::NotValidForName).starts_with("the certificate is not one of example.org"));
        assert!(refused(CertificateError::BadEncoding).starts_with("the certificate of example.org is refused"));
        let nothing = explained(rustls::Error::NoCertificatesPresented, None).to_string();
        assert_eq!(nothing, "the other side has shown no certificate");
    }
}
