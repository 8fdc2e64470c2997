//! An answer, and the reading of it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use corering_runtime::time::{Instant, timeout_at};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode, Uri, Version};
use serde::de::DeserializeOwned;

use super::error::{Error, Phase};
use super::host::Exchange;
use super::session::Sending;
use super::url::{Origin, Url};

/// So many bytes are made room for at once, whatever an answer says of its length.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// What came, and by which connection.
pub(super) struct Answer {
    pub(super) response: hyper::Response<Incoming>,
    pub(super) exchange: Exchange,
    pub(super) origin: Origin,
}

/// An answer, of which the head has come. Its body comes when it is read.
///
/// Read to its end, it gives its connection back for the next request. Dropped before, it closes that, unless it is
/// one of HTTP/2, by which others go.
pub struct Response {
    head: Parts,
    body: Incoming,
    /// None once the body has ended, or failed.
    exchange: Option<Exchange>,
    url: Url,
    origin: Origin,
    redirects: usize,
    read: Duration,
    total: Option<(Instant, Duration)>,
    max_body: usize,
}

impl Response {
    pub(super) fn new(answer: Answer, sending: &Sending, total: Option<(Instant, Duration)>, redirects: usize) -> Self {
        let Answer { response, exchange, origin } = answer;
        let (head, body) = response.into_parts();
        let mut response = Self {
            head,
            body,
            exchange: Some(exchange),
            url: sending.url.clone(),
            origin,
            redirects,
            read: sending.read,
            total,
            max_body: sending.max_body,
        };
        response.end_if_it_has();
        response
    }

    /// What it says: that it went well, or not.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header as text; none if it is not there, or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Who has answered in the end, after all that have sent the request on.
    pub fn url(&self) -> Uri {
        self.url.to_uri()
    }

    /// How often the request was sent on.
    pub fn redirects(&self) -> usize {
        self.redirects
    }

    /// What a link in it means, as an URL to ask.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if it leads to what cannot be asked: `mailto:`, for one.
    pub fn join(&self, link: &str) -> Result<Uri, Error> {
        Ok(self.url.join(link)?.to_uri())
    }

    /// How many bytes its body still has, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// An error if it says that the request has failed: a status of 400 and more.
    ///
    /// # Errors
    ///
    /// [`Error::Status`].
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(Error::Status { url: self.url.to_string(), status });
        }
        Ok(self)
    }

    /// The next part of its body, as it comes; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if it breaks off; [`Error::Timeout`]. The connection is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses nothing: the next call gives what has come.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use corering_net::client::{Error, Session};
    ///
    /// # corering_runtime::run(async {
    /// let mut response = Session::new().get("http://example.org/large").send().await?;
    /// let mut bytes = 0;
    /// while let Some(chunk) = response.chunk().await? {
    ///     bytes += chunk.len();
    /// }
    /// println!("{bytes} bytes");
    /// # Ok::<(), Error>(())
    /// # })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while self.exchange.is_some() {
            let silent = Instant::now() + self.read;
            let (deadline, limit) = match self.total {
                Some((total, limit)) if total < silent => (total, limit),
                _ => (silent, self.read),
            };
            let body = &mut self.body;
            let frame = match timeout_at(deadline, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await {
                Ok(frame) => frame,
                Err(_) => {
                    self.exchange = None;
                    return Err(Error::Timeout { host: self.origin.to_string(), phase: Phase::Read, limit });
                }
            };
            match frame {
                Some(Ok(frame)) => {
                    self.end_if_it_has();
                    // What follows the body in some is not asked for.
                    if let Ok(bytes) = frame.into_data() {
                        if !bytes.is_empty() {
                            return Ok(Some(bytes));
                        }
                    }
                }
                Some(Err(source)) => {
                    self.exchange = None;
                    return Err(Error::Read { host: self.origin.to_string(), source });
                }
                None => self.end(),
            }
        }
        Ok(None)
    }

    fn end(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end();
        }
    }

    /// Gives the connection back as early as can be: nobody has to ask for an end that is known.
    fn end_if_it_has(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    /// Its whole body; nothing, if it has been read already.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk); [`Error::TooLong`] if it is longer than
    /// [`max_body`](super::SessionBuilder::max_body) says, at once if that is known beforehand.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what it has read is gone; the rest can still be read.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let limit = self.max_body;
        let too_long = |this: &Self| Error::TooLong { host: this.origin.to_string(), limit };
        if self.body.size_hint().lower() > limit as u64 {
            return Err(too_long(self));
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(too_long(self));
        }
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let left = usize::try_from(self.body.size_hint().lower()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(first.len() + second.len() + left.min(limit).min(MOST_AT_ONCE));
        bytes.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if bytes.len() + chunk.len() > limit {
                return Err(too_long(self));
            }
            bytes.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(bytes.into())
    }

    /// Its whole body as text. What is not UTF-8 in it becomes U+FFFD; other encodings are not known here.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn text(&mut self) -> Result<String, Error> {
        let bytes = Vec::from(self.bytes().await?);
        Ok(String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()))
    }

    /// Its whole body as a value that is written as JSON.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes); [`Error::Json`] if it is not such a value.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { host: self.origin.to_string(), source })
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("url", &format_args!("{}", self.url))
            .field("status", &self.head.status)
            .field("headers", &self.head.headers)
            .finish_non_exhaustive()
    }
}
