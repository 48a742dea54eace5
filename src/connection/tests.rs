//! The two halves of a connection and its closing over a simulated stream.

use std::{io, sync::Arc, thread, time::Duration};

use proptest::prelude::*;

use super::{
    simulated::{Read, Simulated, Write},
    Buffered, ByteStream, Flusher, Inbound, Outcome, Reactor, ReadOutcome, Readiness, ReceiveError,
    ReceiveGoal, ServerClose, Transport, Wait,
};
use crate::protocol::{
    close::CloseCode,
    frame::{FrameHeader, Opcode},
    limits::FrameLimits,
    receive::{Event, Message, Rules},
    send::append_frame,
};

const LONG: Duration = Duration::from_secs(60);

fn transport(stream: &Arc<Simulated>) -> Arc<Transport> {
    let stream: Arc<dyn ByteStream> = stream.clone();
    Arc::new(Transport::new(stream, Vec::new(), Arc::new(Flusher::default()), None))
}

/// Reads until the stream ends; what came, and what ended it.
fn read_all(inbound: &mut Inbound) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut seen = Vec::new();
    loop {
        let filled = inbound.fill(Wait::Never);
        seen.extend_from_slice(inbound.bytes());
        let count = inbound.bytes().len();
        inbound.consume(count);
        match filled {
            Ok(0) => return (seen, None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return (seen, Some(error.kind())),
            Ok(_) => {}
        }
    }
}

fn frame(number: usize) -> Vec<u8> {
    let payload = vec![u8::try_from(number).expect("few"); number % 7];
    [&[0x82, u8::try_from(payload.len()).expect("short")][..], &payload].concat()
}

#[test]
fn a_stream_that_breaks_after_any_byte_gives_what_came_before() {
    let bytes: Vec<u8> = (0..=255).collect();
    for end in 0..bytes.len() {
        let script = [
            Read::Bytes(bytes[..end].to_vec()),
            Read::Nothing,
            Read::Fails(io::ErrorKind::ConnectionReset),
        ];
        let script =
            script.into_iter().filter(|read| !matches!(read, Read::Bytes(b) if b.is_empty()));
        let stream: Arc<dyn ByteStream> = Arc::new(Simulated::new(script, []));
        let mut inbound = Inbound::new(stream, Vec::new());
        let expected = (bytes[..end].to_vec(), Some(io::ErrorKind::ConnectionReset));
        assert_eq!(read_all(&mut inbound), expected, "after {end} bytes");
    }
}

#[test]
fn a_reset_takes_back_what_was_held_and_no_frame_follows() {
    let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(0)]));
    let transport = transport(&stream);
    transport.send_frame(b"\x81\x01", b"a", Wait::Never).expect("held back");
    transport.reset();
    assert!(stream.is_reset() && transport.closing().is_reset());
    assert!(transport.send_frame(b"\x81\x01", b"b", Wait::Never).is_err());
    assert!(transport.finish(Outcome::Abrupt).is_none(), "nothing is left to drain");
    assert_eq!(stream.sent(), b"");
}

#[test]
fn the_servers_close_frame_follows_what_the_peer_did_not_take() {
    let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(1), Write::Takes(0)]));
    let transport = transport(&stream);
    transport.send_frame(b"\x81\x02", b"hi", Wait::Never).expect("held back");
    let server_close = ServerClose::new(CloseCode::GOING_AWAY, "").expect("valid");
    transport.go_away(&server_close);
    transport.go_away(&server_close);
    assert!(transport.send_frame(b"\x81\x01", b"x", Wait::Never).is_err());
    transport.flush_before_wait(Wait::Never);
    assert_eq!(stream.sent(), b"\x81\x02hi\x88\x02\x03\xe9");
    transport.finish(Outcome::Clean);
    assert!(stream.is_sending_ended());
}

#[test]
fn a_close_frame_of_the_handlers_is_the_only_one() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    transport.note_close_sent(CloseCode::NORMAL);
    transport.send_frame(b"\x88\x02\x03\xe8", b"", Wait::Never).expect("sent");
    transport.go_away(&ServerClose::new(CloseCode::GOING_AWAY, "").expect("valid"));
    assert_eq!(stream.sent(), b"\x88\x02\x03\xe8");
}

#[test]
fn a_thread_waits_for_a_stream_without_a_descriptor() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    assert!(transport.poll(Readiness::Writable, LONG).expect("no signal"));
    let mut half = transport.try_receive_half().expect("free");
    assert!(half.inbound().fill(Wait::Never).is_err(), "nothing has come");
    drop(half);
    stream.arrive(Read::Nothing);
    let peer = thread::spawn({
        let stream = stream.clone();
        move || stream.arrive(Read::Bytes(b"x".to_vec()))
    });
    peer.join().expect("no panic");
    let mut half = transport.try_receive_half().expect("free");
    assert!(half.inbound().fill(Wait::Never).is_err());
    drop(half);
    assert!(transport.poll(Readiness::Readable, LONG).expect("no signal"));
}

