//! The two halves of a connection and its closing over a simulated stream.

mod closing;
mod delivering;
mod receiving;

use std::{io, sync::Arc, thread, time::Duration};

use proptest::prelude::*;

use super::{
    simulated::{Read, Simulated, Write},
    Buffered, ByteStream, Flusher, ReadBuffer, ReadOutcome, Readiness, ReceiveError, ReceiveGoal,
    Transport, Wait,
};
use crate::protocol::{
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

/// Reads until the stream ends; what came, and what ended it.
fn read_all(read_buffer: &mut ReadBuffer) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut seen = Vec::new();
    loop {
        let filled = read_buffer.fill(Wait::Never);
        seen.extend_from_slice(read_buffer.bytes());
        let count = read_buffer.bytes().len();
        read_buffer.consume(count);
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
        let mut read_buffer = ReadBuffer::new(stream, Vec::new());
        let expected = (bytes[..end].to_vec(), Some(io::ErrorKind::ConnectionReset));
        assert_eq!(read_all(&mut read_buffer), expected, "after {end} bytes");
    }
}

#[test]
fn a_thread_waits_for_a_stream_without_a_descriptor() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    assert!(transport.poll(Readiness::Writable, LONG).expect("no signal"));
    let mut half = transport.try_receive_half().expect("free");
    assert!(half.read_buffer().fill(Wait::Never).is_err(), "nothing has come");
    drop(half);
    stream.arrive(Read::Nothing);
    let peer = thread::spawn({
        let stream = stream.clone();
        move || stream.arrive(Read::Bytes(b"x".to_vec()))
    });
    peer.join().expect("no panic");
    let mut half = transport.try_receive_half().expect("free");
    assert!(half.read_buffer().fill(Wait::Never).is_err());
    drop(half);
    assert!(transport.poll(Readiness::Readable, LONG).expect("no signal"));
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

proptest! {
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
        let mut read_buffer = ReadBuffer::new(stream, b"first".to_vec());
        let expected = [b"first", &expected[..]].concat();
        prop_assert_eq!(read_all(&mut read_buffer), (expected, None));
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
