//! Errors, grouped by the side at fault and by what the peer sees.
//!
//! * [`ProtocolError`]: the peer broke a rule; knows its close code.
//! * [`HandshakeError`]: the request is not an acceptable opening handshake; knows its status.
//! * [`AnswerError`]: a server's answer has extensions that it must not have; the client fails the
//!   connection.
//! * [`SendError`]: our user asked for something that may not be sent.

use thiserror::Error;

use super::close_code::CloseCode;

/// The peer broke a rule of RFC 6455 or RFC 7692, or a limit.
///
/// The texts are those of pywebsocket's exceptions, so that handlers that print them and tests that
/// compare them see no difference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RFC 6455 5.1: clients mask, servers do not.
    #[error(
        "Mask bit on the received frame did'nt match masking configuration for received frames"
    )]
    WrongMaskBit,
    /// RFC 6455 5.2: the most significant bit of a 64-bit length is zero.
    #[error("Extended payload length >= 2^63")]
    LengthOutOfRange,
    /// RFC 6455 5.5.
    #[error("Payload data size of control frames must be 125 bytes or less")]
    ControlFrameTooLong,
    /// RFC 6455 5.5.
    #[error("Control frames must not be fragmented")]
    FragmentedControlFrame,
    /// RFC 6455 5.2, bits as RSV1, RSV2, RSV3.
    #[error("Unsupported flag is set (rsv = {}{}{})", (.0 >> 2) & 1, (.0 >> 1) & 1, .0 & 1)]
    ReservedBits(u8),
    /// RFC 6455 5.2.
    #[error("Opcode {0} is not supported")]
    ReservedOpcode(u8),
    /// RFC 6455 5.4: a final continuation with nothing to continue.
    #[error("Received a termination frame but fragmentation not started")]
    EndWithoutStart,
    /// RFC 6455 5.4: a continuation with nothing to continue.
    #[error("Received an intermediate frame but fragmentation not started")]
    ContinuationWithoutStart,
    /// RFC 6455 5.4: a whole message inside a fragmented one.
    #[error("Received an unfragmented frame without terminating existing fragmentation")]
    MessageInsideMessage,
    /// RFC 6455 5.4: a second fragmented message inside the first.
    #[error("New fragmentation started without terminating existing fragmentation")]
    StartInsideMessage,
    /// RFC 6455 8.1: carries the text up to and including what made it invalid.
    #[error("text is not valid UTF-8 at byte {valid_up_to}")]
    BadText {
        /// What came so far.
        text: Vec<u8>,
        /// Bytes of it that are valid.
        valid_up_to: usize,
        /// Whether the rest of the frame has not been received yet.
        mid_frame: bool,
    },
    /// RFC 7692 7.2.2: the payload is not DEFLATE data.
    #[error("compressed message is not valid DEFLATE data")]
    BadDeflate,
    /// A message is larger than the limit (RFC 6455 10.4).
    #[error("message of more than {limit} bytes; the limit is {limit}")]
    MessageTooBig {
        /// The limit in bytes.
        limit: u64,
    },
    /// A compressed message is larger than the limit when inflated.
    #[error("message of more than {limit} bytes when inflated; the limit is {limit}")]
    InflatedTooBig {
        /// The limit in bytes.
        limit: u64,
    },
    /// A data frame is larger than the limit (RFC 6455 10.4).
    #[error("frame of {length} bytes; the limit is {limit}")]
    FrameTooBig {
        /// What the frame announced.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A message comes in more pieces than the limit allows.
    #[error("message of more than {limit} fragments; the limit is {limit}")]
    TooManyFragments {
        /// The limit.
        limit: u64,
    },
    /// The system has no memory for what the peer sends, whatever the limits say.
    #[error("message of more than {length} bytes; there is no memory for it")]
    NoMemory {
        /// What came so far, in bytes.
        length: u64,
    },
    /// RFC 6455 5.5.1: a body has at least the two bytes of a code.
    #[error("If a close frame has status code, the length of status code must be 2 octet")]
    CloseBodyOfOneByte,
    /// RFC 6455 7.4: a code that may not stand in a close frame.
    #[error("close code {0} must not be sent in a close frame")]
    CloseCodeNotAllowed(u16),
    /// RFC 6455 5.5.1: the reason is UTF-8.
    #[error("close reason is not valid UTF-8")]
    BadCloseReason(Vec<u8>),
}

impl ProtocolError {
    /// The code of our close frame for this error (RFC 6455 7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::BadText { .. } | Self::BadDeflate | Self::BadCloseReason(_) => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::MessageTooBig { .. }
            | Self::InflatedTooBig { .. }
            | Self::FrameTooBig { .. }
            | Self::TooManyFragments { .. }
            | Self::NoMemory { .. } => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The reason in our close frame. pywebsocket sends none. We send one for limits, which
    /// pywebsocket does not have and which a peer cannot know.
    pub fn close_reason(&self) -> Option<String> {
        let is_limit = self.close_code() == CloseCode::TOO_BIG;
        is_limit.then(|| self.to_string().split(';').next().unwrap_or_default().to_owned())
    }

