//! The system's text for an error.

use std::io;

use crate::tls_error::{self, Peer};

/// The text of an error without the number that Rust appends.
pub(crate) fn strerror(error: &io::Error) -> String {
    if let Some(error) = tls_error::cause(error) {
        return tls_error::describe(error, Peer::Any);
    }
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