#[test]
fn a_reactor_watches_a_stream_without_a_descriptor() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    let mut reactor = Reactor::new().expect("descriptors");
    let remote = reactor.remote().clone();
    let token = transport.token(&remote, |stream| reactor.register(stream)).expect("registered");
    assert!(reactor.is_readable(token), "the first try tells");
    reactor.mark_drained(token);
    assert!(reactor.wake_reader(token, 7));
    let peer = thread::spawn({
        let stream = stream.clone();
        move || stream.arrive(Read::Bytes(b"x".to_vec()))
    });
    peer.join().expect("no panic");
    let mut woken = Vec::new();
    reactor.poll(None, &mut woken).expect("polled");
    assert_eq!(woken, [7]);
    assert!(reactor.is_readable(token));
    reactor.mark_drained(token);
    reactor.watch_end(token, 8);
    assert!(!reactor.has_ended(token));
    stream.end();
    woken.clear();
    reactor.poll(None, &mut woken).expect("polled");
    assert_eq!(woken, [8]);
    assert!(reactor.has_ended(token) && reactor.is_readable(token));
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let read = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 1..600).prop_map(Read::Bytes),
        1 => Just(Read::Nothing),
    ];
    proptest::collection::vec(read, 0..12)
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    proptest::collection::vec((0..40_usize).prop_map(Write::Takes), 0..20)
}

const RULES: Rules =
    Rules { expect_masked: true, deflate: false, late_rsv1: false, limits: FrameLimits::NONE };

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        reserved: 0,
        opcode,
        masking_key: Some([1, 2, 3, 4]),
        length: payload.len() as u64,
        length_octets: 1,
    };
    let mut bytes = Vec::new();
    append_frame(&header, payload, &mut bytes);
    bytes
}

/// Receives by the short way if there is one, by the long way otherwise, and straight into an
/// object if the half proposes it, as `Stream` does.
fn receive(transport: &Transport) -> Result<Event, ReceiveError> {
    let mut made = None;
    let buffered = transport.take_whole(RULES, None, |opcode, payload| {
        made = Some(Message { opcode, payload: payload.to_vec(), compressed: false });
    })?;
    if let (Buffered::Whole(_), Some(message)) = (buffered, made) {
        return Ok(Event::Message(message));
    }
    match transport.wait_event(RULES, ReceiveGoal::Message, Wait::Never)? {
        ReadOutcome::Received(received) => Ok(received.event),
        ReadOutcome::Direct(length) => {
            let mut payload = vec![0; usize::try_from(length).expect("small")];
            while !transport.read_direct(&mut payload, Wait::Never)? {}
            Ok(Event::Message(Message { opcode: Opcode::BINARY, payload, compressed: false }))
        }
    }
}

/// Receives until the stream ends; a call that would block is made again.
fn receive_all(transport: &Transport) -> (Vec<Event>, ReceiveError) {
    let mut events = Vec::new();
    loop {
        match receive(transport) {
            Ok(event) => events.push(event),
            Err(ReceiveError::Io(_, error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return (events, error),
        }
    }
}

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
            half.inbound().fill(Wait::Never).expect("bytes");
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

    #[test]
    fn whatever_comes_in_pieces_is_read_in_order(script in reads()) {
        let expected: Vec<u8> = script
            .iter()
            .flat_map(|read| match read {
                Read::Bytes(bytes) => bytes.clone(),
                _ => Vec::new(),
            })
            .collect();
        let stream: Arc<dyn ByteStream> = Arc::new(Simulated::new(script, []));
        let mut inbound = Inbound::new(stream, b"first".to_vec());
        let expected = [b"first", &expected[..]].concat();
        prop_assert_eq!(read_all(&mut inbound), (expected, None));
    }

    #[test]
    fn frames_leave_whole_and_in_order_whatever_the_peer_takes(
        script in writes(),
        held in proptest::collection::vec(any::<bool>(), 1..30),
    ) {
        let stream = Arc::new(Simulated::new([Read::Nothing], script));
        let transport = transport(&stream);
        let mut expected = Vec::new();
        for (number, is_held) in held.into_iter().enumerate() {
            let frame = frame(number);
            transport.set_more_buffered(is_held);
            if !transport.hold(&frame[..2], &frame[2..]) {
                transport.send_frame(&frame[..2], &frame[2..], Wait::Never).expect("kept");
            }
            expected.extend_from_slice(&frame);
            prop_assert!(expected.starts_with(&stream.sent()));
        }
        transport.set_more_buffered(false);
        for _ in 0..40 {
            transport.flush_before_wait(Wait::Never);
        }
        prop_assert_eq!(stream.sent(), expected);
    }

    #[test]
    fn a_write_that_fails_anywhere_is_told_once_and_sends_nothing_twice(
        script in writes(),
        count in 1..30_usize,
    ) {
        let fails = [Write::Fails(io::ErrorKind::ConnectionReset)];
        let stream = Arc::new(Simulated::new([Read::Nothing], script.into_iter().chain(fails)));
        let transport = transport(&stream);
        let mut expected = Vec::new();
        for number in 0..count {
            let frame = frame(number);
            expected.extend_from_slice(&frame);
            if let Err(error) = transport.send_frame(&frame[..2], &frame[2..], Wait::Never) {
                prop_assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                break;
            }
        }
        prop_assert!(expected.starts_with(&stream.sent()));
    }
}
