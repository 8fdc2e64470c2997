//! Files, by paths that strangers choose.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corering::fs::{Dir, File, OpenOptions};
use corering::io;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, body::Bytes};

use crate::body::Content;

/// So much of a file is read at once, and so many reads are under way for each who asks.
const BLOCK: usize = 64 * 1024;
const AHEAD: usize = 2;

/// What is answered; the body's place is filled with what is sent.
pub(crate) type Answer = Response<Content>;

pub(crate) fn answer(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Content::Whole(text.into()));
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    answer
}

pub(crate) fn set(answer: &mut Answer, name: header::HeaderName, value: &str) {
    // All values are made here, of digits and ASCII; what would not do is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The file at a path below `root`, or why not.
///
/// # Errors
///
/// What the server is to blame for.
pub(crate) async fn file(root: &Dir, asked: &str, headers: &HeaderMap) -> io::Result<Answer> {
    let Some(mut path) = decoded(asked.trim_start_matches('/')) else {
        return Ok(answer(StatusCode::BAD_REQUEST, "that is no path\n"));
    };
    if path.is_empty() || path.ends_with(b"/") {
        path.extend_from_slice(b"index.html");
    }
    let kind = content_type(&path);
    // What is no file must not hold up the one who opens it, as a pipe without a writer would.
    let options = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK);
    // By itself, a path does not lead out of the folder that is its root.
    let file = match root.open_with(options, OsString::from_vec(path)).await {
        Ok(file) => file,
        Err(error) => return refusal(error),
    };
    let metadata = file.metadata().await?;
    if metadata.is_dir() {
        let mut answer = answer(StatusCode::MOVED_PERMANENTLY, "");
        // Relative, so that it leads to no other host, whatever the path is.
        let name = asked.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        set(&mut answer, header::LOCATION, &format!("./{name}/"));
        return Ok(answer);
    }
    if !metadata.is_file() {
        return Ok(missing());
    }
    // HTTP knows whole seconds.
    let modified = whole_seconds(metadata.modified());
    if date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        let mut answer = Response::new(Content::Whole(Bytes::new()));
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        set(&mut answer, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
        return Ok(answer);
    }
    let len = metadata.len();
    // A part of what has changed since is of no use.
    let is_same = !headers.contains_key(header::IF_RANGE) || date(headers, &header::IF_RANGE) == Some(modified);
    let wanted = headers.get(header::RANGE).filter(|_| is_same).and_then(|range| range.to_str().ok());
    let mut answer = match wanted.map_or(Wanted::Whole, |wanted| Wanted::of(wanted, len)) {
        Wanted::Whole => Response::new(part(&file, 0, len)),
        Wanted::Part { first, last } => {
            let mut answer = Response::new(part(&file, first, last - first + 1));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{len}"));
            answer
        }
        Wanted::Nothing => {
            let mut answer = answer(StatusCode::RANGE_NOT_SATISFIABLE, "");
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{len}"));
            return Ok(answer);
        }
    };
    set(&mut answer, header::CONTENT_TYPE, kind);
    set(&mut answer, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    Ok(answer)
}

fn part(file: &File, first: u64, len: u64) -> Content {
    Content::File(file.chunks(BLOCK, AHEAD).starting_at(first).at_most(len), len)
}

pub(crate) fn missing() -> Answer {
    answer(StatusCode::NOT_FOUND, "there is nothing here\n")
}

/// Not more is said than whether it can be had.
fn refusal(error: io::Error) -> io::Result<Answer> {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Ok(answer(StatusCode::FORBIDDEN, "that may not be read\n")),
        Some(libc::ENOENT | libc::ENOTDIR | libc::EXDEV | libc::ELOOP | libc::ENAMETOOLONG | libc::ENXIO) => {
            Ok(missing())
        }
        Some(_) | None => Err(error),
    }
}

fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// A path without its percent signs; none if it has a zero byte, or a sign without two digits.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).map(|digit| digit as u8);
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte => byte,
        });
    }
    (!decoded.contains(&0)).then_some(decoded)
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part {
        first: u64,
        last: u64,
    },
    /// What is not there.
    Nothing,
}

impl Wanted {
    /// What cannot be read, and several parts at once, count as if nothing was said.
    fn of(range: &str, len: u64) -> Self {
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        match (first.trim().parse(), last.trim().parse::<u64>()) {
            (Ok(first), Ok(last)) if first > last => Self::Whole,
            (Ok(first), _) if first >= len => Self::Nothing,
            (Ok(first), Ok(last)) => Self::Part { first, last: last.min(len - 1) },
            (Ok(first), Err(_)) if last.trim().is_empty() => Self::Part { first, last: len - 1 },
            (Err(_), Ok(count)) if first.trim().is_empty() => match count.min(len) {
                0 => Self::Nothing,
                count => Self::Part { first: len - count, last: len - 1 },
            },
            (_, Err(_)) | (Err(_), _) => Self::Whole,
        }
    }
}

/// By the ending of the name.
fn content_type(path: &[u8]) -> &'static str {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let ending = name.iter().rposition(|byte| *byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
    match ending.to_ascii_lowercase().as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"txt" | b"md" | b"rs" | b"toml" | b"log" => "text/plain; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"json" => "application/json",
        b"xml" => "application/xml",
        b"pdf" => "application/pdf",
        b"wasm" => "application/wasm",
        b"zip" => "application/zip",
        b"gz" => "application/gzip",
        b"svg" => "image/svg+xml",
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"ico" => "image/x-icon",
        b"mp3" => "audio/mpeg",
        b"mp4" => "video/mp4",
        b"webm" => "video/webm",
        b"woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
