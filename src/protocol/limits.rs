//! Limits on the size of a message (RFC 6455 10.4). They are checked when a header is read, before
//! any of the payload is stored.

use super::error::ProtocolError;

/// Limits; each is the largest number that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Payload bytes of one message, fragments added up, before inflating.
    pub message_bytes: u64,
    /// Payload bytes of one data frame.
    pub frame_bytes: u64,
    /// Frames of one message.
    pub fragments: u64,
}

impl FrameLimits {
    /// No limit.
    pub const NONE: Self =
        Self { message_bytes: u64::MAX, frame_bytes: u64::MAX, fragments: u64::MAX };

    /// Checks a frame of this length.
    ///
    /// # Errors
    /// [`ProtocolError::FrameTooBig`], or [`ProtocolError::MessageTooBig`] if no message may be so
    /// long.
    pub fn check_frame(&self, length: u64) -> Result<(), ProtocolError> {
        if length > self.frame_bytes {
            return Err(ProtocolError::FrameTooBig { length, limit: self.frame_bytes });
        }
        self.check_message(length, 1)
    }

    /// Checks the size of a message and the number of its frames.
    ///
    /// # Errors
    /// [`ProtocolError::MessageTooBig`] or [`ProtocolError::TooManyFragments`].
    pub fn check_message(&self, bytes: u64, frames: u64) -> Result<(), ProtocolError> {
        if bytes > self.message_bytes {
            return Err(ProtocolError::MessageTooBig { limit: self.message_bytes });
        }
        if frames > self.fragments {
            return Err(ProtocolError::TooManyFragments { limit: self.fragments });
        }
        Ok(())
    }
}

/// Appends a piece of a peer's message to what has been received. `Vec` alone would end the process
/// if there is not enough memory, and the peer chooses how much is needed.
///
/// # Errors
/// [`ProtocolError::NoMemory`].
pub(super) fn append(message: &mut Vec<u8>, piece: &[u8]) -> Result<(), ProtocolError> {
    let length = message.len() as u64;
    message.try_reserve(piece.len()).map_err(|_| ProtocolError::NoMemory { length })?;
    message.extend_from_slice(piece);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { message_bytes: 20, frame_bytes: 10, fragments: 1 };

    #[test]
    fn each_limit_is_the_largest_number_that_is_accepted() {
        assert_eq!(LIMITS.check_frame(10), Ok(()));
        let too_big = ProtocolError::FrameTooBig { length: 11, limit: 10 };
        assert_eq!(LIMITS.check_frame(11), Err(too_big));
        assert_eq!(LIMITS.check_message(20, 1), Ok(()));
        let too_big = ProtocolError::MessageTooBig { limit: 20 };
        assert_eq!(LIMITS.check_message(21, 1), Err(too_big));
        let too_many = ProtocolError::TooManyFragments { limit: 1 };
        assert_eq!(LIMITS.check_message(20, 2), Err(too_many));
    }

    #[test]
    fn a_frame_is_not_longer_than_a_message_may_be() {
        let limits = FrameLimits { message_bytes: 5, ..LIMITS };
        assert_eq!(limits.check_frame(6), Err(ProtocolError::MessageTooBig { limit: 5 }));
    }
}
