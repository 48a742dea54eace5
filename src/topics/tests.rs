//! The broker over simulated streams.

mod interleaving;

use std::{
    io,
    sync::{mpsc, Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    connection::{
        simulated::{Read, Simulated, Write},
        ByteStream, Flusher, SlowPolicy, Transport, Wait,
    },
    protocol::{
        close_code::CloseCode,
        deflate::{DeflateLevel, MessageInflater},
        frame::{Decoded, FrameHeader, Opcode},
    },
};

const DEADLINE: Duration = Duration::from_secs(60);
const FULL: Write = Write::Fails(io::ErrorKind::WouldBlock);

fn broker(queue_bytes: usize, policy: SlowPolicy) -> Broker {
    Broker::new(QueueSettings { queue_bytes, policy, close_time: None }, |_| {})
}

fn connect(stream: &Arc<Simulated>) -> Arc<Transport> {
    let stream: Arc<dyn ByteStream> = stream.clone();
    let transport = Transport::new(stream, Vec::new(), Arc::new(Flusher::default()), None);
    transport.note_established();
    Arc::new(transport)
}

fn subscriber(
    broker: &Broker,
    topic: &str,
    writes: impl IntoIterator<Item = Write>,
) -> (Arc<Simulated>, Arc<Transport>) {
    let stream = Arc::new(Simulated::new([Read::Nothing], writes));
    let transport = connect(&stream);
    broker.subscribe(&transport, topic, None).expect("a thread");
    (stream, transport)
}

fn text(payload: &str) -> Message<'_> {
    Message { opcode: Opcode::TEXT, payload: payload.as_bytes() }
}

fn publish(broker: &Broker, topic: &str, payload: &str) -> usize {
    broker.publish(topic, &text(payload), &[]).expect("short")
}

/// The frames of what was sent: FIN, reserved bits, opcode and payload.
fn frames(bytes: &[u8]) -> Vec<(bool, u8, u8, Vec<u8>)> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Ok(Decoded::Header(header, length)) = FrameHeader::decode(rest, false) {
        let end = length + usize::try_from(header.length).expect("short");
        let Some(payload) = rest.get(length..end) else { break };
        found.push((header.fin, header.reserved, header.opcode.value(), payload.to_vec()));
        rest = &rest[end..];
    }
    found
}

fn texts(stream: &Simulated) -> Vec<String> {
    let payload = |(_, _, _, payload)| String::from_utf8(payload).expect("text");
    frames(&stream.sent()).into_iter().map(payload).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_message_goes_to_the_subscribers_of_its_topic_once() {
    let broker = broker(1000, SlowPolicy::Close);
    let (first, transport) = subscriber(&broker, "a", []);
    let (second, _) = subscriber(&broker, "a", []);
    let (other, _) = subscriber(&broker, "b", []);
    broker.subscribe(&transport, "a", None).expect("again");
    assert_eq!(publish(&broker, "a", "hello"), 2);
    assert_eq!(publish(&broker, "c", "nobody"), 0);
    assert_eq!(
        (first.sent(), second.sent()),
        (b"\x81\x05hello".to_vec(), b"\x81\x05hello".to_vec())
    );
    assert!(other.sent().is_empty());
    assert_eq!(broker.subscribers("a"), Ok(2));
    let expected = Statistics {
        topics: 2,
        subscriptions: 3,
        published: 2,
        delivered: 2,
        ..Statistics::default()
    };
    assert_eq!(broker.statistics(), expected);
    assert_eq!(transport.account().sent.text.messages, 1);
}

#[test]
fn names_and_lengths_have_limits() {
    let broker = broker(100, SlowPolicy::Close);
    let (_, transport) = subscriber(&broker, &"é".repeat(127), []);
    for (name, error) in
        [(String::new(), NameError::Empty), ("é".repeat(128), NameError::TooLong(256))]
    {
        let kind = broker.subscribe(&transport, &name, None).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::InvalidInput);
        assert_eq!(broker.unsubscribe(&transport, &name), Err(error.clone()));
        assert_eq!(broker.publish(&name, &text("x"), &[]), Err(PublishError::Name(error)));
    }
    let long = "x".repeat(91);
    assert_eq!(
        broker.publish("a", &text(&long), &[]),
        Err(PublishError::TooLong { size: 91, limit: 100 })
    );
    assert_eq!(broker.publish("a", &text(&long[1..]), &[]), Ok(0));
}

