//! Sending two pieces of bytes in order, without copying them together.

use std::io;

use crate::connection::{
    byte_stream::{ByteStream, Mode, SendResult},
    wait::{Wait, DETACH_MIN},
};

/// Sends two pieces in order, waiting in the way of the caller.
#[inline]
pub(super) fn send(
    socket: &dyn ByteStream,
    first: &[u8],
    second: &[u8],
    wait: Wait<'_>,
) -> SendResult {
    let parker = match wait {
        Wait::Never => return socket.send(first, second, Mode::NonBlocking),
        Wait::Long => return socket.send(first, second, Mode::Blocking),
        Wait::Park(parker) => parker,
    };
    let total = first.len() + second.len();
    let mut sent = 0;
    loop {
        let mut result = Ok(());
        let (first, second) = remaining(first, second, sent);
        if total < DETACH_MIN {
            result = socket.send(first, second, Mode::NonBlocking);
        } else {
            parker.detached(&mut || result = socket.send(first, second, Mode::NonBlocking));
        }
        match result {
            // with TLS, all bytes may be encrypted while records still wait for the kernel
            Ok(()) if !socket.has_unsent() => return Ok(()),
            Ok(()) => sent = total,
            Err((count, error)) if error.kind() == io::ErrorKind::WouldBlock => sent += count,
            Err((count, error)) => return Err((sent + count, error)),
        }
        parker.wait_writable().map_err(|error| (sent, error))?;
    }
}

/// The rest of two pieces of which `done` bytes have been sent.
pub(super) fn remaining<'a>(
    first: &'a [u8],
    second: &'a [u8],
    done: usize,
) -> (&'a [u8], &'a [u8]) {
    match first.get(done..) {
        Some(first) => (first, second),
        None => (&[], &second[done - first.len()..]),
    }
}
