//! Frames of topics between those of the handler, in any order.

use proptest::prelude::*;

use super::*;

/// Sends a frame, or queues it behind what the kernel does not take. While the delivery thread sends,
/// a caller that does not wait is refused, so it tries again.
fn send(transport: &Transport, header: &[u8], payload: &[u8]) {
    wait_until("nobody else sends", || match transport.send_frame(header, payload, Wait::Never) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        sent => sent.is_ok() || panic!("{sent:?}"),
    });
}

/// What happens on a connection, in any order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Publish(usize),
    /// The handler sends a frame; whether it is the last of its message.
    Send(usize, bool),
    /// The same while another caller has the sending half.
    Hold(usize),
    Ping,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..200_usize).prop_map(Step::Publish),
        3 => (0..200_usize, any::<bool>()).prop_map(|(size, fin)| Step::Send(size, fin)),
        1 => (0..50_usize).prop_map(Step::Hold),
        1 => Just(Step::Ping),
    ];
    proptest::collection::vec(step, 1..40)
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        3 => (0..300_usize).prop_map(Write::Takes),
        1 => Just(FULL),
    ];
    proptest::collection::vec(write, 0..40)
}

fn header(first: u8, size: usize) -> Vec<u8> {
    match u8::try_from(size) {
        Ok(size @ ..126) => vec![first, size],
        _ => [&[first, 126][..], &u16::try_from(size).expect("short").to_be_bytes()].concat(),
    }
}

proptest! {
    #[test]
    fn frames_of_topics_and_of_the_handler_never_mix(steps in steps(), script in writes()) {
        let broker = broker(1 << 20, SlowPolicy::Close);
        let (stream, transport) = subscriber(&broker, "a", script);
        let (mut published, mut sent, mut is_open) = (Vec::new(), Vec::new(), false);
        for (number, step) in steps.into_iter().enumerate() {
            let fill = |size| vec![u8::try_from(number).expect("few"); size];
            match step {
                Step::Publish(size) => {
                    let message = Message { opcode: Opcode::BINARY, payload: &fill(size) };
                    prop_assert_eq!(broker.publish("a", &message, &[]), Ok(1));
                    published.push(fill(size));
                }
                Step::Send(size, fin) => {
                    let opcode = u8::from(!is_open);
                    let first = if fin { 0x80 | opcode } else { opcode };
                    let header = header(first, size);
                    send(&transport, &header, &fill(size));
                    sent.push((fin, opcode, fill(size)));
                    is_open = !fin;
                }
                Step::Hold(size) if !is_open => {
                    transport.set_more_buffered(true);
                    wait_until("it is held", || transport.hold(&header(0x81, size), &fill(size)));
                    sent.push((true, 1, fill(size)));
                    transport.set_more_buffered(false);
                }
                Step::Hold(_) => {}
                Step::Ping => {
                    send(&transport, b"\x89\x00", b"");
                }
            }
        }
        if is_open {
            send(&transport, b"\x80\x00", b"");
            sent.push((true, 0, Vec::new()));
        }
        stream.forget_writes();
        wait_until("all was sent", || {
            stream.peer_reads();
            transport.flush_before_wait(Wait::Never);
            transport.deliver();
            !transport.has_held() && transport.outbox().expect("subscribed").waiting() == 0
        });
        let seen = frames(&stream.sent());
        let mut inside = false;
        for (fin, _, opcode, _) in &seen {
            prop_assert!(*opcode != 2 || !inside, "a message of a topic inside one of the handler");
            if *opcode < 2 {
                inside = !fin;
            }
        }
        let of_topic: Vec<_> = seen.iter().filter(|f| f.2 == 2).map(|f| f.3.clone()).collect();
        let of_handler: Vec<_> =
            seen.iter().filter(|f| f.2 < 2).map(|f| (f.0, f.2, f.3.clone())).collect();
        prop_assert_eq!(of_topic, published);
        prop_assert_eq!(of_handler, sent);
        broker.stop();
    }
}