#[test]
fn who_leaves_or_is_excluded_gets_nothing() {
    let broker = broker(1000, SlowPolicy::Close);
    let (left, left_transport) = subscriber(&broker, "a", []);
    let (excluded, excluded_transport) = subscriber(&broker, "a", []);
    let (gone, gone_transport) = subscriber(&broker, "a", []);
    let (stays, _) = subscriber(&broker, "a", []);
    broker.subscribe(&gone_transport, "b", None).expect("a thread");
    broker.unsubscribe(&left_transport, "a").expect("a name");
    broker.unsubscribe(&left_transport, "a").expect("a name");
    broker.unsubscribe_all(&gone_transport);
    assert_eq!(broker.publish("a", &text("x"), &[excluded_transport]), Ok(1));
    assert_eq!(publish(&broker, "b", "x"), 0);
    assert_eq!([left, excluded, gone].map(|stream| stream.sent().len()), [0, 0, 0]);
    assert_eq!(texts(&stays), ["x"]);
}

#[test]
fn nothing_is_delivered_behind_a_close_frame() {
    let broker = broker(1000, SlowPolicy::Close);
    let (closing, transport) = subscriber(&broker, "a", []);
    let (leaving, other) = subscriber(&broker, "a", []);
    transport.note_close_sent(CloseCode::NORMAL);
    other.go_away(&crate::connection::ServerClose::new(CloseCode::GOING_AWAY, "").expect("short"));
    assert_eq!(broker.subscribers("a"), Ok(0));
    assert_eq!(publish(&broker, "a", "x"), 0);
    assert!(closing.sent().is_empty());
    assert_eq!(leaving.sent(), b"\x88\x02\x03\xe9");
    assert_eq!(broker.statistics().subscriptions, 0, "they are forgotten");
}

