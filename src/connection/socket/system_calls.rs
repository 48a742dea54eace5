//! The system calls that move bytes, repeated when a signal interrupts them.

use std::{
    io::{self, IoSlice},
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::{
    buffer::spare_capacity,
    event::{poll, PollFd, PollFlags},
    io::{ioctl_fionbio, Errno},
    net::{recv, RecvFlags, SendFlags},
};

use crate::{
    connection::byte_stream::{Mode, SendResult},
    system::System,
};

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

/// A connected socket. Each call says whether it may block.
#[derive(Debug)]
pub(super) struct Descriptor<S> {
    socket: OwnedFd,
    /// Whether the socket is in blocking mode. It is switched only when a call needs it, which
    /// often saves the system call, and only on systems where other calls can still say that they
    /// must not block.
    blocks: AtomicBool,
    system: PhantomData<S>,
}

impl<S: System> Descriptor<S> {
    /// Takes over a socket in non-blocking mode.
    pub(super) fn new(socket: OwnedFd) -> Self {
        // it fails on a connection that has ended, which the first call will say as well
        let _ = S::suppress_sigpipe(socket.as_fd());
        Self { socket, blocks: AtomicBool::new(false), system: PhantomData }
    }

    pub(super) fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        let flags = receive_flags(mode);
        self.call(mode, PollFlags::IN, || {
            recv(&self.socket, spare_capacity(buffer), flags).map(|(_, count)| count)
        })
    }

    pub(super) fn receive_into(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        let flags = receive_flags(mode);
        self.call(mode, PollFlags::IN, || {
            recv(&self.socket, &mut *target, flags).map(|(count, _)| count)
        })
    }

    pub(super) fn send_all(&self, bytes: &[u8], mode: Mode, total: &Count) -> SendResult {
        let mut sent = 0;
        while sent < bytes.len() {
            let piece = &bytes[sent..bytes.len().min(sent + SEND_AT_ONCE)];
            let count = self.send(&[IoSlice::new(piece)], mode).map_err(|error| (sent, error))?;
            sent += count;
            total.add(count);
        }
        Ok(())
    }

    pub(super) fn send_both(
        &self,
        header: &[u8],
        payload: &[u8],
        mode: Mode,
        total: &Count,
    ) -> SendResult {
        let first = &payload[..payload.len().min(SEND_AT_ONCE)];
        let slices = [IoSlice::new(header), IoSlice::new(first)];
        let sent = self.send(&slices, mode).map_err(|error| (0, error))?;
        total.add(sent);
        let behind = |more: usize| move |(count, error)| (more + count, error);
        let rest = if let Some(sent) = sent.checked_sub(header.len()) {
            &payload[sent..]
        } else {
            self.send_all(&header[sent..], mode, total).map_err(behind(sent))?;
            payload
        };
        let before = header.len() + payload.len() - rest.len();
        self.send_all(rest, mode, total).map_err(behind(before))
    }

    /// Sends what the kernel takes of the pieces.
    pub(super) fn send(&self, pieces: &[IoSlice<'_>], mode: Mode) -> io::Result<usize> {
        let flags = match mode {
            Mode::NonBlocking => SendFlags::DONTWAIT,
            Mode::Blocking => SendFlags::empty(),
            Mode::BeforeEnd => SendFlags::DONTWAIT | S::MORE_FOLLOWS,
        };
        self.call(mode, PollFlags::OUT, || S::send(self.as_fd(), pieces, flags))
    }

    /// Makes a system call until it has an answer.
    fn call(
        &self,
        mode: Mode,
        readiness: PollFlags,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        if S::DONTWAIT_IS_ENOUGH && mode == Mode::Blocking && !self.blocks.load(Ordering::Relaxed) {
            ioctl_fionbio(&self.socket, false)?;
            self.blocks.store(true, Ordering::Relaxed);
        }
        loop {
            match call() {
                Ok(count) => return Ok(count),
                Err(Errno::WOULDBLOCK) if !S::DONTWAIT_IS_ENOUGH && mode == Mode::Blocking => {
                    match poll(&mut [PollFd::new(&self.socket, readiness)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) if S::is_transient(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<S> AsFd for Descriptor<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn receive_flags(mode: Mode) -> RecvFlags {
    match mode {
        Mode::NonBlocking | Mode::BeforeEnd => RecvFlags::DONTWAIT,
        Mode::Blocking => RecvFlags::empty(),
    }
}

#[cfg(test)]
mod tests;
