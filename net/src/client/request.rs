//! A request that is put together.

use std::fmt;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use serde::Serialize;

use super::body::Body;
use super::error::Error;
use super::response::Response;
use super::session::{Sending, Session};
use super::url::{Url, form};

/// A request that has not been sent; made by [`Session::get`] and its like. What is wrong in it is told by
/// [`send`](Self::send).
#[must_use = "a request is not sent before `send` is awaited"]
pub struct RequestBuilder {
    session: Session,
    method: Method,
    url: Result<Url, Error>,
    headers: HeaderMap,
    body: Body,
    timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    max_body: Option<usize>,
}

impl RequestBuilder {
    pub(super) fn new(session: Session, method: Method, url: Result<Url, Error>) -> Self {
        let headers = session.headers();
        Self { session, method, url, headers, body: Body::default(), timeout: None, read_timeout: None, max_body: None }
    }

    fn or_wrong<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                // The first mistake is told.
                if self.url.is_ok() {
                    self.url = Err(error);
                }
                None
            }
        }
    }

    /// With a header, in place of those that had its name.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        if let Some((name, value)) = self.or_wrong(header(name.as_ref(), value.as_ref())) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With headers, in place of those that had their names.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        for name in headers.keys() {
            self.headers.remove(name);
        }
        self.headers.extend(headers);
        self
    }

    /// With a token: `Authorization: Bearer ...`.
    pub fn bearer_auth(mut self, token: impl fmt::Display) -> Self {
        if let Some((name, mut value)) = self.or_wrong(header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }

    /// With more in the query of its URL, encoded as is needed.
    pub fn query<K: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let more = form(pairs);
        if let (Ok(url), false) = (&self.url, more.is_empty()) {
            self.url = url.with_query(&more);
        }
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// With a value as JSON for its body, and `Content-Type: application/json`, unless that is there already.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        let text = serde_json::to_vec(value).map_err(|error| Error::Request(format!("it is no JSON: {error}")));
        if let Some(text) = self.or_wrong(text) {
            self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            self.body = text.into();
        }
        self
    }

    /// With the fields of a form for its body, and the `Content-Type` of that.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.body = form(pairs).into();
        self
    }

    /// How long it may take in all; otherwise as the session has it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// How long the host may say nothing; otherwise as the session has it.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.read_timeout = Some(limit);
        self
    }

    /// How long its answer may be; otherwise as the session has it.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Sends it, and waits for the head of the answer. Any status is an answer:
    /// [`error_for_status`](Response::error_for_status) makes an error of those that are.
    ///
    /// # Errors
    ///
    /// That it cannot be sent or is not answered, and why: [`Error`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection if anything was sent by it: nobody knows how far the host has got with it.
    pub async fn send(self) -> Result<Response, Error> {
        let settings = self.session.settings();
        let sending = Sending {
            method: self.method,
            url: self.url?,
            headers: self.headers,
            body: Some(self.body),
            total: self.timeout.or(settings.total),
            read: self.read_timeout.unwrap_or(settings.read_timeout),
            max_body: self.max_body.unwrap_or(settings.max_body),
        };
        self.session.execute(sending).await
    }
}

/// A header from text.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    match (name.parse(), value.parse()) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Err(_), _) => Err(Error::Request(format!("'{name}' is no name of a header"))),
        (Ok(_), Err(_)) => {
            Err(Error::Request(format!("the value of the header '{name}' has letters that it must not")))
        }
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
