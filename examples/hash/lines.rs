//! Lines with digests: as they are printed, and read again.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Algorithm, Digest};
use crate::tool::{Telling, escaped, text};

#[derive(Serialize)]
struct Object<'a> {
    path: Cow<'a, str>,
    algorithm: &'a str,
    digest: String,
    bytes: u64,
}

/// The line of a file.
pub(crate) fn line(
    telling: &Telling,
    tag: bool,
    algorithm: Algorithm,
    path: &Path,
    digest: &Digest,
    bytes: u64,
) -> Vec<u8> {
    if telling.json {
        let object = Object { path: text(path), algorithm: algorithm.name(), digest: digest.to_string(), bytes };
        let mut line = serde_json::to_vec(&object).unwrap_or_default();
        line.push(b'\n');
        return line;
    }
    let (name, is_escaped) =
        if telling.null { (Cow::Borrowed(path.as_os_str().as_bytes()), false) } else { escaped(path) };
    let mut line = Vec::with_capacity(name.len() + 80);
    if is_escaped {
        line.push(b'\\');
    }
    if tag {
        line.extend_from_slice(algorithm.tag().as_bytes());
        line.extend_from_slice(b" (");
        line.extend_from_slice(&name);
        line.extend_from_slice(b") = ");
        line.extend_from_slice(&digest.hex());
    } else {
        line.extend_from_slice(&digest.hex());
        line.extend_from_slice(b"  ");
        line.extend_from_slice(&name);
    }
    line.push(telling.end());
    line
}

/// What a line says that a file's digest is.
pub(crate) struct Claim {
    pub(crate) algorithm: Algorithm,
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
}

impl Claim {
    /// Reads a line of ours, of sha256sum or b3sum, tagged or not. `algorithm` is what untagged lines are about.
    pub(crate) fn parse(line: &[u8], algorithm: Algorithm, escapes: bool) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (line, is_escaped) = match line.strip_prefix(b"\\") {
            Some(rest) if escapes => (rest, true),
            Some(_) | None => (line, false),
        };
        let (algorithm, digest, name) = tagged(line).or_else(|| {
            let (digits, rest) = line.split_at_checked(64)?;
            // Two blanks, or one and a star for what was read as binary, which is no difference here.
            let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
            Some((algorithm, Digest::parse(digits)?, name))
        })?;
        let name = if is_escaped { unescaped(name)? } else { name.to_vec() };
        Some(Self { algorithm, digest, path: PathBuf::from(OsString::from_vec(name)) })
            .filter(|claim| !claim.path.as_os_str().is_empty())
    }
}

fn tagged(line: &[u8]) -> Option<(Algorithm, Digest, &[u8])> {
    [Algorithm::Blake3, Algorithm::Sha256].into_iter().find_map(|algorithm| {
        let rest = line.strip_prefix(algorithm.tag().as_bytes())?.strip_prefix(b" (")?;
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        Some((algorithm, Digest::parse(digits)?, rest.strip_suffix(b") = ")?))
    })
}

fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = name.iter();
    let mut plain = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(plain)
}
