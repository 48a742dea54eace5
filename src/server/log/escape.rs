//! Text from outside, fit for a log.

use std::fmt::Write;

/// Prepares text from outside for the log: control characters are escaped as in Python.
pub(in crate::server) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            // writing to a string does not fail
            let _ = write!(printable, "\\x{:02x}", u32::from(c));
        } else {
            printable.push(c);
        }
    }
    printable
}
