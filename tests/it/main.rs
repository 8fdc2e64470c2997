//! The suite of the whole project, through the facade only.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod smoke;
