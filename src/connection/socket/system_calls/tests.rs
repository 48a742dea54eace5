//! Runs what other systems do on sockets of this one, with the odd answers of their kernels.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use rustix::fs::{fcntl_getfl, OFlags};

use super::*;
use crate::system::Native;

/// A kernel whose sends look at the socket's own mode only, as XNU's do: on a blocking socket they
/// would block, whatever their flags say. Its sends fail in passing while a connection ends.
#[derive(Debug)]
struct Xnu;

thread_local! {
    static PASSING: Cell<usize> = const { Cell::new(0) };
}

impl System for Xnu {
    fn send(
        socket: BorrowedFd<'_>,
        pieces: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> rustix::io::Result<usize> {
        assert!(is_non_blocking(socket), "this send would block");
        if let Some(left) = PASSING.get().checked_sub(1) {
            PASSING.set(left);
            return Err(Errno::PROTOTYPE);
        }
        Native::send(socket, pieces, flags)
    }

    fn is_transient(error: Errno) -> bool {
        matches!(error, Errno::INTR | Errno::PROTOTYPE)
    }

    fn suppress_sigpipe(_: BorrowedFd<'_>) -> io::Result<()> {
        // the connection has ended already
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    type Thread = ();

    fn this_thread() {}
}

fn is_non_blocking(socket: BorrowedFd<'_>) -> bool {
    fcntl_getfl(socket).unwrap().contains(OFlags::NONBLOCK)
}

fn pair<S: System>() -> (Descriptor<S>, UnixStream) {
    let (ours, peers) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Descriptor::new(ours.into()), peers)
}

#[test]
fn blocking_calls_move_more_than_the_kernel_takes_at_once() {
    fn check<S: System>() {
        let (socket, mut peer) = pair::<S>();
        let count = Count::default();
        let payload = vec![7; 3 * SEND_AT_ONCE];
        let length = payload.len() as u64 + 2;
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        socket.send_both(&[1, 2], &payload, Mode::Blocking, &count).unwrap();
        drop(socket);
        assert_eq!(reader.join().unwrap(), [&[1, 2][..], &payload].concat());
        assert_eq!(count.get(), length);
    }
    check::<Xnu>();
    check::<Native>();
}

#[test]
fn blocking_receives_wait_for_bytes_and_for_the_end() {
    fn check<S: System>() {
        let (socket, mut peer) = pair::<S>();
        let receiver = thread::spawn(move || {
            let mut buffer = Vec::with_capacity(8);
            let first = socket.receive(&mut buffer, Mode::Blocking).unwrap();
            let second = socket.receive_into(&mut [0; 8], Mode::Blocking).unwrap();
            (first, buffer, second)
        });
        peer.write_all(b"abc").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let (first, buffer, second) = receiver.join().unwrap();
        // the end may have come together with the bytes, and then the peer has ended before them
        assert_eq!((first, &buffer[..], second), (3, &b"abc"[..], 0));
    }
    check::<Xnu>();
    check::<Native>();
}

#[test]
fn calls_that_must_not_block_do_not_block_after_one_that_may() {
    fn check<S: System>() {
        let (socket, mut peer) = pair::<S>();
        peer.write_all(b"a").unwrap();
        socket.receive_into(&mut [0; 8], Mode::Blocking).unwrap();
        let error = socket.receive_into(&mut [0; 8], Mode::NonBlocking).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let full = vec![0; 64 * SEND_AT_ONCE];
        let (sent, error) =
            socket.send_all(&full, Mode::NonBlocking, &Count::default()).unwrap_err();
        assert!(sent < full.len());
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    check::<Xnu>();
    check::<Native>();
}

#[test]
fn an_end_wakes_a_call_that_waits() {
    fn check<S: System>() {
        let (socket, peer) = pair::<S>();
        let socket = Arc::new(socket);
        let waiting = |socket: Arc<Descriptor<S>>| {
            thread::spawn(move || socket.receive_into(&mut [0; 8], Mode::Blocking))
        };
        let receiver = waiting(socket.clone());
        rustix::net::shutdown(&*socket, rustix::net::Shutdown::Read).unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 0);
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || {
                let more = vec![0; 64 * SEND_AT_ONCE];
                socket.send_all(&more, Mode::Blocking, &Count::default())
            })
        };
        drop(peer);
        let (_, error) = sender.join().unwrap().unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
    check::<Xnu>();
    check::<Native>();
}

#[test]
fn a_send_that_failed_in_passing_is_repeated() {
    let (socket, mut peer) = pair::<Xnu>();
    PASSING.set(2);
    socket.send_all(b"abc", Mode::NonBlocking, &Count::default()).unwrap();
    let mut read = [0; 3];
    peer.read_exact(&mut read).unwrap();
    assert_eq!((&read, PASSING.get()), (b"abc", 0));
}

#[test]
fn only_calls_that_may_block_switch_the_mode_and_only_where_flags_are_heeded() {
    fn stays_non_blocking<S: System>() -> bool {
        let (socket, mut peer) = pair::<S>();
        peer.write_all(b"ab").unwrap();
        socket.receive_into(&mut [0; 1], Mode::NonBlocking).unwrap();
        assert!(is_non_blocking(socket.as_fd()));
        socket.receive_into(&mut [0; 1], Mode::Blocking).unwrap();
        is_non_blocking(socket.as_fd())
    }
    assert!(stays_non_blocking::<Xnu>());
    assert_eq!(stays_non_blocking::<Native>(), !Native::DONTWAIT_IS_ENOUGH);
}
