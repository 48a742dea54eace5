//! Messages through DEFLATE (RFC 7692 7.2).

mod deflater;
mod inflater;

pub use self::{
    deflater::{MessageDeflater, PieceEnd},
    inflater::{Inflating, MessageInflater},
};

/// The bytes that RFC 7692 7.2.1 removes from the end of a message, and 7.2.2 appends again.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{deflate::WindowBits, error::ProtocolError};

    fn inflate(inflater: &mut MessageInflater, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        inflater.inflate(payload, 1 << 20)
    }

    #[test]
    fn inflates_the_examples_of_rfc_7692_7_2_3() {
        let mut inflater = MessageInflater::default();
        let one_block = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // the same again, from the window
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00"), Ok(b"Hello".to_vec()));
        // no compression
        let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
        assert_eq!(inflate(&mut inflater, stored), Ok(b"Hello".to_vec()));
        // a final block, padded
        let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        assert_eq!(inflate(&mut inflater, last), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // a final block and nothing behind it, again and again
        let bare = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        for _ in 0..3 {
            assert_eq!(inflate(&mut inflater, bare), Ok(b"Hello".to_vec()));
        }
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // two blocks
        let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, two), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn an_empty_payload_is_an_empty_message_and_spoils_nothing() {
        let mut inflater = MessageInflater::default();
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, b""), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflater, hello), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, b""), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00"), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn refuses_what_is_not_deflate() {
        assert_eq!(
            inflate(&mut MessageInflater::default(), b"\x07"),
            Err(ProtocolError::BadDeflate)
        );
    }

    #[test]
    fn a_bomb_is_stopped_while_it_inflates() {
        let bomb = MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], PieceEnd::Message);
        assert!(bomb.len() < 20_000);
        let mut inflater = MessageInflater::default();
        assert_eq!(
            inflater.inflate(&bomb, 1000),
            Err(ProtocolError::InflatedTooBig { limit: 1000 })
        );
        let exact = MessageDeflater::new(None, false).deflate(&[7; 1000], PieceEnd::Message);
        assert_eq!(MessageInflater::default().inflate(&exact, 1000), Ok(vec![7; 1000]));
        assert!(MessageInflater::default().inflate(&exact, 999).is_err());
    }

    fn message_end(bfinal: bool) -> PieceEnd {
        if bfinal {
            PieceEnd::FinalBlock
        } else {
            PieceEnd::Message
        }
    }

    fn inflate_in_steps(
        inflater: &mut MessageInflater,
        payload: &[u8],
        max_bytes: u64,
    ) -> Result<(Vec<u8>, usize), ProtocolError> {
        let mut message = Inflating::new(payload.to_vec());
        let mut output = Vec::new();
        for steps in 1.. {
            let is_whole = inflater.step(&mut message, max_bytes)?;
            output.extend(message.take_output());
            if is_whole {
                return Ok((output, steps));
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn steps_inflate_what_one_call_does() {
        let noise: Vec<u8> = (0..300_000_u32)
            .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13).to_be_bytes()[3])
            .collect();
        let mut zeros_and_noise = vec![0; 5 << 20];
        zeros_and_noise.extend(&noise);
        for no_context_takeover in [false, true] {
            let mut deflater = MessageDeflater::new(None, no_context_takeover);
            let mut inflater = MessageInflater::new(no_context_takeover);
            for (message, bfinal) in [
                (&noise[..], false),
                (&noise[..10], true),
                (&zeros_and_noise[..], true),
                (&[], false),
                (&zeros_and_noise[..], false),
                (&noise[..], true),
            ] {
                let payload = deflater.deflate(message, message_end(bfinal));
                let (output, steps) = inflate_in_steps(&mut inflater, &payload, 1 << 30).unwrap();
                assert_eq!(output, message);
                assert!(steps > message.len() / (4 << 20), "{steps} for {}", message.len());
                assert!(steps <= 1 + message.len() / (64 << 10), "{steps} for {}", message.len());
            }
        }
    }

    #[test]
    fn a_piece_is_compressed_in_parts() {
        let data: Vec<u8> =
            (0..300_000_u32).map(|n| (n * (n >> 5) % 251).to_be_bytes()[3]).collect();
        let mut deflater = MessageDeflater::new(None, false);
        let mut inflater = MessageInflater::default();
        for bfinal in [false, true, false] {
            let mut output = Vec::new();
            deflater.deflate_beginning(&data[..100_000], &mut output);
            deflater.deflate_beginning(&data[100_000..200_001], &mut output);
            deflater.deflate_into(&data[200_001..], message_end(bfinal), &mut output);
            assert!(inflate(&mut inflater, &output) == Ok(data.clone()), "{bfinal}");
            let at_once = MessageDeflater::new(None, false).deflate(&data, message_end(bfinal));
            assert!(output.len() < at_once.len() + 100, "{} {}", output.len(), at_once.len());
        }
    }

    #[test]
    fn steps_stop_a_bomb_and_corrupt_data() {
        let bomb = MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], PieceEnd::Message);
        for limit in [0, 1000, (10 << 20) - 1] {
            let inflated = inflate_in_steps(&mut MessageInflater::default(), &bomb, limit);
            assert_eq!(inflated.map(drop), Err(ProtocolError::InflatedTooBig { limit }));
        }
        assert!(inflate_in_steps(&mut MessageInflater::default(), &bomb, 10 << 20).is_ok());
        // behind many steps, a block of a type that does not exist (RFC 1951 3.2.3)
        let mut corrupt =
            MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], PieceEnd::Piece);
        corrupt.push(0x07);
        let inflated = inflate_in_steps(&mut MessageInflater::default(), &corrupt, 1 << 30);
        assert_eq!(inflated.map(drop), Err(ProtocolError::BadDeflate));
    }

    #[test]
    fn output_is_as_before_after_an_error() {
        let mut output = b"before".to_vec();
        // behind a whole block, a block of a type that does not exist (RFC 1951 3.2.3)
        let corrupt = b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x07";
        let outcome = MessageInflater::default().inflate_into(corrupt, 1000, &mut output);
        assert_eq!(outcome, Err(ProtocolError::BadDeflate));
        assert_eq!(output, b"before");
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let outcome = MessageInflater::default().inflate_into(hello, 4, &mut output);
        assert_eq!(outcome, Err(ProtocolError::InflatedTooBig { limit: 4 }));
        assert_eq!(output, b"before");
        assert_eq!(MessageInflater::default().inflate_into(hello, 5, &mut output), Ok(()));
        assert_eq!(output, b"beforeHello");
    }

    #[test]
    fn a_message_must_not_refer_to_one_that_takeover_does_not_keep() {
        let (hello, again) = (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00");
        let mut inflater = MessageInflater::new(true);
        assert_eq!(inflate(&mut inflater, hello), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, again), Err(ProtocolError::BadDeflate));
        let mut inflater = MessageInflater::new(true);
        let outcome = inflate_in_steps(&mut inflater, hello, 1000);
        assert_eq!(outcome.map(|(output, _)| output), Ok(b"Hello".to_vec()));
        let outcome = inflate_in_steps(&mut inflater, again, 1000);
        assert_eq!(outcome.map(drop), Err(ProtocolError::BadDeflate));
    }

    #[test]
    fn a_limit_that_is_lowered_between_steps_stops_the_message() {
        let payload =
            MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], PieceEnd::Message);
        let mut inflater = MessageInflater::default();
        let mut message = Inflating::new(payload);
        assert_eq!(inflater.step(&mut message, 10 << 20), Ok(false));
        let limit = 1000;
        assert_eq!(
            inflater.step(&mut message, limit),
            Err(ProtocolError::InflatedTooBig { limit })
        );
    }

    #[test]
    fn deflates_the_examples_of_rfc_7692_7_2_3() {
        let mut deflater = MessageDeflater::new(None, false);
        assert_eq!(deflater.deflate(b"Hello", PieceEnd::Message), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        // the same again, from the window
        assert_eq!(deflater.deflate(b"Hello", PieceEnd::Message), b"\xf2\x00\x11\x00\x00");
        // a final block, padded; the next message does not refer to what is before it
        let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        let mut deflater = MessageDeflater::new(None, false);
        assert_eq!(deflater.deflate(b"Hello", PieceEnd::FinalBlock), last);
        assert_eq!(deflater.deflate(b"Hello", PieceEnd::FinalBlock), last);
    }

    #[test]
    fn without_takeover_a_message_refers_to_itself_only() {
        let mut deflater = MessageDeflater::new(None, true);
        for _ in 0..2 {
            let first = deflater.deflate(b"Hello", PieceEnd::Piece);
            assert_eq!(first, b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff");
            assert_eq!(deflater.deflate(b"Hello", PieceEnd::Message), b"\xf2\x00\x11\x00\x00");
        }
    }

    #[test]
    fn an_empty_piece_behind_another_has_a_byte() {
        let mut deflater = MessageDeflater::new(None, false);
        deflater.deflate(b"Hello", PieceEnd::Piece);
        assert_eq!(deflater.deflate(b"", PieceEnd::Message), b"\x00");
        assert_eq!(deflater.deflate(b"", PieceEnd::Message), b"\x00");
    }

    #[test]
    fn every_window_and_mode_round_trips() {
        let data: Vec<u8> = (0..70_000_u32).map(|n| n.wrapping_mul(n).to_be_bytes()[1]).collect();
        for bits in 8..=15 {
            for no_context_takeover in [false, true] {
                let window = WindowBits::new(bits).ok();
                let mut deflater = MessageDeflater::new(window, no_context_takeover);
                let mut inflater = MessageInflater::default();
                for size in [0, 1, 5, 70_000, 3, 4096] {
                    let bfinal = size == 3;
                    let payload = deflater.deflate(&data[..size], message_end(bfinal));
                    assert_eq!(inflate(&mut inflater, &payload), Ok(data[..size].to_vec()));
                }
            }
        }
    }

    #[test]
    fn fragments_of_a_message_inflate_together() {
        let mut deflater = MessageDeflater::new(None, false);
        let payload = [
            deflater.deflate(b"Hello", PieceEnd::Piece),
            deflater.deflate(b", ", PieceEnd::Piece),
            deflater.deflate(b"world", PieceEnd::Message),
        ]
        .concat();
        assert_eq!(
            inflate(&mut MessageInflater::default(), &payload),
            Ok(b"Hello, world".to_vec())
        );
    }
}
