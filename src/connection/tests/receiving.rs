//! The receiving half: frames into messages.

use std::{io, sync::Arc};

use proptest::prelude::*;

use super::{masked, receive, receive_all, transport};
use crate::{
    connection::{
        simulated::{Read, Simulated},
        ReceiveError, Wait,
    },
    protocol::{
        frame::Opcode,
        receive::{Event, Message},
    },
};

fn events() -> impl Strategy<Value = Vec<Event>> {
    let message = |opcode, payload| Event::Message(Message { opcode, payload, compressed: false });
    let bytes = |most: usize| proptest::collection::vec(any::<u8>(), 0..most);
    let event = prop_oneof![
        3 => bytes(300).prop_map(move |payload| message(Opcode::BINARY, payload)),
        1 => "\\PC{0,40}".prop_map(move |text| message(Opcode::TEXT, text.into_bytes())),
        1 => (8_000..150_000_usize)
            .prop_map(move |length| message(Opcode::BINARY, vec![7; length])),
        1 => bytes(126).prop_map(Event::Ping),
        1 => bytes(126).prop_map(Event::Pong),
    ];
    proptest::collection::vec(event, 0..6)
}

fn wire(events: &[Event]) -> Vec<u8> {
    let frames = events.iter().map(|event| match event {
        Event::Message(message) => masked(message.opcode, &message.payload),
        Event::Ping(body) => masked(Opcode::PING, body),
        Event::Pong(body) => masked(Opcode::PONG, body),
        Event::Close(body) => masked(Opcode::CLOSE, body),
    });
    frames.collect::<Vec<_>>().concat()
}

#[test]
fn a_stream_that_ends_after_any_byte_says_how_much_was_missing() {
    let bytes = masked(Opcode::TEXT, b"hello");
    for end in 0..bytes.len() {
        let stream = Arc::new(Simulated::new([Read::Bytes(bytes[..end].to_vec())], []));
        let transport = transport(&stream);
        let (events, error) = receive_all(&transport);
        assert_eq!(events, [], "after {end} bytes");
        // one octet after the other, the masking key, the payload
        let expected = match end {
            0..2 => 1,
            2..6 => 6 - end,
            _ => bytes.len() - end,
        };
        let ReceiveError::End(missing) = error else { panic!("{error:?} after {end} bytes") };
        assert_eq!(missing, expected as u64, "after {end} bytes");
    }
}

#[test]
fn pings_are_answered_only_between_frames() {
    let ping = masked(Opcode::PING, b"p");
    let text = masked(Opcode::TEXT, b"hello");
    for cut in 0..=text.len() {
        let script = [text[..cut].to_vec(), [&text[cut..], &ping].concat()];
        let script = script.into_iter().filter(|piece| !piece.is_empty()).map(Read::Bytes);
        let stream = Arc::new(Simulated::new(script, []));
        let transport = transport(&stream);
        if cut == 0 {
            transport.answer_pings();
            assert_eq!(stream.sent(), b"", "the text comes first");
        } else if cut < text.len() {
            // the handler's try to receive leaves the reader in the middle of the frame
            let mut half = transport.try_receive_half().expect("free");
            half.read_buffer().fill(Wait::Never).expect("bytes");
            assert_eq!(half.poll().expect("no error"), None);
            drop(half);
            transport.answer_pings();
            assert_eq!(stream.sent(), b"", "cut at {cut}");
        }
        assert!(matches!(receive(&transport), Ok(Event::Message(_))), "cut at {cut}");
        transport.answer_pings();
        assert_eq!(stream.sent(), b"\x8a\x01p", "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn messages_are_received_as_they_were_sent_in_whatever_pieces(
        sent in events(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        nothing in proptest::collection::vec(any::<bool>(), 13),
    ) {
        let bytes = wire(&sent);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut script, mut start) = (Vec::new(), 0);
        for (end, nothing) in cuts.into_iter().zip(nothing) {
            if end > start {
                script.push(Read::Bytes(bytes[start..end].to_vec()));
            }
            if nothing {
                script.push(Read::Nothing);
            }
            start = end;
        }
        script.push(Read::Fails(io::ErrorKind::ConnectionReset));
        let stream = Arc::new(Simulated::new(script, []));
        let transport = transport(&stream);
        let (received, error) = receive_all(&transport);
        prop_assert_eq!(received, sent);
        let is_reset = matches!(
            &error,
            ReceiveError::Io(1, error) if error.kind() == io::ErrorKind::ConnectionReset
        );
        prop_assert!(is_reset, "{:?}", error);
    }
}
