//! Closing, over a stream that takes or gives only so much.

use std::{error::Error, io, sync::Arc, thread, time::Duration};

use super::{masked, receive, receive_all, transport};
use crate::{
    connection::{
        batch::{self, Gathering, HasNext},
        simulated::{Read, Simulated, Write},
        AfterServerClose, Insertion, Outcome, ReceiveError, ServerClose, Transport, Wait,
    },
    protocol::{close::CloseCode, frame::Opcode, receive::Event},
};

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
fn a_thread_that_comes_after_the_handlers_close_frame_sends_no_message_and_no_second_one() {
    let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(1)]));
    let transport = transport(&stream);
    // the first frame of a message, of which the peer has not taken all
    transport.send_frame(b"\x01\x01", b"a", Wait::Never).expect("held back");
    assert!(transport.note_only_close_sent(CloseCode::NORMAL));
    // these have found no close frame before
    for header in [b"\x80\x01", b"\x81\x01", b"\x82\x01"] {
        let error = transport.send_frame(header, b"b", Wait::Never).expect_err("after the close");
        assert!(error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<AfterServerClose>));
        transport.set_more_buffered(true);
        assert!(!transport.hold(header, b"b"));
    }
    assert!(!transport.note_only_close_sent(CloseCode::GOING_AWAY));
    transport.send_frame(b"\x88\x02\x03\xe8", b"", Wait::Never).expect("sent");
    transport.send_frame(b"\x8a\x00", b"", Wait::Never).expect("an answer to a ping");
    assert_eq!(stream.sent(), b"\x01\x01a\x88\x02\x03\xe8\x8a\x00");
    assert_eq!(transport.closing().code_sent(), Some(CloseCode::NORMAL));
}

#[test]
fn a_handler_that_ends_while_the_server_goes_away_loses_no_close_frame() {
    let server_close = ServerClose::new(CloseCode::GOING_AWAY, "").expect("valid");
    for round in 0..500 {
        let stream = Arc::new(Simulated::new([Read::Nothing], []));
        let transport = transport(&stream);
        thread::scope(|scope| {
            scope.spawn(|| transport.go_away(&server_close));
            // a handler looks at this before it sends, and may return at once
            while !transport.closing().is_going_away() {
                thread::yield_now();
            }
            transport.note_end();
            transport.finish(Outcome::Abrupt);
        });
        assert_eq!(stream.sent(), b"\x88\x02\x03\xe9", "round {round}");
        assert!(stream.is_sending_ended());
    }
}

#[test]
fn an_end_waits_for_a_frame_that_the_server_is_sending() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    thread::scope(|scope| {
        let is_sending = || {
            let handler = scope.spawn(|| transport.finish(Outcome::Abrupt));
            // time for an end that does not wait
            thread::sleep(Duration::from_millis(20));
            assert!(!handler.is_finished());
        };
        assert_eq!(transport.insert(b"\x89\x00", false, is_sending), Insertion::Done);
    });
    assert_eq!(stream.sent(), b"\x89\x00");
    assert!(stream.is_sending_ended());
}

/// A message, the server's close frame behind it, and nothing more.
const GOODBYE: &[u8] = b"\x81\x02hi\x88\x02\x03\xe9";

#[test]
fn the_servers_close_frame_leaves_whole_wherever_the_stream_is_full() {
    for taken in 0..=GOODBYE.len() {
        for next in 0..=GOODBYE.len() {
            let script = [Write::Takes(taken), Write::Takes(next), Write::Takes(0)];
            let stream = Arc::new(Simulated::new([Read::Nothing], script));
            let transport = transport(&stream);
            transport.send_frame(b"\x81\x02", b"hi", Wait::Never).expect("kept");
            let server_close = ServerClose::new(CloseCode::GOING_AWAY, "").expect("valid");
            transport.go_away(&server_close);
            for _ in 0..4 {
                assert!(GOODBYE.starts_with(&stream.sent()), "{taken}, then {next}");
                transport.flush_before_wait(Wait::Never);
            }
            assert_eq!(stream.sent(), GOODBYE, "{taken}, then {next}");
            assert!(!transport.has_held());
            transport.finish(Outcome::Clean);
            assert!(stream.is_sending_ended());
        }
    }
}

#[test]
fn a_close_over_a_stream_that_breaks_anywhere_sends_nothing_twice_and_is_told() {
    for taken in 0..GOODBYE.len() {
        let fails = Write::Fails(io::ErrorKind::BrokenPipe);
        let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(taken), fails, fails]));
        let transport = transport(&stream);
        let sent = transport.send_frame(b"\x81\x02", b"hi", Wait::Never);
        sent.expect("the stream has broken later");
        transport.go_away(&ServerClose::new(CloseCode::GOING_AWAY, "").expect("valid"));
        // a handler that sends now learns that the stream is broken, or that it is too late
        assert!(transport.send_frame(b"\x81\x01", b"x", Wait::Never).is_err(), "after {taken}");
        assert!(GOODBYE.starts_with(&stream.sent()), "after {taken}");
        assert!(transport.finish(Outcome::Abrupt).is_some(), "the peer may still send");
        assert!(transport.finish(Outcome::Abrupt).is_none());
        assert!(transport.send_frame(b"\x81\x01", b"x", Wait::Never).is_err());
        assert!(GOODBYE.starts_with(&stream.sent()), "after {taken}");
    }
}

