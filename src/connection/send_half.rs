//! The sending half of a connection. Small frames may be held back for a moment and leave together;
//! all others are sent at once.

mod last_frame;
mod pieces;

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use self::pieces::{remaining, send};
use super::{byte_stream::ByteStream, flusher::NextLook, wait::Wait};
use crate::protocol::frame::Opcode;

/// Replies held back are sent when they reach this size.
const HELD_MAX: usize = 64 * 1024;

/// Payloads below this size are copied behind their header and sent from one buffer.
const COPY_MAX: usize = 4 * 1024;

/// Frames up to this size are assembled on the stack, which is quicker than a system call with two
/// pieces.
const STACK_MAX: usize = 256;

/// The flusher stops watching a connection that has held nothing back for this many looks.
const FORGET_AFTER: u8 = 20;

/// The error for a message after a close frame of our side: no data frame may follow it (RFC 6455
/// 5.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a close frame has been sent")]
pub struct AfterServerClose;

/// The end of our direction, which the handler may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// It follows what is held back.
    Wanted,
    Sent,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct SendHalf {
    socket: Option<Arc<dyn ByteStream>>,
    /// Frames held back, to be sent before anything else.
    held: Vec<u8>,
    /// Ticks of the flusher since the last frame was held back.
    age: u8,
    /// An error of a send that no caller waited for; the next caller that sends gets it.
    failed: Option<io::ErrorKind>,
    /// The server has sent a close frame of its own.
    server_close_sent: bool,
    end: End,
    /// The handler has begun a fragmented message and not ended it, so no other message may come now
    /// (RFC 6455 5.4).
    is_mid_message: bool,
    /// Whether so much is held back that nothing should be added, because the peer does not read.
    backed_up: Arc<AtomicBool>,
}

impl SendHalf {
    pub(crate) fn new(socket: Arc<dyn ByteStream>) -> Self {
        Self {
            socket: Some(socket),
            held: Vec::new(),
            age: 0,
            failed: None,
            server_close_sent: false,
            end: End::Open,
            is_mid_message: false,
            backed_up: Arc::default(),
        }
    }

    /// Whether so much is held back that nothing should be added. Callers can read this without
    /// taking the lock.
    pub(crate) fn backed_up(&self) -> &Arc<AtomicBool> {
        &self.backed_up
    }

    fn note_held(&self) {
        let is_backed_up = self.held.len() >= HELD_MAX;
        if self.backed_up.load(Ordering::Relaxed) != is_backed_up {
            self.backed_up.store(is_backed_up, Ordering::Relaxed);
        }
    }

    /// Holds a small frame back. Returns `false` if the caller must send it instead.
    pub(crate) fn hold(&mut self, header: &[u8], payload: &[u8]) -> bool {
        let too_much = self.held.len() + payload.len() > HELD_MAX;
        let has_other_outcome = self.failed.is_some() || self.server_close_sent || self.is_over();
        if payload.len() >= COPY_MAX || too_much || has_other_outcome {
            return false;
        }
        self.note_frame(header);
        self.held.extend_from_slice(header);
        self.held.extend_from_slice(payload);
        self.age = 0;
        true
    }

    /// Notes whether a frame of the handler leaves its message open. Control frames may stand inside a
    /// message.
    fn note_frame(&mut self, header: &[u8]) {
        if let Some(is_mid_message) = header.first().and_then(|first| leaves_open(*first)) {
            self.is_mid_message = is_mid_message;
        }
    }

    /// Whether the handler has begun a fragmented message and not ended it.
    pub(crate) fn is_mid_message(&self) -> bool {
        self.is_mid_message
    }