    /// Whether the peer is in the middle of a frame. Then we might never find its close frame after
    /// the rest of the payload, so the connection is failed without waiting (RFC 6455 7.1.7).
    pub fn is_mid_frame(&self) -> bool {
        matches!(
            self,
            Self::BadText { mid_frame: true, .. }
                | Self::MessageTooBig { .. }
                | Self::FrameTooBig { .. }
                | Self::TooManyFragments { .. }
                | Self::NoMemory { .. }
        )
    }
}

/// Why a request is not an acceptable opening handshake (RFC 6455 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// RFC 6455 4.2.1 item 1.
    #[error("Method is not GET: '{0}'")]
    Method(String),
    /// RFC 8441 4.
    #[error("Method is not CONNECT: '{0}'")]
    NoConnect(String),
    /// RFC 6455 4.2.1 item 1.
    #[error("Version is not HTTP/1.1: '{0}'")]
    HttpVersion(String),
    /// A required header is missing.
    #[error("Header {0} is not defined")]
    Missing(&'static str),
    /// RFC 6455 4.2.1 item 3.
    #[error("Expected 'websocket' for header Upgrade but found '{0}' (case-insensitive)")]
    Upgrade(String),
    /// RFC 6455 4.2.1 item 4.
    #[error("Connection header doesn't contain \"Upgrade\"")]
    Connection,
    /// A header that is a list of tokens is not one.
    #[error("Failed to parse {header}: {reason}")]
    TokenList {
        /// The header's name.
        header: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// RFC 6455 4.2.1 item 5.
    #[error("Illegal value for header Sec-WebSocket-Key: '{0}'")]
    Key(String),
    /// RFC 6455 4.4: answered with the versions that we speak.
    #[error("Unsupported version '{0}' for header Sec-WebSocket-Version")]
    Version(String),
    /// The handshake of the draft that browsers used in 2010, which has other headers for keys.
    #[error(
        "Header Sec-WebSocket-Version is not defined: the client speaks draft 76 of the protocol, of \
         2010, and needs an update to RFC 6455"
    )]
    Draft76,
    /// RFC 6455 4.1 item 9: one version in one header.
    #[error("Multiple versions ('{0}') are not allowed for header Sec-WebSocket-Version")]
    Versions(String),
    /// RFC 6455 9.1.
    #[error("Failed to parse Sec-WebSocket-Extensions header: {0}")]
    Extensions(String),
}

impl HandshakeError {
    /// The status of our answer.
    pub fn status(&self) -> u16 {
        400
    }

    /// The value of the Sec-WebSocket-Version header that the answer must carry (RFC 6455 4.4).
    pub fn supported_versions(&self) -> Option<&'static str> {
        matches!(self, Self::Version(_)).then_some("13")
    }
}

/// Why the extensions in a server's answer fail the connection (RFC 6455 4.1 item 5).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// RFC 6455 9.1.
    #[error("{0}")]
    Malformed(String),
    /// RFC 6455 4.1 item 5.
    #[error("the extension {0} was not offered")]
    NotOffered(String),
    /// RFC 7692 5: one agreement for each extension.
    #[error("the extension {0} is named twice")]
    Repeated(String),
    /// RFC 7692 7.1.
    #[error("permessage-deflate: {0}")]
    Parameters(String),
}

/// A frame that our side may not send; the texts are pywebsocket's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// RFC 6455 5.2.
    #[error("Opcode out of range")]
    Opcode,
    /// RFC 6455 5.2.
    #[error("payload_length out of range")]
    PayloadLength,
    /// RFC 6455 5.5.
    #[error("Payload data size of control frames must be 125 bytes or less")]
    ControlFrameTooLong,
    /// RFC 6455 7.4: 1000 to 4999.
    #[error("Status code is out of range")]
    CloseCodeOutOfRange,
    /// RFC 6455 7.4.1: 1005, 1006 and 1015 never stand in a frame.
    #[error("Status code is reserved pseudo code")]
    PseudoCloseCode,
    /// RFC 6455 5.4: every fragment of a message has its type.
    #[error("Message types are different in frames for the same message")]
    MixedTypes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_small() {
        assert!(size_of::<ProtocolError>() <= 40);
        assert!(size_of::<HandshakeError>() <= 40);
        assert!(size_of::<AnswerError>() <= 32);
        assert!(size_of::<SendError>() <= 1);
    }

    #[test]
    fn a_peer_is_told_of_a_limit_but_not_of_our_options() {
        let error = ProtocolError::InflatedTooBig { limit: 7 };
        let reason = error.close_reason();
        assert_eq!(reason.as_deref(), Some("message of more than 7 bytes when inflated"));
        assert_eq!(ProtocolError::BadDeflate.close_reason(), None);
    }

    #[test]
    fn reserved_bits_are_told_in_the_order_of_the_frame() {
        assert_eq!(
            ProtocolError::ReservedBits(0b100).to_string(),
            "Unsupported flag is set (rsv = 100)"
        );
    }
}
