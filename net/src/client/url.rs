//! URLs, as far as they are asked: `http`, `https`, a host, a path. And what a link means on a page (RFC 3986, 5.2).

use std::fmt;

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery};

use super::error::Error;

/// A host that can be asked: what connections are kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_secure: bool,
    /// In small letters; an address of IPv6 without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_secure: bool,
    pub(super) authority: Authority,
    pub(super) path: PathAndQuery,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Url { url: text.to_owned(), reason: reason.to_owned() };
        let Some((scheme, rest)) = split_scheme(text) else {
            return Err(wrong("it does not begin with http:// or https://, and the session has no base URL"));
        };
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("only http and https are spoken")),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(wrong("after http: or https:, // and a host have to follow"));
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("names and passwords are not taken from URLs: give the header Authorization"));
        }
        if !authority.is_ascii() {
            return Err(wrong(
                "the host has letters that are not of ASCII: give its name as it is looked up (xn--...)",
            ));
        }
        let authority: Authority = match authority.parse() {
            Ok(authority) => authority,
            Err(error) => return Err(wrong(&format!("'{authority}' is no host: {error}"))),
        };
        let has_port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err(wrong("it has no host, or no port where one should be"));
        }
        let path = if path.starts_with('/') { encoded(path) } else { format!("/{}", encoded(path)) };
        let path = path.parse().map_err(|error| wrong(&format!("'{path}' is no path: {error}")))?;
        Ok(Self { is_secure, authority, path })
    }

    /// What a link means on this page.
    pub(super) fn join(&self, link: &str) -> Result<Self, Error> {
        let link = link.trim();
        if split_scheme(link).is_some() {
            return Self::parse(link);
        }
        let scheme = if self.is_secure { "https" } else { "http" };
        if link.starts_with("//") {
            return Self::parse(&format!("{scheme}:{link}"));
        }
        let link = link.split('#').next().unwrap_or(link);
        let (path, query) = match link.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (link, None),
        };
        let (path, query) = match path {
            "" => (self.path.path().to_owned(), query.or(self.path.query())),
            _ if path.starts_with('/') => (without_dots(path), query),
            _ => {
                let folder = self.path.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                (without_dots(&format!("{folder}/{path}")), query)
            }
        };
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Self::parse(&format!("{scheme}://{}{path}{query}", self.authority))
    }

    /// With more in its query.
    pub(super) fn with_query(&self, more: &str) -> Result<Self, Error> {
        let before = self.path.as_str();
        let between = match self.path.query() {
            None => "?",
            Some("") => "",
            Some(_) => "&",
        };
        let path = format!("{before}{between}{more}");
        match path.parse() {
            Ok(path) => Ok(Self { path, ..self.clone() }),
            Err(error) => Err(Error::Url { url: path, reason: format!("it is no path: {error}") }),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        let host = self.authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = self.authority.port_u16().unwrap_or(if self.is_secure { 443 } else { 80 });
        Origin { is_secure: self.is_secure, host: host.to_ascii_lowercase(), port }
    }

    /// What the header `Host` says: the port only if it is not the usual one.
    pub(super) fn host_header(&self) -> String {
        match self.authority.port_u16() {
            Some(port) if port != if self.is_secure { 443 } else { 80 } => format!("{}:{port}", self.authority.host()),
            Some(_) | None => self.authority.host().to_owned(),
        }
    }

    pub(super) fn to_uri(&self) -> Uri {
        let scheme = if self.is_secure { "https" } else { "http" };
        let parts = Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(self.path.clone());
        // Of parts that are right, the whole is.
        parts.build().unwrap_or_default()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.is_secure { "https" } else { "http" }, self.authority, self.path)
    }
}

/// The scheme, and what follows its colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_one = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    // 'localhost:80/x' has a port there.
    let is_port = !rest.starts_with("//") && rest.starts_with(|c: char| c.is_ascii_digit());
    (is_one && !is_port).then_some((scheme, rest))
}

/// A path and query in which nothing stands that must not: other letters than ASCII, blanks, quotes.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!' | b'#'..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'~' | b'|' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Names and values as forms write them.
pub(super) fn form<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> String {
    let mut text = String::new();
    let put = |part: &str, text: &mut String| {
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => text.push(byte.into()),
                b' ' => text.push('+'),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    };
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        put(name.as_ref(), &mut text);
        text.push('=');
        put(value.as_ref(), &mut text);
    }
    text
}

/// A path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Url::parse(text).expect("a URL").to_string()
    }

    #[test]
    fn a_link_means_what_rfc_3986_says() {
        let base = Url::parse("http://a/b/c/d;p?q").expect("a URL");
        // From section 5.4 of the RFC.
        for (link, meant) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("./../g", "http://a/b/g"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://B.org:1/x", "https://B.org:1/x"),
            ("\u{fc} x", "http://a/b/c/%C3%BC%20x"),
        ] {
            assert_eq!(base.join(link).expect("a link").to_string(), meant, "{link}");
        }
        for link in ["mailto:me@here", "javascript:void(0)", "ftp://a/b"] {
            assert!(base.join(link).is_err(), "{link}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        assert_eq!(parsed("HTTP://Host"), "http://Host/");
        assert_eq!(parsed("http://h?x=1"), "http://h/?x=1");
        assert_eq!(parsed("http://[::1]:8080/a b"), "http://[::1]:8080/a%20b");
        assert_eq!(parsed("http://h/%41%zz"), "http://h/%41%zz");
        for text in ["", "host/path", "/path", "http:", "http://", "http:///x", "http://me:you@h/", "http://h:x/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        for text in ["ftp://h/", "localhost:80/x", "http://h:/", "http://b\u{fc}cher/", "http://a b/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_host_and_a_port_however_they_are_written() {
        let origin = |text: &str| Url::parse(text).expect("a URL").origin();
        assert_eq!(origin("http://EXAMPLE.org/a"), origin("http://example.org:80/b"));
        assert_ne!(origin("http://example.org/"), origin("https://example.org/"));
        assert_eq!(origin("https://[::1]/").to_string(), "[::1]:443");
    }

    #[test]
    fn forms_are_written_as_browsers_do() {
        assert_eq!(form([("a b", "1&2"), ("\u{fc}", "")]), "a+b=1%262&%C3%BC=");
        let url = Url::parse("http://h/p").expect("a URL");
        let url = url.with_query("a=1").expect("one").with_query("b=2").expect("two");
        assert_eq!(url.to_string(), "http://h/p?a=1&b=2");
    }
}
