//! The reactor over simulated streams and real sockets.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    thread,
};

use super::*;
use crate::connection::{
    simulated::{Read, Simulated},
    PlainSocket,
};

const NO_TIME: Option<Duration> = Some(Duration::ZERO);

fn poll(reactor: &mut Reactor, timeout: Option<Duration>) -> Vec<CallerId> {
    let mut woken = Vec::new();
    reactor.poll(timeout, &mut woken).expect("polled");
    woken
}

/// A stream that has nothing to read.
fn silent() -> Simulated {
    Simulated::new([Read::Nothing], [])
}

/// A registered socket and its peer.
fn pair(reactor: &mut Reactor) -> (PlainSocket, Registration, UnixStream) {
    let (ours, peers) = UnixStream::pair().expect("sockets");
    ours.set_nonblocking(true).expect("ours");
    let socket = PlainSocket::new(ours.into(), None);
    let registration = reactor.register(&socket).expect("registered");
    (socket, registration, peers)
}

#[test]
fn a_reactor_watches_a_stream_without_a_descriptor() {
    let stream = Arc::new(silent());
    let mut reactor = Reactor::new().expect("descriptors");
    let registration = reactor.register(&*stream).expect("registered");
    let token = registration.token();
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

#[test]
fn a_socket_wakes_its_reader_and_its_writer_and_tells_of_the_end() {
    let mut reactor = Reactor::new().expect("descriptors");
    let (_socket, registration, mut peers) = pair(&mut reactor);
    let token = registration.token();
    assert!(!reactor.is_readable(token) && reactor.wake_reader(token, 1));
    assert!(reactor.wake_writer(token, 2));
    reactor.watch_end(token, 3);
    assert_eq!(poll(&mut reactor, None), [2], "there is room");
    assert!(!reactor.wake_writer(token, 2), "there was an event, so it should try again");
    peers.write_all(b"x").expect("sent");
    assert_eq!(poll(&mut reactor, None), [1]);
    assert!(reactor.is_readable(token) && !reactor.wake_reader(token, 1));
    reactor.mark_drained(token);
    assert!(!reactor.is_readable(token) && !reactor.has_ended(token));
    assert!(reactor.wake_reader(token, 1));
    drop(peers);
    let mut woken = poll(&mut reactor, None);
    woken.sort_unstable();
    assert!(woken.ends_with(&[1, 3]) || woken == [1, 3], "{woken:?}");
    assert!(reactor.has_ended(token));
    reactor.mark_drained(token);
    assert!(reactor.is_readable(token), "the caller must read to the end");
    reactor.watch_end(token, 4);
    assert_eq!(poll(&mut reactor, NO_TIME), [4], "it has ended already");
}

#[test]
fn only_a_reset_breaks_a_connection() {
    for resets in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peers = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (ours, _) = listener.accept().expect("accepted");
        ours.set_nonblocking(true).expect("ours");
        let socket = PlainSocket::new(ours.into(), None);
        let mut reactor = Reactor::new().expect("descriptors");
        let registration = reactor.register(&socket).expect("watched");
        let token = registration.token();
        assert!(!reactor.is_broken(token));
        if resets {
            let at_once = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&peers, at_once).expect("lingers");
        }
        drop(peers);
        while !reactor.has_ended(token) {
            poll(&mut reactor, None);
        }
        assert_eq!(reactor.is_broken(token), resets);
    }
}

#[test]
fn a_reset_behind_the_end_is_told_as_well() {
    let mut reactor = Reactor::new().expect("descriptors");
    let registration = reactor.register(&silent()).expect("registered");
    let (token, remote) = (registration.token(), reactor.remote().clone());
    reactor.mark_drained(token);
    reactor.watch_end(token, 5);
    let ended = Change { readable: true, end: PeerEnd::Ended, ..Change::default() };
    let broken = Change { end: PeerEnd::Broken, ..ended };
    for (change, woken) in [
        (Change { readable: true, ..Change::default() }, &[][..]),
        (ended, &[5]),
        (ended, &[]),
        (broken, &[5]),
        (broken, &[]),
    ] {
        remote.notify(|notifications| notifications.changes.push((token, change)));
        assert_eq!(poll(&mut reactor, NO_TIME), woken);
        assert_eq!(reactor.is_broken(token), change.end == PeerEnd::Broken);
    }
}

#[test]
fn a_second_reader_sends_the_first_one_away() {
    let mut reactor = Reactor::new().expect("descriptors");
    let registration = reactor.register(&silent()).expect("registered");
    let token = registration.token();
    reactor.mark_drained(token);
    assert!(reactor.wake_reader(token, 1) && reactor.wake_reader(token, 1));
    assert!(poll(&mut reactor, NO_TIME).is_empty());
    assert!(reactor.wake_reader(token, 2));
    assert_eq!(poll(&mut reactor, NO_TIME), [1]);
}

#[test]
fn a_token_means_nothing_when_its_connection_has_ended() {
    let mut reactor = Reactor::new().expect("descriptors");
    let first = reactor.register(&silent()).expect("registered");
    let old = first.token();
    reactor.mark_drained(old);
    assert!(reactor.wake_reader(old, 1));
    first.end(None);
    assert_eq!(poll(&mut reactor, NO_TIME), [1], "its reader learns that it has ended");
    drop(first);
    assert!(poll(&mut reactor, NO_TIME).is_empty());
    let second = reactor.register(&silent()).expect("registered");
    let new = second.token();
    assert_eq!(new.number(), old.number(), "the place is used again");
    assert_ne!(new, old);
    reactor.mark_drained(new);
    assert!(!reactor.is_readable(new));
    // nothing waits for what has ended, and nothing of it touches the new connection
    assert!(reactor.is_readable(old) && reactor.has_ended(old) && !reactor.has_ended(new));
    assert!(!reactor.wake_reader(old, 2) && !reactor.wake_writer(old, 2));
    reactor.watch_end(old, 2);
    reactor.mark_drained(old);
    assert!(reactor.wake_reader(new, 3));
    assert!(poll(&mut reactor, NO_TIME).is_empty());
}

#[test]
fn a_call_from_another_thread_ends_the_wait_or_the_next_one() {
    let mut reactor = Reactor::new().expect("descriptors");
    let remote = reactor.remote().clone();
    remote.wake();
    assert!(poll(&mut reactor, None).is_empty(), "the call came before the wait");
    let others: Vec<_> = (0..4)
        .map(|caller| {
            let waker = remote.waker(caller);
            thread::spawn(move || waker.wake())
        })
        .collect();
    let mut woken = Vec::new();
    while woken.len() < 4 {
        woken.extend(poll(&mut reactor, None));
    }
    for other in others {
        other.join().expect("no panic");
    }
    woken.sort_unstable();
    assert_eq!(woken, [0, 1, 2, 3]);
}

#[test]
fn a_reactor_is_not_left_asleep_by_a_call_while_it_prepares() {
    let reactor = Reactor::new().expect("descriptors");
    assert!(reactor.prepare_to_sleep());
    reactor.remote().wake();
    assert!(!reactor.prepare_to_sleep(), "there is something already");
}
