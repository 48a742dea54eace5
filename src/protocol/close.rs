//! The body of a close frame (RFC 6455 5.5.1).

use std::ops::RangeInclusive;

pub use super::close_code::CloseCode;
use super::error::{ProtocolError, SendError};

impl CloseCode {
    /// The codes that our user may send in a close frame, except those of [`Self::PSEUDO`].
    pub const SENDABLE: RangeInclusive<u16> = 1000..=4999;

    /// Codes that stand for an end without such a code (RFC 6455 7.4.1).
    pub const PSEUDO: [Self; 3] = [Self::NO_STATUS, Self::ABNORMAL, Self::TLS_HANDSHAKE];

    /// Whether our user may send this code in a close frame.
    ///
    /// This allows more than [`Self::is_receivable`]: handlers test clients with unassigned codes,
    /// so only codes that pywebsocket refuses are refused.
    ///
    /// # Errors
    /// [`SendError::CloseCodeOutOfRange`] or [`SendError::PseudoCloseCode`].
    pub fn check_sendable(self) -> Result<(), SendError> {
        if !Self::SENDABLE.contains(&self.0) {
            return Err(SendError::CloseCodeOutOfRange);
        }
        if Self::PSEUDO.contains(&self) {
            return Err(SendError::PseudoCloseCode);
        }
        Ok(())
    }
}

/// The content of a close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReason {
    /// `None` for an empty body.
    pub code: Option<CloseCode>,
    /// Empty if there is none.
    pub reason: String,
}

/// Parses the body of a received close frame.
///
/// # Errors
/// A body of one byte, a code that may not be received, a reason that is not UTF-8.
pub fn parse_body(body: &[u8]) -> Result<CloseReason, ProtocolError> {
    let [high, low, reason @ ..] = body else {
        return match body {
            [] => Ok(CloseReason { code: None, reason: String::new() }),
            _ => Err(ProtocolError::CloseBodyOfOneByte),
        };
    };
    let code = CloseCode(u16::from_be_bytes([*high, *low]));
    if !code.is_receivable() {
        return Err(ProtocolError::CloseCodeNotAllowed(code.0));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(CloseReason { code: Some(code), reason: reason.to_owned() }),
        Err(_) => Err(ProtocolError::BadCloseReason(reason.to_vec())),
    }
}

/// Formats the body of a close frame that our side sends.
///
/// # Errors
/// If the code may not be sent. The frame checks the length.
pub fn format_body(code: CloseCode, reason: &str) -> Result<Vec<u8>, SendError> {
    code.check_sendable()?;
    Ok([&code.0.to_be_bytes()[..], reason.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_what_pywebsocket_sends() {
        for code in [1000, 1004, 1016, 2999, 3000, 4999] {
            assert_eq!(CloseCode(code).check_sendable(), Ok(()), "{code}");
        }
        assert_eq!(CloseCode(999).check_sendable(), Err(SendError::CloseCodeOutOfRange));
        assert_eq!(CloseCode(5000).check_sendable(), Err(SendError::CloseCodeOutOfRange));
        for code in [1005, 1006, 1015] {
            let refused = CloseCode(code).check_sendable();
            assert_eq!(refused, Err(SendError::PseudoCloseCode), "{code}");
        }
    }

    #[test]
    fn formats_what_a_peer_parses() {
        assert_eq!(format_body(CloseCode(1001), ""), Ok(b"\x03\xe9".to_vec()));
        assert_eq!(format_body(CloseCode(3000), "bye"), Ok(b"\x0b\xb8bye".to_vec()));
        assert_eq!(format_body(CloseCode(1005), ""), Err(SendError::PseudoCloseCode));
    }

    #[test]
    fn parses_bodies_of_every_shape() {
        assert_eq!(parse_body(b""), Ok(CloseReason { code: None, reason: String::new() }));
        assert_eq!(parse_body(b"\x03"), Err(ProtocolError::CloseBodyOfOneByte));
        assert_eq!(
            parse_body(b"\x0b\xb8bye"),
            Ok(CloseReason { code: Some(CloseCode(3000)), reason: "bye".into() })
        );
        assert_eq!(parse_body(b"\x03\xe7"), Err(ProtocolError::CloseCodeNotAllowed(999)));
        assert_eq!(parse_body(b"\x03\xe8\xff"), Err(ProtocolError::BadCloseReason(vec![0xff])));
    }
}