    /// Whether frames are held back, or TLS records of frames.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty() || self.socket.as_ref().is_some_and(|socket| socket.has_unsent())
    }

    /// Appends frames to what is held back. After the server's close frame they are dropped: the
    /// caller that queued them does not wait, and gets the error with its next frame.
    pub(crate) fn append(&mut self, frames: &[u8], is_mid_message: Option<bool>) {
        if !self.server_close_sent && !self.is_over() {
            self.is_mid_message = is_mid_message.unwrap_or(self.is_mid_message);
            self.held.extend_from_slice(frames);
            self.note_held();
        }
    }

    /// Returns the error of an earlier send that no caller has got yet.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        if self.failed.is_some() {
            return self.take_failure();
        }
        Ok(())
    }

    #[cold]
    fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Whether nothing can be sent any more.
    fn is_over(&self) -> bool {
        self.socket.is_none() || self.end != End::Open
    }

    /// Tells the caller why nothing can be sent, if that is so.
    fn check_open(&mut self) -> io::Result<()> {
        self.check()?;
        if self.end == End::Open {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    /// Sends what was held back, and then a frame.
    pub(crate) fn send_frame(
        &mut self,
        header: &[u8],
        payload: &[u8],
        wait: Wait<'_>,
    ) -> io::Result<()> {
        self.check_open()?;
        if self.server_close_sent {
            return after_server_close(header);
        }
        self.note_frame(header);
        // nothing waits before it, so the frame can go out without being copied
        if !self.has_held() {
            return self.send_at_once(header, payload, wait);
        }
        // one system call for all: copying a small payload costs less than a second call
        if payload.len() < COPY_MAX {
            self.held.reserve_exact(header.len() + payload.len());
            self.held.extend_from_slice(header);
            self.held.extend_from_slice(payload);
            return kept(self.flush(wait));
        }
        self.send_behind(header, payload, wait)
    }

    /// Sends bytes in a system call of their own.
    pub(crate) fn write(&mut self, bytes: &[u8], wait: Wait<'_>) -> io::Result<()> {
        self.check_open()?;
        self.send_behind(bytes, &[], wait)
    }

    fn send_behind(&mut self, first: &[u8], second: &[u8], wait: Wait<'_>) -> io::Result<()> {
        kept(self.flush(wait))?;
        if self.has_held() {
            // the kernel took not all of it, and this caller does not wait
            self.held.extend_from_slice(first);
            self.held.extend_from_slice(second);
            self.note_held();
            return Ok(());
        }
        self.send(first, second, wait)
    }

    /// Sends the server's own close frame. From then on no frame of the handler is sent.
    pub(crate) fn send_server_close(&mut self, frame: &[u8]) {
        self.send_last(frame);
        self.server_close_sent = true;
    }

    /// Sends a frame of the server's own without waiting; the flusher sends the rest.
    pub(crate) fn send_last(&mut self, frame: &[u8]) {
        self.held.extend_from_slice(frame);
        // no caller waits for the result; the next send fails in the same way
        let _ = self.flush(Wait::Never);
    }

    /// Sends what was held back without waiting, for the frames of others behind it. Returns `false` if
    /// nothing more can be sent.
    pub(crate) fn flush_for_others(&mut self) -> bool {
        self.flush_and_keep_error(Wait::Never);
        self.failed.is_none() && self.socket.is_some()
    }

    /// Sends whole frames of others, behind which nothing waits. An error is for the handler.
    pub(crate) fn send_for_others(&mut self, frames: &[u8]) {
        if let Err(error) = self.send(frames, &[], Wait::Never) {
            self.failed = Some(error.kind());
        }
        self.note_held();
    }

    /// The size of what is held back.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Sends what was held back for two ticks.
    pub(crate) fn tick(&mut self) -> NextLook {
        self.age = self.age.saturating_add(1);
        if !self.has_held() {
            return if self.age < FORGET_AFTER { NextLook::Soon } else { NextLook::Never };
        }
        if self.age < 2 {
            return NextLook::Soon;
        }
        match self.flush(Wait::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => NextLook::Later,
            Err(error) => {
                self.failed = Some(error.kind());
                self.held = Vec::new();
                self.note_held();
                NextLook::Soon
            }
            Ok(()) if self.has_held() => NextLook::Later,
            Ok(()) => NextLook::Soon,
        }
    }

    /// Sends what was held back, then ends our direction; later if the caller does not wait.
    pub(crate) fn end(&mut self, wait: Wait<'_>) -> io::Result<()> {
        self.check()?;
        self.want_end()?;
        kept(self.flush(wait))
    }

    /// Has our direction end when what is held back has been sent.
    pub(crate) fn want_end(&mut self) -> io::Result<()> {
        let socket = self.socket()?;
        if self.end == End::Open {
            self.end = End::Wanted;
            self.end_behind_held(&*socket);
        }
        Ok(())
    }

    fn end_behind_held(&mut self, socket: &dyn ByteStream) {
        if self.end == End::Wanted && !self.has_held() {
            socket.end_sending();
            self.end = End::Sent;
        }
    }

    /// Lets go of the socket.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    /// Lets go of the socket, and of what was held back.
    pub(crate) fn abandon(&mut self) {
        self.close();
        self.held = Vec::new();
        self.note_held();
    }

    /// Sends what was held back, and keeps an error for the next caller that sends.
    pub(crate) fn flush_and_keep_error(&mut self, wait: Wait<'_>) {
        match self.flush(wait) {
            // nothing is lost: the next call or the flusher sends the rest
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => self.failed = Some(error.kind()),
            Ok(()) => {}
        }
    }

    fn socket(&self) -> io::Result<Arc<dyn ByteStream>> {
        self.socket.clone().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends what was held back.
    fn flush(&mut self, wait: Wait<'_>) -> io::Result<()> {
        if !self.has_held() {
            return Ok(());
        }
        let socket = self.socket()?;
        let (sent, result) = match send(&*socket, &self.held, &[], wait) {
            Ok(()) => (self.held.len(), Ok(())),
            Err((sent, error)) => (sent, Err(error)),
        };
        if sent == self.held.len() {
            // replies come in bursts: keep a small buffer for the next burst, but give a large one
            // back
            self.held.clear();
            self.held.shrink_to(HELD_MAX);
        } else {
            self.held.drain(..sent);
        }
        self.note_held();
        self.end_behind_held(&*socket);
        result
    }

    /// Sends a frame at once. A small frame is assembled on the stack, so that nothing is
    /// allocated.
    fn send_at_once(&mut self, header: &[u8], payload: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let mut frame = [0; STACK_MAX];
        let length = header.len() + payload.len();
        let (Some((first, rest)), true) =
            (frame.split_at_mut_checked(header.len()), length <= STACK_MAX)
        else {
            return self.send(header, payload, wait);
        };
        first.copy_from_slice(header);
        rest[..payload.len()].copy_from_slice(payload);
        self.send(&frame[..length], &[], wait)
    }

    /// Sends two pieces in order. If the caller does not wait, what the kernel does not take is
    /// held back.
    fn send(&mut self, first: &[u8], second: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::BrokenPipe.into()) };
        match send(&**socket, first, second, wait) {
            Ok(()) => Ok(()),
            Err((sent, error)) if error.kind() == io::ErrorKind::WouldBlock => {
                let (first, second) = remaining(first, second, sent);
                self.held.extend_from_slice(first);
                self.held.extend_from_slice(second);
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }
}

/// The result for a handler's frame after the server's close frame. A control frame is silently
/// dropped, since the peer has no use for it; a message is an error, since it must not get lost
/// unnoticed.
fn after_server_close(header: &[u8]) -> io::Result<()> {
    match header.first().map(|first| Opcode::new(first & 0xf)) {
        Some(Ok(opcode)) if opcode.is_control() => Ok(()),
        _ => Err(io::Error::other(AfterServerClose)),
    }
}

/// Whether a frame leaves its message open, by the first byte of its header; `None` for a control frame.
pub(crate) fn leaves_open(first: u8) -> Option<bool> {
    (first & 0x08 == 0).then_some(first & 0x80 == 0)
}

/// Turns "would block" into success: what was not sent is held back and leaves later.
fn kept(flushed: io::Result<()>) -> io::Result<()> {
    match flushed {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        flushed => flushed,
    }
}

#[cfg(test)]
mod tests;
