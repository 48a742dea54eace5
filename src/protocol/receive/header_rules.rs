//! Decides from its header whether a frame is allowed.

use super::MessageReader;
use crate::protocol::{
    error::ProtocolError,
    frame::{FrameHeader, Opcode, MAX_CONTROL_PAYLOAD, RSV1},
};

impl MessageReader {
    pub(super) fn check_header(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        let opcode = header.opcode;
        if opcode.is_control() && header.length > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlFrameTooLong);
        }
        let compressed = self.is_compressed(header)?;
        let kind = self.fragments.receive(opcode, header.fin)?;
        if opcode.is_control() {
            return if opcode.is_known() {
                Ok(())
            } else {
                Err(ProtocolError::ReservedOpcode(opcode.value()))
            };
        }
        if opcode != Opcode::CONTINUATION {
            self.opcode = kind;
            self.compressed = false;
            if !opcode.is_known() {
                // the error is returned at the end of the message, as in pywebsocket
                self.discard = true;
                self.unknown = Some(opcode);
            }
        }
        self.compressed |= compressed;
        self.count_frame(opcode);
        if !self.discard || self.unknown.is_some() {
            if let Err(error) = self.check_limits(header.length) {
                self.give_up_message();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Checks the reserved bits. RSV1 marks a compressed message (RFC 7692 6).
    pub(super) fn is_compressed(&self, header: &FrameHeader) -> Result<bool, ProtocolError> {
        let compressed = header.reserved & RSV1 != 0
            && self.rules.deflate
            && !header.opcode.is_control()
            && (header.opcode != Opcode::CONTINUATION || self.rules.late_rsv1);
        let unknown = header.reserved & !if compressed { RSV1 } else { 0 };
        if unknown != 0 {
            return Err(ProtocolError::ReservedBits(header.reserved));
        }
        Ok(compressed)
    }

    pub(super) fn count_frame(&mut self, opcode: Opcode) {
        self.frames =
            if opcode == Opcode::CONTINUATION { self.frames.saturating_add(1) } else { 1 };
    }

    /// Checks the size of the message with a further frame of this length.
    pub(super) fn check_limits(&self, length: u64) -> Result<(), ProtocolError> {
        self.rules.limits.check_frame(length)?;
        self.check_message(length)
    }

    pub(super) fn check_message(&self, more: u64) -> Result<(), ProtocolError> {
        let bytes = (self.message.len() as u64).saturating_add(more);
        self.rules.limits.check_message(bytes, self.frames)
    }
}
