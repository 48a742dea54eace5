//! Receives long binary messages without the reader's buffer: the caller reads the payload straight
//! into its destination, and the reader only unmasks it.

use super::MessageReader;
use crate::protocol::frame::Opcode;

impl MessageReader {
    /// The length of the current binary message and how much of it has been received, if it has
    /// only one frame and at least `least_missing` bytes are missing. Then the caller may read the
    /// payload itself, see [`Self::begin_direct`].
    ///
    /// To be called only between `poll` calls that returned `None` and left nothing.
    pub fn direct_length(&self, least_missing: u64) -> Option<(u64, u64)> {
        let current = self.frame.as_ref()?;
        let whole = current.fin && current.opcode == Opcode::BINARY && !self.compressed;
        if !whole || current.skip || self.discard || current.remaining < least_missing {
            return None;
        }
        let received = self.message.len() as u64;
        Some((received + current.remaining, received))
    }

    /// Returns what has been received of the message of [`Self::direct_length`]. The caller reads
    /// the rest.
    pub fn begin_direct(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.message)
    }

    /// Unmasks the rest of the message, which the caller has read. The reader is then ready for the
    /// next frame, or for the missing bytes if the caller has not read the whole rest.
    pub fn end_direct(&mut self, rest: &mut [u8]) {
        let Some(current) = &mut self.frame else { return };
        current.unmask(rest);
        current.remaining = current.remaining.saturating_sub(rest.len() as u64);
        if current.remaining == 0 {
            self.frame = None;
        }
    }

    /// Takes back the beginning of a message that could not be read to its end.
    pub fn take_back(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        limits::FrameLimits,
        mask,
        receive::{Event, Rules},
    };

    const RULES: Rules =
        Rules { expect_masked: true, deflate: false, late_rsv1: false, limits: FrameLimits::NONE };
    const KEY: mask::MaskingKey = [1, 2, 3, 4];

    /// A masked frame of 300 bytes with this first octet.
    fn frame(first: u8) -> Vec<u8> {
        let mut bytes = vec![first, 0xfe, 0x01, 0x2c];
        bytes.extend_from_slice(&KEY);
        let mut payload = vec![7; 300];
        mask::apply(&mut payload, KEY, 0);
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn begun(first: u8, length: usize) -> (MessageReader, Vec<u8>) {
        let mut reader = MessageReader::new(RULES);
        let bytes = frame(first);
        assert_eq!(reader.poll(&mut &bytes[..length]), Ok(None));
        (reader, bytes[length..].to_vec())
    }

    #[test]
    fn the_rest_of_a_binary_message_is_read_past_the_reader() {
        for cut in [8, 9, 11, 100, 307] {
            let (mut reader, mut rest) = begun(0x82, cut);
            assert_eq!(reader.direct_length(1), Some((300, cut as u64 - 8)), "cut at {cut}");
            let mut message = reader.begin_direct();
            let half = rest.len() / 2;
            let (front, back) = rest.split_at_mut(half);
            reader.end_direct(front);
            reader.end_direct(back);
            message.extend_from_slice(&rest);
            assert_eq!(message, [7; 300]);
            assert!(reader.is_between_frames());
            let next = frame(0x82);
            assert!(matches!(reader.poll(&mut &next[..]), Ok(Some(Event::Message(_)))));
        }
    }

    #[test]
    fn a_message_that_could_not_be_read_to_its_end_goes_on() {
        let (mut reader, mut rest) = begun(0x82, 100);
        let mut message = reader.begin_direct();
        reader.end_direct(&mut rest[..50]);
        message.extend_from_slice(&rest[..50]);
        reader.take_back(&message);
        let outcome = reader.poll(&mut &rest[50..]);
        assert!(
            matches!(outcome, Ok(Some(Event::Message(message))) if message.payload == [7; 300])
        );
    }

    #[test]
    fn whatever_is_not_one_binary_frame_takes_the_ordinary_way() {
        // text, a first fragment, and a message of which too little is missing
        assert_eq!(begun(0x81, 100).0.direct_length(1), None);
        assert_eq!(begun(0x02, 100).0.direct_length(1), None);
        assert_eq!(begun(0x82, 300).0.direct_length(9), None);
        assert_eq!(MessageReader::new(RULES).direct_length(1), None);
    }
}
