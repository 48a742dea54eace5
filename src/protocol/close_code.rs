//! Close codes (RFC 6455 7.4).

use tungstenite::protocol::frame::coding::CloseCode as Registry;

/// A close code, which may be any number. Its methods say whether it may be sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The connection has fulfilled its purpose.
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
    /// The peer has broken a rule of the server's own.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The server cannot go on.
    pub const UNEXPECTED: Self = Self(1011);
    /// A message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// Pseudo code: the TLS handshake failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a peer may send this code in a close frame (RFC 6455 7.4 and the IANA registry).
    pub fn is_receivable(self) -> bool {
        // 1014, bad gateway, was registered later, and tungstenite does not know it
        self.0 == 1014 || Registry::from(self.0).is_allowed()
    }

    /// Whether our side waits for the peer's close frame after sending this code.
    ///
    /// A peer that broke the protocol may never answer, and a server that goes away will not wait
    /// (pywebsocket's rule).
    pub fn expects_answer(self) -> bool {
        self != Self::GOING_AWAY && self != Self::PROTOCOL_ERROR
    }
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
    fn a_peer_at_fault_and_a_server_that_leaves_need_no_answer() {
        assert!(!CloseCode(1001).expects_answer());
        assert!(!CloseCode(1002).expects_answer());
        for code in [1000, 1003, 1005, 1007, 1011, 3000] {
            assert!(CloseCode(code).expects_answer(), "{code}");
        }
    }
}
