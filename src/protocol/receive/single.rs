//! Single frames, for callers that put messages together themselves.

use super::MessageReader;
use crate::protocol::{
    error::ProtocolError,
    frame::{take, Frame, Opcode},
    limits::append,
    utf8::Validator,
};

impl MessageReader {
    /// Takes the next frame, whatever it is. `None` means that it needs more bytes, as
    /// [`Self::poll`].
    ///
    /// # Errors
    /// As [`FrameReader::poll`](crate::protocol::frame::FrameReader::poll).
    pub fn poll_frame(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, ProtocolError> {
        if !self.skip(input) {
            return Ok(None);
        }
        let single = self.single.get_or_insert_default();
        let polled = single.poll(input, self.rules.expect_masked, self.rules.limits);
        self.lost = polled.is_err();
        polled
    }

    /// Whether the next byte begins a frame, whoever has read the one before it.
    pub fn is_at_boundary(&self) -> bool {
        self.is_between_frames()
            && !self.single.as_ref().is_some_and(|single| single.is_mid_frame())
            && !self.lost
    }

    /// Whether a fragmented message has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        self.fragments.is_open()
    }

    /// Forgets what was received of a message whose rest will not come.
    pub fn forget(&mut self) {
        *self = Self::new(self.rules);
    }

    /// Skips the rest of a refused frame. Returns `true` when nothing is left of it.
    fn skip(&mut self, input: &mut &[u8]) -> bool {
        let Some(mut current) = self.frame else { return true };
        if !current.skip && !self.discard {
            return true;
        }
        let piece = take(input, current.remaining);
        // the error was returned before, or does not matter to a caller that reads frames
        let _ = self.take_payload(&mut current, piece);
        current.remaining == 0
    }

    /// Adds a frame that was read by other means to its message.
    ///
    /// # Errors
    /// If the frame may not come here.
    pub fn push_frame(
        &mut self,
        opcode: Opcode,
        fin: bool,
        payload: Vec<u8>,
    ) -> Result<Option<(Opcode, Vec<u8>)>, ProtocolError> {
        let kind = self.fragments.receive(opcode, fin)?;
        if opcode.is_control() {
            return Ok(Some((kind, payload)));
        }
        self.count_frame(opcode);
        if opcode != Opcode::CONTINUATION {
            self.opcode = kind;
            self.compressed = false;
            self.text = Validator::default();
        }
        self.check_message(payload.len() as u64)?;
        if fin && self.message.is_empty() {
            return Ok(Some((kind, payload)));
        }
        if kind == Opcode::TEXT {
            // for the rest, if it comes to `poll`; the caller checks the whole text
            let _ = self.text.push(&payload);
        }
        append(&mut self.message, &payload)?;
        if !fin {
            return Ok(None);
        }
        self.text = Validator::default();
        Ok(Some((kind, std::mem::take(&mut self.message))))
    }