#[test]
fn a_connection_that_fails_is_forgotten_and_its_handler_is_told() {
    let broker = broker(1000, SlowPolicy::Close);
    let reset = Write::Fails(io::ErrorKind::ConnectionReset);
    let (_, transport) = subscriber(&broker, "a", [reset]);
    let (healthy, _) = subscriber(&broker, "a", []);
    assert_eq!(publish(&broker, "a", "x"), 1);
    assert_eq!(texts(&healthy), ["x"]);
    assert_eq!(broker.statistics().subscriptions, 1);
    let error = transport.send_frame(b"\x81\x00", b"", Wait::Never).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn the_delivery_thread_sends_to_many() {
    let broker = broker(1000, SlowPolicy::Close);
    let all: Vec<_> = (0..500).map(|_| subscriber(&broker, "a", [])).collect();
    for number in 0..10 {
        assert_eq!(publish(&broker, "a", &number.to_string()), 500);
    }
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for (stream, _) in &all {
        wait_until("all has come", || stream.sent().len() == 30);
        assert_eq!(texts(stream), expected);
    }
    broker.stop();
}

#[test]
fn the_delivery_thread_goes_on_when_the_peer_has_read() {
    let broker = broker(1000, SlowPolicy::Close);
    let (stream, _transport) = subscriber(&broker, "a", [Write::Takes(3), FULL, FULL]);
    assert_eq!(publish(&broker, "a", "first"), 1);
    assert_eq!(publish(&broker, "a", "second"), 1);
    wait_until("some was sent", || !stream.sent().is_empty());
    wait_until("all was sent", || {
        stream.peer_reads();
        texts(&stream) == ["first", "second"]
    });
}

#[test]
fn each_policy_bounds_what_waits() {
    for (policy, expected) in [
        (SlowPolicy::Close, vec!["0"]),
        (SlowPolicy::DropNewest, vec!["0", "1", "2", "3"]),
        (SlowPolicy::DropOldest, vec!["0", "7", "8", "9"]),
    ] {
        // the first message is sent in part, and the delivery thread finds no room in the socket
        let broker = broker(12, policy);
        let writes = std::iter::once(Write::Takes(2)).chain(std::iter::repeat_n(FULL, 10_000));
        let (stream, transport) = subscriber(&broker, "a", writes);
        for number in 0..10 {
            broker.publish("a", &text(&number.to_string()), &[]).expect("short");
            let waiting = transport.outbox().expect("subscribed").waiting();
            assert!(waiting <= 12, "{policy:?}: {waiting}");
        }
        let statistics = broker.statistics();
        let closes = policy == SlowPolicy::Close;
        assert_eq!(statistics.closed, u64::from(closes));
        assert_eq!(statistics.subscriptions, usize::from(!closes));
        assert!(statistics.dropped > 0);
        stream.forget_writes();
        wait_until("all was sent", || {
            stream.peer_reads();
            transport.deliver();
            transport.flush_before_wait(Wait::Never);
            frames(&stream.sent()).len() >= expected.len() + usize::from(closes)
        });
        let sent = frames(&stream.sent());
        let first = &sent[0];
        assert_eq!((first.0, first.2, &first.3[..]), (true, 1, &b"0"[..]));
        if closes {
            let body = [&1008_u16.to_be_bytes()[..], b"too slow for the topics"].concat();
            assert_eq!(sent[1..], [(true, 0, 8, body)]);
        } else {
            assert_eq!(texts(&stream), expected, "{policy:?}");
        }
        broker.stop();
    }
}

#[test]
fn a_slow_subscriber_that_answers_no_close_frame_is_cut() {
    let settings = QueueSettings {
        queue_bytes: 12,
        policy: SlowPolicy::Close,
        close_time: Some(Duration::from_millis(1)),
    };
    let (told, tells) = mpsc::channel();
    let told = Mutex::new(told);
    let broker = Broker::new(settings, move |slow| {
        told.lock().expect("no panic").send(slow.policy).expect("listened to");
    });
    let writes = std::iter::once(Write::Takes(2)).chain(std::iter::repeat_n(FULL, 10_000));
    let (_, transport) = subscriber(&broker, "a", writes);
    for _ in 0..10 {
        publish(&broker, "a", "x");
    }
    assert_eq!(tells.try_recv(), Ok(SlowPolicy::Close));
    wait_until("it was cut", || transport.closing().is_cut());
    broker.stop();
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Backplane for Recorder {
    fn first_joined(&self, topic: &str) {
        self.0.lock().expect("no panic").push(format!("+{topic}"));
    }

    fn last_left(&self, topic: &str) {
        self.0.lock().expect("no panic").push(format!("-{topic}"));
    }

    fn published(&self, topic: &str, message: &Message<'_>) {
        let payload = String::from_utf8_lossy(message.payload);
        self.0.lock().expect("no panic").push(format!("{topic}: {payload}"));
    }

    fn statistics(&self) -> BackplaneStatistics {
        BackplaneStatistics::default()
    }
}

#[test]
fn a_backplane_learns_of_topics_and_messages_and_brings_others() {
    let broker = broker(1000, SlowPolicy::Close);
    let recorder = Arc::new(Recorder::default());
    assert!(broker.set_backplane(recorder.clone()) && !broker.set_backplane(recorder.clone()));
    let (stream, first) = subscriber(&broker, "a", []);
    let (_, second) = subscriber(&broker, "a", []);
    publish(&broker, "a", "ours");
    publish(&broker, "b", "without subscribers here");
    assert_eq!(broker.receive("a", &text("theirs")), 2);
    broker.unsubscribe_all(&first);
    broker.unsubscribe(&second, "a").expect("a name");
    assert_eq!(broker.receive("a", &text("late")), 0);
    assert_eq!(texts(&stream), ["ours", "theirs"]);
    let seen = recorder.0.lock().expect("no panic");
    assert_eq!(*seen, ["+a", "a: ours", "b: without subscribers here", "-a"]);
}

#[test]
fn connections_that_can_share_compressed_bytes_do() {
    let broker = broker(1000, SlowPolicy::Close);
    let level = DeflateLevel::FASTEST;
    let shared = Compression { window: None, level, min_bytes: 10 };
    let join = |compression| {
        let stream = Arc::new(Simulated::new([Read::Nothing], []));
        let transport = connect(&stream);
        broker.subscribe(&transport, "a", compression).expect("a thread");
        (stream, transport)
    };
    let (first, second, plain) = (join(Some(shared)), join(Some(shared)), join(None));
    let long = "long ".repeat(40);
    for payload in [&long, "short", &long] {
        publish(&broker, "a", payload);
    }
    assert_eq!(first.0.sent(), second.0.sent());
    assert_eq!(texts(&plain.0), [&long, "short", &long]);
    let sent = frames(&first.0.sent());
    assert_eq!(sent.iter().map(|frame| frame.1).collect::<Vec<_>>(), [0b100, 0, 0b100]);
    assert_eq!(sent[0], sent[2], "each message begins with an empty window");
    let inflated = MessageInflater::default().inflate(&sent[0].3, 1000).expect("a message");
    assert_eq!(inflated, long.as_bytes());
}

#[test]
fn publishers_in_several_threads_keep_their_order_while_others_come_and_go() {
    let broker = Arc::new(broker(1 << 20, SlowPolicy::Close));
    let all: Vec<_> = (0..40).map(|_| subscriber(&broker, "a", [])).collect();
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let broker = broker.clone();
            thread::spawn(move || {
                for number in 0..100 {
                    publish(&broker, "a", &format!("{publisher} {number}"));
                    let (_, transport) = subscriber(&broker, "a", []);
                    broker.unsubscribe(&transport, "a").expect("a name");
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.join().expect("no panic");
    }
    for (stream, _) in &all {
        wait_until("all has come", || texts(stream).len() == 400);
        for publisher in 0..4 {
            let prefix = format!("{publisher} ");
            let seen: Vec<_> = texts(stream)
                .iter()
                .filter_map(|text| text.strip_prefix(&prefix)?.parse::<usize>().ok())
                .collect();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }
    assert_eq!(broker.statistics().subscriptions, 40);
    broker.stop();
}
