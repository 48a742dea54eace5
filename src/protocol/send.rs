//! Frames that our side sends. Frames that a handler builds itself are not checked: tests of
//! clients need illegal frames.

use super::{
    error::SendError,
    fragment::Fragments,
    frame::{FrameHeader, Opcode, MAX_CONTROL_PAYLOAD, MAX_HEADER, RSV1},
    mask::{self, MaskingKey},
};

/// Makes the headers of the frames that a stream sends.
#[derive(Debug, Default)]
pub struct FrameWriter {
    fragments: Fragments,
}

/// One piece of a data message.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Text or binary.
    pub kind: Opcode,
    /// Whether this piece ends the message.
    pub end: bool,
    /// Whether this is the first piece of a compressed message.
    pub compressed: bool,
}

impl Piece {
    /// A piece that is not compressed; `kind` is text or binary.
    #[inline]
    pub fn plain(kind: Opcode, end: bool) -> Self {
        Self { kind, end, compressed: false }
    }
}

impl FrameWriter {
    /// Makes the header of a piece of a message.
    ///
    /// # Errors
    /// [`SendError::MixedTypes`].
    pub fn data(
        &mut self,
        piece: Piece,
        length: usize,
        masking_key: Option<MaskingKey>,
    ) -> Result<FrameHeader, SendError> {
        let opcode = self.fragments.send(piece.kind, piece.end)?;
        let reserved = if piece.compressed { RSV1 } else { 0 };
        Ok(header(piece.end, reserved, opcode, length, masking_key))
    }

    /// Checks whether `data` would make a header, before work is done for it.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn check(&self, piece: Piece) -> Result<(), SendError> {
        self.fragments.check_send(piece.kind)
    }
}

/// Makes the header of a control frame.
///
/// # Errors
/// [`SendError::ControlFrameTooLong`].
pub fn control(
    opcode: Opcode,
    length: usize,
    masking_key: Option<MaskingKey>,
) -> Result<FrameHeader, SendError> {
    if length as u64 > MAX_CONTROL_PAYLOAD {
        return Err(SendError::ControlFrameTooLong);
    }
    Ok(header(true, 0, opcode, length, masking_key))
}

/// A whole control frame of a server.
///
/// # Errors
/// [`SendError::ControlFrameTooLong`].
pub fn control_frame(opcode: Opcode, body: &[u8]) -> Result<Vec<u8>, SendError> {
    let mut frame = Vec::new();
    append_frame(&control(opcode, body.len(), None)?, body, &mut frame);
    Ok(frame)
}

/// Appends a frame, masking the payload if the header says so.
pub fn append_frame(header: &FrameHeader, payload: &[u8], output: &mut Vec<u8>) {
    output.reserve(MAX_HEADER + payload.len());
    header.encode(output);
    let start = output.len();
    output.extend_from_slice(payload);
    if let Some(key) = header.masking_key {
        mask::apply(&mut output[start..], key, 0);
    }
}

fn header(
    fin: bool,
    reserved: u8,
    opcode: Opcode,
    length: usize,
    masking_key: Option<MaskingKey>,
) -> FrameHeader {
    FrameHeader { fin, reserved, opcode, masking_key, length: length as u64, length_octets: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_the_examples_of_rfc_6455_5_7() {
        let mut writer = FrameWriter::default();
        let piece = Piece { kind: Opcode::TEXT, end: true, compressed: false };
        let mut bytes = Vec::new();
        let header = writer.data(piece, 5, None).expect("no message open");
        append_frame(&header, b"Hello", &mut bytes);
        assert_eq!(bytes, b"\x81\x05Hello");

        bytes.clear();
        let header =
            writer.data(piece, 5, Some([0x37, 0xfa, 0x21, 0x3d])).expect("no message open");
        append_frame(&header, b"Hello", &mut bytes);
        assert_eq!(bytes, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn control_frames_have_an_upper_size() {
        assert!(control(Opcode::PING, 125, None).is_ok());
        assert_eq!(control(Opcode::PING, 126, None), Err(SendError::ControlFrameTooLong));
    }

    #[test]
    fn a_whole_control_frame_is_a_header_and_its_body() {
        assert_eq!(control_frame(Opcode::PONG, b"hi"), Ok(b"\x8a\x02hi".to_vec()));
        assert_eq!(control_frame(Opcode::PONG, &[0; 126]), Err(SendError::ControlFrameTooLong));
    }

    #[test]
    fn a_piece_of_another_type_is_refused_before_work_is_done_for_it() {
        let mut writer = FrameWriter::default();
        let text = Piece { kind: Opcode::TEXT, end: false, compressed: true };
        let binary = Piece { kind: Opcode::BINARY, end: true, compressed: false };
        assert_eq!(writer.check(binary), Ok(()));
        let first = writer.data(text, 1, None).expect("no message open");
        assert_eq!((first.opcode, first.fin, first.reserved), (Opcode::TEXT, false, RSV1));
        assert_eq!(writer.check(binary), Err(SendError::MixedTypes));
        assert_eq!(writer.check(text), Ok(()));
    }
}