#[test]
fn the_peers_close_frame_counts_when_all_of_it_is_there() {
    let bytes = masked(Opcode::CLOSE, b"\x03\xe8bye");
    for cut in 0..bytes.len() {
        for ends in [Some(io::ErrorKind::ConnectionReset), None] {
            let mut script = vec![Read::Bytes(bytes[..cut].to_vec()), Read::Nothing];
            script.retain(|read| !matches!(read, Read::Bytes(bytes) if bytes.is_empty()));
            script.extend(ends.map(Read::Fails));
            let stream = Arc::new(Simulated::new(script, []));
            let transport = transport(&stream);
            let (events, error) = receive_all(&transport);
            assert_eq!(events, [], "cut at {cut}");
            match (ends, error) {
                (Some(kind), ReceiveError::Io(_, error)) => assert_eq!(error.kind(), kind),
                (None, ReceiveError::End(missing)) => assert!(missing > 0),
                (_, error) => panic!("{error:?} when cut at {cut}"),
            }
            assert!(!transport.closing().is_close_received(), "cut at {cut}");
        }
        let script = [bytes[..cut].to_vec(), bytes[cut..].to_vec()];
        let script = script.into_iter().filter(|piece| !piece.is_empty()).map(Read::Bytes);
        let stream = Arc::new(Simulated::new(script, []));
        let transport = transport(&stream);
        let event = receive(&transport).expect("whole");
        assert_eq!(event, Event::Close(b"\x03\xe8bye".to_vec()), "cut at {cut}");
        assert!(transport.closing().is_close_received(), "cut at {cut}");
    }
}

#[test]
fn an_end_of_our_direction_follows_what_the_stream_takes_later() {
    for taken in 0..4 {
        let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(taken)]));
        let transport = transport(&stream);
        transport.send_frame(b"\x81\x02", b"hi", Wait::Never).expect("kept");
        assert!(!stream.is_sending_ended());
        transport.end_sending(Wait::Never).expect("kept");
        transport.flush_before_wait(Wait::Never);
        assert_eq!(stream.sent(), b"\x81\x02hi", "takes {taken}");
        assert!(stream.is_sending_ended(), "takes {taken}");
        let late = transport.send_frame(b"\x81\x01", b"x", Wait::Never);
        assert_eq!(late.expect_err("too late").kind(), io::ErrorKind::BrokenPipe);
    }
}

struct Others;

impl HasNext for Others {
    fn has_next(&self) -> bool {
        false
    }
}

const ANSWER: &[u8] = b"\x88\x02\x03\xe8";

/// The peer has sent a close frame, and the handler answers it where handlers take turns.
fn answer_in_turn(writes: impl IntoIterator<Item = Write>) -> (Arc<Simulated>, Arc<Transport>) {
    batch::gather(Gathering::While(&Others));
    let stream = Arc::new(Simulated::new([Read::Nothing], writes));
    let transport = transport(&stream);
    transport.note_close_received(Some(CloseCode::NORMAL));
    transport.note_close_sent(CloseCode::NORMAL);
    transport.send_frame(ANSWER, b"", Wait::Never).expect("sent");
    (stream, transport)
}

#[test]
fn the_answer_to_a_close_frame_leaves_with_the_end() {
    let (stream, transport) = answer_in_turn([]);
    assert_eq!((stream.sent(), stream.kept()), (ANSWER.to_vec(), ANSWER.len()));
    transport.finish(Outcome::Clean);
    assert!(stream.is_sending_ended());
    assert_eq!(stream.kept(), 0);
    batch::flush();
}

#[test]
fn the_answer_does_not_wait_for_a_handler_that_goes_on() {
    let (stream, _transport) = answer_in_turn([]);
    batch::flush();
    assert_eq!(stream.kept(), 0);
    assert!(!stream.is_sending_ended());
}

#[test]
fn a_handler_that_resets_has_sent_its_answer() {
    let (stream, transport) = answer_in_turn([]);
    transport.reset();
    assert_eq!(stream.kept(), 0);
    batch::flush();
}

#[test]
fn an_answer_that_the_peer_does_not_take_follows_later() {
    let (stream, transport) = answer_in_turn([Write::Takes(1), Write::Takes(0)]);
    assert_eq!(stream.sent(), ANSWER[..1]);
    transport.flush_before_wait(Wait::Never);
    assert_eq!((stream.sent(), stream.kept()), (ANSWER.to_vec(), 0));
}

#[test]
fn only_the_answer_waits_for_the_end_and_only_where_handlers_take_turns() {
    let stream = Arc::new(Simulated::new([Read::Nothing], []));
    let transport = transport(&stream);
    batch::gather(Gathering::While(&Others));
    transport.send_frame(b"\x81\x01", b"a", Wait::Never).expect("sent");
    // the handler's own close frame: it waits for the answer
    transport.send_frame(ANSWER, b"", Wait::Never).expect("sent");
    assert_eq!(stream.kept(), 0);
    batch::gather(Gathering::Never);
    transport.note_close_received(Some(CloseCode::NORMAL));
    transport.send_frame(ANSWER, b"", Wait::Never).expect("sent");
    assert_eq!(stream.kept(), 0);
}
