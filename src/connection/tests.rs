//! The two halves of a connection and its closing over a simulated stream.

use std::{io, sync::Arc, thread, time::Duration};

use proptest::prelude::*;

use super::{
    simulated::{Read, Simulated, Write},
    ByteStream, Flusher, Inbound, Outcome, Reactor, Readiness, ServerClose, Transport, Wait,
};
use crate::protocol::close::CloseCode;

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
    let mut inbound = transport.try_inbound().expect("free");
    assert!(inbound.fill(Wait::Never).is_err(), "nothing has come");
    drop(inbound);
    stream.arrive(Read::Nothing);
    let peer = thread::spawn({
        let stream = stream.clone();
        move || stream.arrive(Read::Bytes(b"x".to_vec()))
    });
    peer.join().expect("no panic");
    assert!(transport.try_inbound().expect("free").fill(Wait::Never).is_err());
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
