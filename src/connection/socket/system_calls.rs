//! The system calls that move bytes, repeated when a signal interrupts them.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    buffer::spare_capacity,
    net::{recv, send, sendmsg, RecvFlags, SendAncillaryBuffer, SendFlags},
};

use crate::connection::byte_stream::{Mode, SendResult};

/// The most bytes to pass to the kernel at a time. A call may block until the peer has taken most
/// of them, and the keepalive thread sees progress only between two calls.
const SEND_AT_ONCE: usize = 512 * 1024;

/// A counter to which only one thread at a time adds.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: usize) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count as u64);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
    loop {
        match recv(socket.as_fd(), spare_capacity(buffer), receive_flags(mode)) {
            Ok((_, count)) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn receive_into(socket: &OwnedFd, target: &mut [u8], mode: Mode) -> io::Result<usize> {
    loop {
        match recv(socket.as_fd(), &mut *target, receive_flags(mode)) {
            Ok((count, _)) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive_flags(mode: Mode) -> RecvFlags {
    match mode {
        Mode::NonBlocking => RecvFlags::DONTWAIT,
        Mode::Blocking => RecvFlags::empty(),
    }
}

pub(super) fn send_all(socket: &OwnedFd, bytes: &[u8], mode: Mode, total: &Count) -> SendResult {
    let mut sent = 0;
    while sent < bytes.len() {
        let piece = &bytes[sent..bytes.len().min(sent + SEND_AT_ONCE)];
        match send(socket.as_fd(), piece, send_flags(mode)) {
            Ok(count) => {
                sent += count;
                total.add(count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((sent, error.into())),
        }
    }
    Ok(())
}

pub(super) fn send_both(
    socket: &OwnedFd,
    header: &[u8],
    payload: &[u8],
    mode: Mode,
    total: &Count,
) -> SendResult {
    let first = &payload[..payload.len().min(SEND_AT_ONCE)];
    let slices = [IoSlice::new(header), IoSlice::new(first)];
    let mut control = SendAncillaryBuffer::default();
    let sent = loop {
        match sendmsg(socket.as_fd(), &slices, &mut control, send_flags(mode)) {
            Ok(count) => break count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((0, error.into())),
        }
    };
    total.add(sent);
    let behind = |more: usize| move |(count, error)| (more + count, error);
    let rest = if let Some(sent) = sent.checked_sub(header.len()) {
        &payload[sent..]
    } else {
        send_all(socket, &header[sent..], mode, total).map_err(behind(sent))?;
        payload
    };
    let before = header.len() + payload.len() - rest.len();
    send_all(socket, rest, mode, total).map_err(behind(before))
}

fn send_flags(mode: Mode) -> SendFlags {
    match mode {
        Mode::NonBlocking => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Mode::Blocking => SendFlags::NOSIGNAL,
    }
}
