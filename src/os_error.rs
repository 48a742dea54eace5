//! Texts for errors of files and sockets: the system's, or those of TLS.

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

/// Why a TLS handshake has failed. `first`: the first bytes of the peer.
pub(crate) fn describe_handshake(error: &io::Error, peer: Peer, first: &[u8]) -> String {
    let name = peer.name();
    match tls_error::cause(error) {
        Some(rustls::Error::InvalidMessage(_)) if tls_error::is_record(first) == Some(false) => {
            format!("{name} does not speak TLS")
        }
        Some(error) => tls_error::describe(error, peer),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{name} ended the connection")
        }
        None => strerror(error),
    }
}
