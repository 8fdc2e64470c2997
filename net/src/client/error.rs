//! What can go wrong, and where.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;

/// Where a request was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waited for a connection that others use.
    Wait,
    /// The host's name was looked up.
    Resolve,
    /// A connection was made.
    Connect,
    /// TLS was agreed on.
    Tls,
    /// The request was sent, and the head of the answer waited for.
    Send,
    /// The body of the answer was read.
    Read,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "no connection was free",
            Self::Resolve => "its name was not looked up",
            Self::Connect => "it did not accept the connection",
            Self::Tls => "TLS was not agreed on",
            Self::Send => "no answer came",
            Self::Read => "the answer did not go on",
        })
    }
}

/// Why there is no answer, or not all of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What was given is no URL to ask.
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be sent: a header or a body that is none.
    Request(String),
    /// The host's name cannot be looked up.
    Resolve {
        /// The host, with its port.
        host: String,
        /// What was said.
        source: io::Error,
    },
    /// There is no connection to the host.
    Connect {
        /// The host, with its port.
        host: String,
        /// What was said.
        source: io::Error,
    },
    /// There is no TLS with the host. That says whether its certificate was refused: see
    #[cfg_attr(feature = "tls", doc = "[`TlsError`](crate::tls::TlsError).")]
    #[cfg_attr(not(feature = "tls"), doc = "`tls::TlsError`.")]
    Tls {
        /// The host, with its port.
        host: String,
        /// What was said.
        source: io::Error,
    },
    /// The request was not sent, or not answered.
    Send {
        /// The host, with its port.
        host: String,
        /// What was said.
        source: hyper::Error,
    },
    /// The answer was not read to its end.
    Read {
        /// The host, with its port.
        host: String,
        /// What was said.
        source: hyper::Error,
    },
    /// It took too long.
    Timeout {
        /// The host, with its port.
        host: String,
        /// Where it was then.
        phase: Phase,
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// The hosts sent it on too often.
    Redirects {
        /// Where it should have gone next.
        url: String,
        /// How often it may be sent on.
        limit: usize,
    },
    /// The answer is longer than is allowed.
    TooLong {
        /// The host, with its port.
        host: String,
        /// How many bytes are allowed.
        limit: usize,
    },
    /// The answer says that the request has failed; made by [`error_for_status`](super::Response::error_for_status).
    Status {
        /// What was asked.
        url: String,
        /// What it says.
        status: StatusCode,
    },
    /// The answer is not the JSON that was wanted.
    Json {
        /// The host, with its port.
        host: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The session is closed.
    Closed,
}

impl Error {
    /// Whether it took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Whether the host was not reached at all: nothing has been asked.
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Tls { .. } => true,
            Self::Timeout { phase, .. } => match phase {
                Phase::Wait | Phase::Resolve | Phase::Connect | Phase::Tls => true,
                Phase::Send | Phase::Read => false,
            },
            Self::Url { .. }
            | Self::Request(_)
            | Self::Send { .. }
            | Self::Read { .. }
            | Self::Redirects { .. }
            | Self::TooLong { .. }
            | Self::Status { .. }
            | Self::Json { .. }
            | Self::Closed => false,
        }
    }

    /// What the answer said, if it was that.
    pub fn status(&self) -> Option<StatusCode> {
        if let Self::Status { status, .. } = self { Some(*status) } else { None }
    }
}

/// An error and what it came of, which `hyper` does not say by itself.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text += &format!(": {error}");
        next = error.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { url, reason } => write!(f, "'{url}' cannot be asked: {reason}"),
            Self::Request(reason) => write!(f, "the request cannot be sent: {reason}"),
            // These name the host themselves.
            Self::Resolve { source, .. } | Self::Connect { source, .. } => source.fmt(f),
            Self::Tls { host, source } => write!(f, "no TLS with {host}: {source}"),
            Self::Send { host, source } => write!(f, "no answer from {host}: {}", chain(source)),
            Self::Read { host, source } => write!(f, "the answer of {host} breaks off: {}", chain(source)),
            Self::Timeout { host, phase, limit } => write!(f, "{host} took too long: {phase} within {limit:?}"),
            Self::Redirects { url, limit } => {
                write!(f, "sent on more than {limit} times, at last to {url}: the hosts may do so for ever")
            }
            Self::TooLong { host, limit } => write!(f, "the answer of {host} is longer than {limit} bytes"),
            Self::Status { url, status } => write!(f, "{url} answers {status}"),
            Self::Json { host, source } => write!(f, "the answer of {host} is not the JSON that is wanted: {source}"),
            Self::Closed => f.write_str("the session is closed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Resolve { source, .. } | Self::Connect { source, .. } | Self::Tls { source, .. } => Some(source),
            Self::Send { source, .. } | Self::Read { source, .. } => Some(source),
            Self::Json { source, .. } => Some(source),
            Self::Url { .. }
            | Self::Request(_)
            | Self::Timeout { .. }
            | Self::Redirects { .. }
            | Self::TooLong { .. }
            | Self::Status { .. }
            | Self::Closed => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Url { .. } | Error::Request(_) => io::ErrorKind::InvalidInput,
            Error::Resolve { source, .. } | Error::Connect { source, .. } | Error::Tls { source, .. } => source.kind(),
            Error::Timeout { .. } => io::ErrorKind::TimedOut,
            Error::Json { .. } => io::ErrorKind::InvalidData,
            Error::Send { .. }
            | Error::Read { .. }
            | Error::Redirects { .. }
            | Error::TooLong { .. }
            | Error::Status { .. }
            | Error::Closed => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
