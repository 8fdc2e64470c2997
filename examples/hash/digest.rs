//! The digests.

use std::fmt;

use clap::ValueEnum;
use sha2::Digest as _;

/// Which digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    Blake3,
    Sha256,
}

/// A digest of either kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// A digest that is being computed.
pub(crate) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(Box<sha2::Sha256>),
}

impl Algorithm {
    pub(crate) fn begin(self) -> Hasher {
        match self {
            Algorithm::Blake3 => Hasher::Blake3(Box::default()),
            Algorithm::Sha256 => Hasher::Sha256(Box::default()),
        }
    }

    /// As coreutils and JSON write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Blake3 => "blake3",
            Algorithm::Sha256 => "sha256",
        }
    }

    pub(crate) fn tag(self) -> &'static str {
        match self {
            Algorithm::Blake3 => "BLAKE3",
            Algorithm::Sha256 => "SHA256",
        }
    }
}

impl Hasher {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn end(self) -> Digest {
        match self {
            Hasher::Blake3(hasher) => Digest(*hasher.finalize().as_bytes()),
            Hasher::Sha256(hasher) => Digest(hasher.finalize().into()),
        }
    }
}

impl Digest {
    /// From 64 hexadecimal digits.
    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16);
            *byte = (value(digits[0])? << 4 | value(digits[1])?) as u8;
        }
        Some(Self(bytes))
    }

    pub(crate) fn hex(&self) -> [u8; 64] {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        let mut digits = [0; 64];
        for (digits, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        digits
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.hex()))
    }
}