    /// The opcode of the message that has begun and not ended, once its first frame has come.
    pub fn begun(&self) -> Option<Opcode> {
        let has_frame = self.frames > 1 || self.frame.is_none();
        (has_frame && self.fragments.is_open()).then_some(self.opcode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        limits::FrameLimits,
        receive::{
            tests::{frame, rules},
            Event, Message, Rules,
        },
    };

    #[test]
    fn a_single_frame_comes_whole_from_any_pieces() {
        let bytes = [frame(0x01, b"ab"), frame(0x89, b""), frame(0x8b, b"c")].concat();
        let mut reader = MessageReader::new(rules());
        let (mut kept, mut seen) = (Vec::new(), Vec::new());
        for (number, byte) in bytes.iter().enumerate() {
            // headers have six bytes; payload follows that of the first and of the last frame
            let is_inside = [6, 7, 20].contains(&number);
            assert_ne!(reader.is_at_boundary(), is_inside, "after {number} bytes");
            kept.push(*byte);
            let mut input = &kept[..];
            if let Some(frame) = reader.poll_frame(&mut input).unwrap() {
                seen.push((frame.header.opcode.value(), frame.header.fin, frame.payload));
            }
            kept = input.to_vec();
        }
        let expected = [(1, false, b"ab".to_vec()), (9, true, vec![]), (11, true, b"c".to_vec())];
        assert_eq!(seen, expected);
        assert!(reader.is_at_boundary());
    }

    #[test]
    fn where_a_refused_frame_ends_is_not_known() {
        let mut reader = MessageReader::new(rules());
        // a frame that is not masked, and one that is
        let bytes = [b"\x81\x01x".to_vec(), frame(0x81, b"y")].concat();
        let mut input = &bytes[..];
        assert!(reader.poll_frame(&mut input).is_err());
        assert!(!reader.is_at_boundary());
        let mut next = &bytes[3..];
        assert!(reader.poll_frame(&mut next).unwrap().is_some());
        assert!(reader.is_at_boundary());
        // a caller that reads messages goes on at a boundary as well
        assert!(reader.poll_frame(&mut &bytes[..]).is_err());
        assert!(reader.poll(&mut &bytes[3..]).unwrap().is_some());
        assert!(reader.is_at_boundary());
    }

    #[test]
    fn a_single_frame_follows_what_is_left_of_a_refused_message() {
        let mut reader = MessageReader::new(rules());
        let bad = frame(0x81, b"\xff and more");
        let bytes = [bad.clone(), frame(0x82, b"ok")].concat();
        // the text is refused at its first byte, in the middle of the frame
        assert!(reader.poll(&mut &bytes[..8]).is_err());
        assert!(!reader.is_at_boundary());
        assert_eq!(reader.wanted(&[]), bad.len() as u64 - 8);
        let mut rest = &bytes[8..12];
        assert_eq!(reader.poll_frame(&mut rest), Ok(None));
        assert!(!reader.is_at_boundary() && rest.is_empty());
        let mut rest = &bytes[12..];
        let single = reader.poll_frame(&mut rest).unwrap().unwrap();
        assert_eq!(single.payload, b"ok");
    }

    #[test]
    fn limits_hold_for_frames_that_were_read_by_other_means() {
        let limits = FrameLimits { message_bytes: 5, fragments: 3, ..FrameLimits::NONE };
        let mut reader = MessageReader::new(Rules { limits, ..rules() });
        assert_eq!(reader.push_frame(Opcode::TEXT, false, b"abc".to_vec()), Ok(None));
        let too_big = Err(ProtocolError::MessageTooBig { limit: 5 });
        assert_eq!(reader.push_frame(Opcode::CONTINUATION, false, b"def".to_vec()), too_big);
        let mut reader = MessageReader::new(Rules { limits, ..rules() });
        for opcode in [Opcode::TEXT, Opcode::CONTINUATION, Opcode::CONTINUATION] {
            assert_eq!(reader.push_frame(opcode, false, b"a".to_vec()), Ok(None));
        }
        let too_many = Err(ProtocolError::TooManyFragments { limit: 3 });
        assert_eq!(reader.push_frame(Opcode::CONTINUATION, true, b"a".to_vec()), too_many);
    }

    #[test]
    fn goes_on_with_a_message_that_other_means_have_begun() {
        for (opcode, first) in [(Opcode::BINARY, &b"\xc3"[..]), (Opcode::TEXT, b"\xc3")] {
            let mut reader = MessageReader::new(rules());
            assert_eq!(reader.begun(), None);
            assert_eq!(reader.push_frame(opcode, false, first.to_vec()), Ok(None));
            assert_eq!(reader.begun(), Some(opcode));
            let bytes = frame(0x80, b"\xa9");
            let event = reader.poll(&mut &bytes[..]).unwrap();
            let message = Message { opcode, payload: b"\xc3\xa9".to_vec(), compressed: false };
            assert_eq!(event, Some(Event::Message(message)));
            assert_eq!(reader.begun(), None);
        }
    }

    #[test]
    fn a_message_has_begun_when_its_first_frame_has_come() {
        let mut reader = MessageReader::new(rules());
        let bytes = frame(0x01, b"ab");
        let mut input = &bytes[..bytes.len() - 1];
        assert_eq!(reader.poll(&mut input), Ok(None));
        assert_eq!(reader.begun(), None);
        assert_eq!(reader.poll(&mut &bytes[bytes.len() - 1..]), Ok(None));
        assert_eq!(reader.begun(), Some(Opcode::TEXT));
    }

    #[test]
    fn forgets_half_a_message() {
        let mut reader = MessageReader::new(rules());
        assert_eq!(reader.push_frame(Opcode::TEXT, false, b"a".to_vec()), Ok(None));
        assert!(reader.is_mid_message());
        reader.forget();
        assert!(!reader.is_mid_message() && reader.message.is_empty());
    }
}
