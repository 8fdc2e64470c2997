//! CONNECT of HTTP/1 (RFC 9110, 9.3.6): where a client wants to go, whether it may, and what it is told if not.

use std::fmt;
use std::str::FromStr;

use corering::io::AsyncRead as _;
use corering::net::{Shutdown, TcpStream};
use corering::time::{Duration, timeout};

/// So long may a head be.
const LONGEST_HEAD: usize = 16 * 1024;
/// So long, and so many bytes, a client that is refused may go on before it is cut off: it shall read why.
const LAST_WORD: Duration = Duration::from_secs(1);
const LAST_BYTES: usize = 64 * 1024;

/// Why a client does not get what it asks for.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    reason: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    fn name(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            403 => "Forbidden",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            502 => "Bad Gateway",
            504 => "Gateway Timeout",
            _ => "Refused",
        }
    }

    /// Answers so, and closes.
    pub(crate) async fn tell(&self, mut client: TcpStream) {
        let Self { status, reason } = self;
        let allow = if *status == 405 { "Allow: CONNECT\r\n" } else { "" };
        let (name, length) = (self.name(), reason.len() + 1);
        let answer = format!(
            "HTTP/1.1 {status} {name}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{reason}\n"
        );
        let told = async {
            client.write_all(answer).await.0?;
            client.shutdown(Shutdown::Write).await?;
            // What is closed with something unread in it is reset, and the answer lost.
            let mut left = LAST_BYTES;
            while let Some(chunk) = client.recv().await?.filter(|chunk| chunk.len() <= left) {
                left -= chunk.len();
            }
            corering::io::Result::Ok(())
        };
        // Who has gone, or waits for ever, is not to be told.
        drop(timeout(LAST_WORD, told).await);
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

/// Where a client wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The head of a request. What came behind it is given back to the stream.
pub(crate) async fn head(client: &mut TcpStream) -> Result<Vec<u8>, Refusal> {
    let mut head = Vec::new();
    loop {
        let chunk = match client.recv().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(Refusal::new(400, "the connection ended within the head")),
            Err(error) => return Err(Refusal::new(400, error.to_string())),
        };
        // The end may lie across two chunks.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&chunk);
        let end = head[from..].windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| from + at + 4);
        if let Some(end) = end.filter(|end| *end <= LONGEST_HEAD) {
            client.put_back(head.split_off(end));
            return Ok(head);
        }
        if head.len() > LONGEST_HEAD {
            return Err(Refusal::new(431, format!("a head may be {LONGEST_HEAD} bytes long")));
        }
    }
}

/// What its first line asks for.
pub(crate) fn target(head: &[u8]) -> Result<Target, Refusal> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Refusal::new(400, "the request is no text"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(Refusal::new(400, "a request begins with a method, a target and a version"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Refusal::new(400, "this proxy speaks HTTP/1"));
    }
    if !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Refusal::new(400, "a request begins with a method, which is a word"));
    }
    if method != "CONNECT" {
        return Err(Refusal::new(405, format!("{method} is not what this proxy does: it knows CONNECT alone")));
    }
    let place = target.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match place {
        Some((host, port)) if is_host(host) && port > 0 => Ok(Target { host: host.to_ascii_lowercase(), port }),
        Some(_) | None => Err(Refusal::new(400, "CONNECT wants HOST:PORT")),
    }
}

/// A name, or an address, of version 6 in brackets.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.len() <= 253 && text.bytes().all(is_of_names)
        }
    }
}

/// Where clients may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    host: Host,
    /// None for all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    All,
    /// Everything that ends so, with the dot.
    Below(String),
    Named(String),
}

impl Allowed {
    pub(crate) fn allows(&self, target: &Target) -> bool {
        // A name may end with the dot of the root.
        let asked = target.host.strip_suffix('.').unwrap_or(&target.host);
        let host = match &self.host {
            Host::All => true,
            Host::Below(end) => asked.len() > end.len() && asked.ends_with(end.as_str()),
            Host::Named(name) => asked == name,
        };
        host && self.port.is_none_or(|port| port == target.port)
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            Some(_) | None => (text, "443"),
        };
        let port = match port {
            "*" => None,
            port => Some(port.parse().map_err(|_| format!("{port} is no port: give a number, or * for all"))?),
        };
        let host = host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some("") => Host::All,
            Some(end) if end.starts_with('.') && is_host(&end[1..]) => Host::Below(end.to_owned()),
            None if is_host(&host) => Host::Named(host),
            Some(_) | None => return Err(format!("{host} is no host: give a name, an address, *.DOMAIN or *")),
        };
        Ok(Self { host, port })
    }
}
