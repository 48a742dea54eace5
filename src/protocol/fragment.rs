//! Fragmentation (RFC 6455 5.4): which frame may follow which, in both directions.

use super::{
    error::{ProtocolError, SendError},
    frame::Opcode,
};

/// The type of the unfinished message of a sender or receiver.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Fragments {
    open: Option<Opcode>,
}

impl Fragments {
    /// Whether a fragmented message has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a received frame and returns the opcode of its message.
    ///
    /// Control frames may stand between fragments and are their own messages.
    ///
    /// # Errors
    /// If the frame may not come here. The state is then unchanged.
    pub fn receive(&mut self, opcode: Opcode, fin: bool) -> Result<Opcode, ProtocolError> {
        if opcode.is_control() {
            return if fin { Ok(opcode) } else { Err(ProtocolError::FragmentedControlFrame) };
        }
        match (self.open, opcode == Opcode::CONTINUATION) {
            (Some(first), true) => {
                if fin {
                    self.open = None;
                }
                Ok(first)
            }
            (None, false) => {
                if !fin {
                    self.open = Some(opcode);
                }
                Ok(opcode)
            }
            (None, true) if fin => Err(ProtocolError::EndWithoutStart),
            (None, true) => Err(ProtocolError::ContinuationWithoutStart),
            (Some(_), false) if fin => Err(ProtocolError::MessageInsideMessage),
            (Some(_), false) => Err(ProtocolError::StartInsideMessage),
        }
    }

    /// The opcode of the next frame that our side sends as part of a message of type `kind`.
    ///
    /// # Errors
    /// If a fragmented message of another type is open. pywebsocket keeps that one open.
    pub fn send(&mut self, kind: Opcode, end: bool) -> Result<Opcode, SendError> {
        self.check_send(kind)?;
        let opcode = if self.is_open() { Opcode::CONTINUATION } else { kind };
        self.open = (!end).then_some(kind);
        Ok(opcode)
    }

    /// Checks whether our side may send a part of a message of type `kind` now.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn check_send(&self, kind: Opcode) -> Result<(), SendError> {
        match self.open {
            Some(open) if open != kind => Err(SendError::MixedTypes),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_may_stand_between_fragments() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.receive(Opcode::TEXT, false), Ok(Opcode::TEXT));
        assert_eq!(fragments.receive(Opcode::PING, true), Ok(Opcode::PING));
        assert_eq!(fragments.receive(Opcode::CONTINUATION, true), Ok(Opcode::TEXT));
        assert!(!fragments.is_open());
    }

    #[test]
    fn a_refused_frame_changes_nothing() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.receive(Opcode::BINARY, false), Ok(Opcode::BINARY));
        assert_eq!(fragments.receive(Opcode::TEXT, true), Err(ProtocolError::MessageInsideMessage));
        assert_eq!(fragments.receive(Opcode::TEXT, false), Err(ProtocolError::StartInsideMessage));
        assert_eq!(fragments.receive(Opcode::CONTINUATION, true), Ok(Opcode::BINARY));
        assert_eq!(
            fragments.receive(Opcode::CONTINUATION, false),
            Err(ProtocolError::ContinuationWithoutStart)
        );
        assert_eq!(
            fragments.receive(Opcode::CONTINUATION, true),
            Err(ProtocolError::EndWithoutStart)
        );
        assert_eq!(
            fragments.receive(Opcode::CLOSE, false),
            Err(ProtocolError::FragmentedControlFrame)
        );
    }

    #[test]
    fn every_fragment_sent_has_the_type_of_the_first() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.send(Opcode::TEXT, false), Ok(Opcode::TEXT));
        assert_eq!(fragments.send(Opcode::BINARY, true), Err(SendError::MixedTypes));
        assert_eq!(fragments.send(Opcode::TEXT, true), Ok(Opcode::CONTINUATION));
        assert_eq!(fragments.send(Opcode::BINARY, true), Ok(Opcode::BINARY));
    }
}
