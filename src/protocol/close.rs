//! Close codes and the body of a close frame (RFC 6455 5.5.1 and 7.4).

use tungstenite::protocol::frame::coding::CloseCode as Registry;

use super::error::{ProtocolError, SendError};

/// A close code as a number; what may be sent and what may be received are questions to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server is going down.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Pseudo code: a close frame without a code was received.
    pub const NO_STATUS: Self = Self(1005);
    /// Pseudo code: the connection ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// The payload does not fit its type.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The server cannot go on.
    pub const UNEXPECTED: Self = Self(1011);
    /// A message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// Pseudo code: the TLS handshake failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a peer may put it into a close frame (RFC 6455 7.4, and the registry it founds).
    pub fn is_receivable(self) -> bool {
        // 1014, bad gateway, has been registered since, and tungstenite does not know it
        self.0 == 1014 || Registry::from(self.0).is_allowed()
    }

    /// Whether our user may put it into a close frame.
    ///
    /// Wider than [`Self::is_receivable`]: handlers test clients with unassigned codes, so only
    /// what pywebsocket refuses is refused.
    ///
    /// # Errors
    /// [`SendError::CloseCodeOutOfRange`] or [`SendError::PseudoCloseCode`].
    pub fn check_sendable(self) -> Result<(), SendError> {
        match self {
            Self(..=999 | 5000..) => Err(SendError::CloseCodeOutOfRange),
            Self::NO_STATUS | Self::ABNORMAL | Self::TLS_HANDSHAKE => {
                Err(SendError::PseudoCloseCode)
            }
            _ => Ok(()),
        }
    }

    /// Whether our side waits for the peer's close frame after sending this code.
    ///
    /// A peer that broke the protocol may never answer, and a server that goes away will not wait
    /// (pywebsocket's rule).
    pub fn expects_answer(self) -> bool {
        self != Self::GOING_AWAY && self != Self::PROTOCOL_ERROR
    }
}

/// What a close frame says.
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
/// If the code may not be sent. The length is the frame's business.
pub fn format_body(code: CloseCode, reason: &str) -> Result<Vec<u8>, SendError> {
    code.check_sendable()?;
    Ok([&code.0.to_be_bytes()[..], reason.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_codes_of_the_registry_and_of_applications() {
        for code in
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999]
        {
            assert!(CloseCode(code).is_receivable(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!CloseCode(code).is_receivable(), "{code}");
        }
    }

    #[test]
    fn sends_what_pywebsocket_sends() {
        for code in [1000, 1004, 1016, 2999, 3000, 4999] {
            assert_eq!(CloseCode(code).check_sendable(), Ok(()), "{code}");
        }
        assert_eq!(CloseCode(999).check_sendable(), Err(SendError::CloseCodeOutOfRange));
        assert_eq!(CloseCode(5000).check_sendable(), Err(SendError::CloseCodeOutOfRange));
        assert_eq!(CloseCode(1006).check_sendable(), Err(SendError::PseudoCloseCode));
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
