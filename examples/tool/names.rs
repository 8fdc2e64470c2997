//! How names of files are printed.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as coreutils prints it in a line of its own: what would break the line is escaped, and then `true` says that
/// there has to be a backslash at the line's beginning. All other bytes come out as they are.
pub(crate) fn escaped(path: &Path) -> (Cow<'_, [u8]>, bool) {
    let bytes = path.as_os_str().as_bytes();
    if memchr::memchr3(b'\\', b'\n', b'\r', bytes).is_none() {
        return (Cow::Borrowed(bytes), false);
    }
    let mut line = Vec::with_capacity(bytes.len() + 8);
    for byte in bytes {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            other => line.push(*other),
        }
    }
    (Cow::Owned(line), true)
}

/// A path as JSON has it: what is not UTF-8 is replaced.
pub(crate) fn text(path: &Path) -> Cow<'_, str> {
    path.as_os_str().to_string_lossy()
}
